"""From the YAML tree to a Kitfile: every fault of form and of rules at once, each with its place and a hint."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from kitcar.errors import Fault, InvalidError
from kitcar.modelkit.kitfile import rules
from kitcar.modelkit.kitfile.nodes import Node, duplicates, merged, read, scalar_of, value_of
from kitcar.modelkit.kitfile.rules import Spot
from kitcar.modelkit.kitfile.scalar import BINARY
from kitcar.modelkit.kitfile.shape import Member, members
from kitcar.modelkit.kitfile.values import Kitfile


def parse_yaml(text: bytes, where: str) -> Kitfile:
    """See `Kitfile.parse`."""
    root = read(text)
    if root is None:
        raise InvalidError(f"{where} is empty", hint="a Kitfile starts with manifestVersion: 1.0.0")
    decoder = _Decoder()
    kitfile: Kitfile = decoder.object(Kitfile, root, ())
    findings = rules.validate(kitfile, frozenset(decoder.broken))
    faults = decoder.faults + [decoder.fault(item.spot, item.message, item.hint) for item in findings]
    if faults:
        faults.sort(key=lambda fault: (fault.line, fault.column))
        raise invalid(where, tuple(faults))
    return dataclasses.replace(kitfile, warnings=rules.warnings(kitfile) + tuple(decoder.warnings))


def invalid(where: str, faults: tuple[Fault, ...]) -> InvalidError:
    """One error for all faults of a Kitfile, in kit's form."""
    lines = "\n".join(f"  * {fault}" for fault in faults)
    return InvalidError(f"errors while validating {where}: \n{lines}", faults=faults)


class _Decoder:
    """Builds values from nodes and notes what is wrong, and where everything stands."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[str] = []
        self.broken: set[Spot] = set()
        self._marks: dict[Spot, tuple[int, int]] = {}

    def object(self, of: type, node: Node, spot: Spot) -> Any:
        """One of the Kitfile's classes from a mapping."""
        self._marks[spot] = node.line, node.column
        arguments: dict[str, Any] = {"manifest_version": ""} if of is Kitfile else {}
        if node.is_null:
            return of(**arguments)
        if node.kind != "mapping":
            self._mismatch(node, spot, "a mapping")
            return of(**arguments)
        known = {member.key: member for member in members(of) if member.form != "digest"}
        for key, earlier in duplicates(node):
            self._report(key, f'mapping key "{key.text}" already defined at line {earlier.line}')
        for key, value in merged(node, self._report):
            member = known.get(key.text) if key.kind == "scalar" else None
            if member is None:
                self._unknown(key, tuple(known), spot)
            elif not value.is_null:
                arguments[member.attribute] = self._member(member, value, (*spot, member.key))
        return of(**arguments)

    def fault(self, spot: Spot, message: str, hint: str | None) -> Fault:
        """A fault at a spot, or at what holds it where the spot itself is not written."""
        while spot not in self._marks:
            spot = spot[:-1]
        return Fault(message, *self._marks[spot], hint)

    def _member(self, member: Member, node: Node, spot: Spot) -> Any:
        self._marks[spot] = node.line, node.column
        if member.form == "any":
            return value_of(node, self._report)
        if member.form == "one" and member.of:
            return self.object(member.of, node, spot)
        if member.form == "text":
            return self._text(node, spot)
        if node.kind != "sequence":
            self._mismatch(node, spot, "a list")
            return ()
        return tuple(self._items(member, node, spot))

    def _items(self, member: Member, node: Node, spot: Spot) -> list[Any]:
        items: list[Any] = []
        for position, item in enumerate(node.items):
            if item.is_null:
                self.warnings.append(f"{_name((*spot, position))} is empty and left out")
                continue
            place = (*spot, len(items))
            items.append(self.object(member.of, item, place) if member.of else self._text(item, place))
        return items

    def _text(self, node: Node, spot: Spot) -> str:
        if node.kind != "scalar":
            self._mismatch(node, spot, "a text")
            return ""
        value = scalar_of(node, self._report)
        return str(value) if node.tag == BINARY else "" if value is None else node.text

    def _mismatch(self, node: Node, spot: Spot, wanted: str) -> None:
        self.broken.add(spot)
        self._report(node, f"cannot unmarshal {node.show()} into {_name(spot)}", f"{wanted} was expected")

    def _unknown(self, key: Node, known: tuple[str, ...], spot: Spot) -> None:
        text = key.text if key.kind == "scalar" else key.show()
        folded = {name.lower(): name for name in known}
        close = difflib.get_close_matches(text.lower(), folded, n=1)
        hint = f"did you mean {folded[close[0]]}?" if close else f"known here: {', '.join(known)}"
        self._report(key, f"field {text} not found in {_name(spot)}", hint)

    def _report(self, node: Node, message: str, hint: str | None = None) -> None:
        self.faults.append(Fault(message, node.line, node.column, hint))


def _name(spot: Spot) -> str:
    """A spot for people: `model.parts[0].path`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in spot)
    return text.removeprefix(".") or "the Kitfile"
