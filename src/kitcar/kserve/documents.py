"""YAML documents as Kubernetes reads them, with the place of every value, so that a fault can say where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kitcar.errors import Fault, InvalidError
from kitcar.modelkit.kitfile import scalar
from kitcar.modelkit.kitfile.nodes import Node, duplicates, merged, read_all, scalar_of

MAX_BYTES = 8 * 1024 * 1024

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

    Dates stay the text they are, as in JSON.

    Raises:
        InvalidError: the text is not YAML, repeats a key, has a key that is no text, is nested too deep or too large.
    """
    if len(text) > MAX_BYTES:
        raise InvalidError(f"{where} has {len(text)} bytes; at most {MAX_BYTES} are read")
    try:
        nodes = read_all(text)
    except InvalidError as error:
        raise InvalidError(f"{where} is not valid YAML: {error.message}", faults=error.faults) from error
    return tuple(_Walk(where).document(node) for node in nodes if not node.is_null)


class _Walk:
    """Turns one tree into plain values, noting places and faults on the way."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._places: dict[Path, Place] = {}
        self._faults: list[Fault] = []

    def document(self, node: Node) -> Document:
        value = self._value(node, ())
        if self._faults:
            told = "; ".join(str(fault) for fault in self._faults)
            raise InvalidError(f"{self._where} is not valid YAML: {told}", faults=tuple(self._faults))
        return Document(value, self._where, self._places)

    def _value(self, node: Node, path: Path) -> Any:
        self._places[path] = (node.line, node.column)
        if node.kind == "sequence":
            return [self._value(item, (*path, index)) for index, item in enumerate(node.items)]
        if node.kind == "mapping":
            return self._mapping(node, path)
        return node.text if node.tag == scalar.TIMESTAMP else scalar_of(node, self._report)

    def _mapping(self, node: Node, path: Path) -> dict[str, Any]:
        for key, earlier in duplicates(node):
            self._report(key, f"the key {key.show()} is given twice, first in line {earlier.line}")
        pairs: dict[str, Any] = {}
        for key, value in merged(node, self._report):
            if key.kind != "scalar":
                self._report(key, "a key must be text")
                continue
            pairs[key.text] = self._value(value, (*path, key.text))
        return pairs

    def _report(self, node: Node, message: str) -> None:
        self._faults.append(Fault(message, node.line, node.column))
