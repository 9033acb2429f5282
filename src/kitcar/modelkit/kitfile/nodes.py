"""YAML text as a tree of nodes with positions, read as Go's yaml.v3 reads it. The only importer of PyYAML.

PyYAML gives events; what a scalar means, what may be merged and what is a duplicate follows yaml.v3.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kitcar.errors import Fault, InvalidError
from kitcar.modelkit.kitfile import scalar

MAX_DEPTH = 100
MAX_NODES = 100_000
"""Nodes after aliases are followed: far beyond any Kitfile, and what a document of nested aliases runs into."""


@dataclass(slots=True, eq=False)
class Node:
    """A node of the document; an alias holds what the node it names holds. `tag` is short (`!!str`) or as written."""

    kind: Literal["scalar", "sequence", "mapping"]
    tag: str
    line: int
    column: int
    text: str = ""
    items: list[Node] = field(default_factory=list)
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    alias: bool = False

    @property
    def is_null(self) -> bool:
        """Whether this is YAML's null."""
        return self.kind == "scalar" and self.tag == scalar.NULL

    @property
    def is_merge(self) -> bool:
        """Whether this key is the merge key `<<`."""
        return self.kind == "scalar" and self.tag == scalar.MERGE and self.text == "<<"

    def show(self) -> str:
        """The node as messages show it."""
        if self.kind != "scalar":
            return {"sequence": "!!seq", "mapping": "!!map"}[self.kind]
        return f"{self.tag} `{self.text if len(self.text) <= 10 else self.text[:7] + '...'}`"


def read(text: bytes) -> Node | None:
    """The first document as a tree; None where there is no document at all.

    Raises:
        InvalidError: the text is not YAML, has more than one document, or an alias is wrong; `faults` says where.
    """
    with _mapped(text) as yaml:
        return _Composer(iter(yaml.parse(text, Loader=_loader(yaml)))).document()


def read_all(text: bytes) -> tuple[Node, ...]:
    """Every document as a tree, each with its own anchors.

    Raises:
        InvalidError: the text is not YAML, or an alias is wrong; `faults` says where.
    """
    with _mapped(text) as yaml:
        return tuple(_Composer(iter(yaml.parse(text, Loader=_loader(yaml)))).documents())


@contextmanager
def _mapped(text: bytes) -> Iterator[Any]:
    """PyYAML itself, its errors turned into ours.

    Raises:
        InvalidError: the text cannot be read.
    """
    import yaml

    try:
        yield yaml
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark and error.context_mark and mark.index >= len(text.decode("utf-8", "replace")):
            mark = error.context_mark  # what was left open says more than where the text ends
        raise _fault(error.problem or error.context or str(error), mark) from error
    except yaml.reader.ReaderError as error:
        raise InvalidError(
            f"yaml: {error.reason} at position {error.position}",
            hint="a Kitfile is text in UTF-8; this is something else",
        ) from error


def _loader(yaml: Any) -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def value_of(node: Node, report: Any) -> Any:
    """The node as a plain value that JSON can hold: texts, numbers, booleans, None, lists and mappings with text keys.

    `report` is called with a node and a message for all that JSON cannot hold.
    """
    if node.kind == "sequence":
        return [value_of(item, report) for item in node.items]
    if node.kind == "mapping":
        return _mapping(node, report)
    value = scalar_of(node, report)
    if isinstance(value, float) and not math.isfinite(value):
        report(node, f"{node.text} cannot be stored: JSON has no such number")
    return value


def scalar_of(node: Node, report: Any) -> Any:
    """What a scalar stands for, by its tag."""
    if node.tag == scalar.BINARY:
        try:
            return base64.b64decode(node.text.replace("\n", "").replace("\r", ""), validate=True).decode()
        except binascii.Error:
            report(node, "!!binary value contains invalid base64 data")
        except UnicodeDecodeError:
            report(node, "!!binary value is no text in UTF-8, which is all that can be stored")
        return ""
    if node.tag == scalar.STR or node.tag not in scalar.RESOLVABLE:
        return node.text
    tag, value = scalar.resolve(node.text)
    if tag == scalar.INT and node.tag == scalar.FLOAT and -(2**63) <= value < 2**63:
        return float(value)
    if tag != node.tag:
        report(node, f"cannot decode {tag} `{node.text}` as a {node.tag}")
    return value


def merged(node: Node, report: Any) -> Iterator[tuple[Node, Node]]:
    """The pairs of a mapping with those that `<<` brings in: own keys win, earlier merges win over later."""
    own = [pair for pair in node.pairs if not pair[0].is_merge]
    yield from own
    taken = {key.text for key, _ in own}
    for key, value in node.pairs:
        if not key.is_merge:
            continue
        sources = value.items if value.kind == "sequence" and not value.alias else [value]
        for source in sources:
            if source.kind != "mapping":
                report(source, "map merge requires map or sequence of maps as the value")
                continue
            for pair in merged(source, report):
                if pair[0].text not in taken:
                    taken.add(pair[0].text)
                    yield pair


def duplicates(node: Node) -> Iterator[tuple[Node, Node]]:
    """Keys written twice in one mapping: the later and the first."""
    first: dict[tuple[str, str], Node] = {}
    for key, _ in node.pairs:
        earlier = first.setdefault((key.kind, key.text), key)
        if earlier is not key:
            yield key, earlier


def _mapping(node: Node, report: Any) -> dict[str, Any]:
    for key, earlier in duplicates(node):
        report(key, f'mapping key "{key.text}" already defined at line {earlier.line}')
    result: dict[str, Any] = {}
    for key, value in merged(node, report):
        if key.kind != "scalar" or key.tag != scalar.STR:
            report(key, f"the key {key.show()} is not a text; JSON has no other keys")
        result[key.text] = value_of(value, report)
    return result


def _fault(problem: str, mark: Any) -> InvalidError:
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    fault = Fault(problem, line, column)
    return InvalidError(f"yaml: line {line}: {problem}" if line else f"yaml: {problem}", faults=(fault,))


class _Composer:
    """Builds the tree out of PyYAML's events, with its own limits on depth and on what aliases add up to."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, Node] = {}
        self._weights: dict[int, tuple[int, int]] = {}

    def document(self) -> Node | None:
        next(self._events)
        event = next(self._events)
        if type(event).__name__ == "StreamEndEvent":
            return None
        node = self._node(next(self._events), 0)
        next(self._events)
        event = next(self._events)
        if type(event).__name__ != "StreamEndEvent":
            raise _fault("there is more than one document in the file", event.start_mark)
        return node

    def documents(self) -> Iterator[Node]:
        next(self._events)
        while type(next(self._events)).__name__ != "StreamEndEvent":
            self._anchors.clear()
            yield self._node(next(self._events), 0)
            next(self._events)

    def _node(self, event: Any, depth: int) -> Node:
        name = type(event).__name__
        if name == "AliasEvent":
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise _fault(f"nested deeper than {MAX_DEPTH} levels", event.start_mark)
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        size = height = 1
        if name == "ScalarEvent":
            node = Node("scalar", _scalar_tag(event), line, column, event.value)
        else:
            kind: Literal["sequence", "mapping"] = "sequence" if name == "SequenceStartEvent" else "mapping"
            node = Node(kind, f"!!{kind[:3]}", line, column)
        if event.anchor:
            self._anchors[event.anchor] = node
        if node.kind != "scalar":
            size, height = self._fill(node, depth)
        if size > MAX_NODES or height > MAX_DEPTH:
            raise _fault("document contains excessive aliasing", mark)
        self._weights[id(node)] = size, height
        return node

    def _fill(self, node: Node, depth: int) -> tuple[int, int]:
        """Reads what is in a collection; gives the number of nodes in it and how deep they are nested."""
        size = height = 1
        children: list[Node] = []
        while not type(event := next(self._events)).__name__.endswith("EndEvent"):
            child = self._node(event, depth + 1)
            children.append(child)
            more, deep = self._weights[id(child)]
            size, height = size + more, max(height, deep + 1)
        if node.kind == "sequence":
            node.items = children
        else:
            node.pairs = list(zip(children[::2], children[1::2], strict=True))
        return size, height

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _fault(f"unknown anchor '{event.anchor}' referenced", event.start_mark)
        if id(node) not in self._weights:
            raise _fault(f"anchor '{event.anchor}' value contains itself", event.start_mark)
        alias = replace(node, alias=True)
        self._weights[id(alias)] = self._weights[id(node)]
        return alias


def _scalar_tag(event: Any) -> str:
    if event.tag and event.tag != "!":
        return str(event.tag).replace("tag:yaml.org,2002:", "!!", 1)
    if event.style:
        return scalar.STR
    return scalar.MERGE if event.value == "<<" else scalar.resolve(event.value)[0]
