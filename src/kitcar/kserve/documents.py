"""YAML documents as Kubernetes reads them, with the place of every value, so that a fault can say where it is.

The only importer of a YAML parser for Kubernetes objects. It builds values from parser events, not by recursion, so
that no depth of nesting can exhaust the stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kitcar.errors import Fault, InvalidError

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 100

_PREFIX = "tag:yaml.org,2002:"
_TAGS = frozenset(_PREFIX + name for name in ("str", "int", "float", "bool", "null"))
_TEXT_TAGS = frozenset(_PREFIX + name for name in ("timestamp", "value"))

Path = tuple[str | int, ...]
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, the file it stands in, and line and column of each path in it."""

    value: Any
    where: str = ""
    places: Mapping[Path, Place] = field(default_factory=dict)

    def fault(self, path: Path, message: str, hint: str | None = None) -> Fault:
        """A fault at `path`, or at the nearest place above it that exists."""
        while path and path not in self.places:
            path = path[:-1]
        line, column = self.places.get(path, (0, 0))
        return Fault(message, line, column, hint)


def read_documents(text: bytes, where: str) -> tuple[Document, ...]:
    """All documents of a YAML or JSON stream that are not empty; `where` is the file's name for messages.

    Raises:
        InvalidError: the text is not YAML, repeats a key, uses a tag or merge key, is nested too deep or too large.
    """
    if len(text) > MAX_BYTES:
        raise InvalidError(f"{where} has {len(text)} bytes; at most {MAX_BYTES} are read")
    import yaml

    builder = _Builder(yaml, where)
    try:
        source = text.decode("utf-8-sig")
        documents = tuple(builder.documents(yaml.parse(source, Loader=yaml.CSafeLoader)))
    except UnicodeDecodeError as error:
        raise InvalidError(f"{where} is not UTF-8 text (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        fault = Fault(
            error.problem or "not YAML", mark.line + 1 if mark else 0, mark.column + 1 if mark else 0, error.context
        )
        raise InvalidError(f"{where} is not valid YAML: {fault}", faults=(fault,)) from None
    except yaml.YAMLError as error:
        raise InvalidError(f"{where} is not valid YAML: {error}") from None
    except ValueError as error:
        raise InvalidError(f"{where} is not valid YAML: {error}") from None
    return tuple(document for document in documents if document.value is not None)


class _Open:
    """A mapping or sequence whose end is not reached yet."""

    __slots__ = ("anchor", "key", "path", "value")

    def __init__(self, value: dict[str, Any] | list[Any], path: Path, anchor: str | None) -> None:
        self.value, self.path, self.anchor = value, path, anchor
        self.key: str | None = None


class _Builder:
    def __init__(self, yaml: Any, where: str) -> None:
        self._yaml, self._where = yaml, where
        self._scalars = yaml.SafeLoader("")
        self._open: list[_Open] = []
        self._anchors: dict[str, Any] = {}
        self._places: dict[Path, Place] = {}
        self._root: Any = None

    def documents(self, events: Iterable[Any]) -> Iterator[Document]:
        yaml = self._yaml
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._open, self._anchors, self._places, self._root = [], {}, {}, None
            elif isinstance(event, yaml.DocumentEndEvent):
                yield Document(self._root, self._where, self._places)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._start(event, {} if isinstance(event, yaml.MappingStartEvent) else [])
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()

    def _scalar(self, event: Any) -> None:
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event)
            return
        value = self._plain(event)
        if event.anchor:
            self._anchors[event.anchor] = value
        self._place(value, event)

    def _plain(self, event: Any) -> Any:
        """The scalar's value; dates stay text, as they do in JSON."""
        node_tag = event.tag
        if node_tag in (None, "!"):
            node_tag = self._scalars.resolve(self._yaml.ScalarNode, event.value, event.implicit)
        if node_tag in _TEXT_TAGS:
            return event.value
        if node_tag not in _TAGS:
            raise self._error(event, f"the tag {node_tag} is not supported")
        return self._scalars.construct_object(self._yaml.ScalarNode(node_tag, event.value, event.start_mark))

    def _key(self, top: _Open, event: Any) -> None:
        key = str(event.value)
        if key == "<<" and event.implicit[0]:
            raise self._error(event, "merge keys are not supported")
        if key in top.value:
            raise self._error(event, f"the key {key!r} is given twice")
        top.key = key

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._error(event, f"the alias {event.anchor!r} has no anchor before it")
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise self._error(event, "an alias cannot be a key")
        self._place(self._anchors[event.anchor], event)

    def _start(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise self._error(event, "a key must be text")
        if len(self._open) >= MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        path = self._place(value, event)
        self._open.append(_Open(value, path, event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        if done.anchor:
            self._anchors[done.anchor] = done.value

    def _place(self, value: Any, event: Any) -> Path:
        path: Path = ()
        if not self._open:
            self._root = value
        else:
            top = self._open[-1]
            if isinstance(top.value, dict):
                key = str(top.key)
                top.value[key], top.key = value, None
                path = (*top.path, key)
            else:
                path = (*top.path, len(top.value))
                top.value.append(value)
        self._places[path] = (event.start_mark.line + 1, event.start_mark.column + 1)
        return path

    def _error(self, event: Any, problem: str) -> Exception:
        error: Exception = self._yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return error
