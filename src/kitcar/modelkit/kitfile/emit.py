"""YAML to the byte as Go's yaml.v3 writes it with an indent of two: what `kit info` prints and `kit unpack` writes.

Quoting, block forms and key order are that library's; it never folds lines. Chapters are those of YAML 1.1.
"""

from __future__ import annotations

import functools
import itertools
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from kitcar.modelkit.kitfile.scalar import is_plain

_STEP = 2
_MAX_SIMPLE_KEY = 128
_PLAIN_FROM, _PLAIN_BELOW = -4, 6
_BOM = "\ufeff"
_BREAKS = frozenset("\r\n\x85\u2028\u2029")
_BLANKS_AND_BREAKS = _BREAKS | frozenset(" \t\0")
_START_INDICATORS = frozenset("#,[]{}&*!|>'\"%@`")
_FLOW_INDICATORS = frozenset(",?[]{}")
_ESCAPES = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e",
    '"': '"', "\\": "\\", "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P",
}  # fmt: skip

_Style = Literal["plain", "single", "double", "literal"]


class Flow(tuple[str, ...]):
    """Texts that are written on one line: `[a, b]`."""

    __slots__ = ()


def write(document: Mapping[str, Any]) -> bytes:
    """The YAML of a mapping, every mapping in its own order (see `natural`)."""
    writer = _Writer()
    writer.mapping(document, 0)
    writer.indent(0)
    return "".join(writer.out).encode("utf-8", "replace")


def natural(value: Any) -> Any:
    """`value` with every mapping in it in yaml.v3's order of keys: numbers inside them by value, letters last."""
    if isinstance(value, Mapping):
        return {key: natural(value[key]) for key in sorted(value, key=functools.cmp_to_key(_compare))}
    if isinstance(value, (list, tuple)):
        return [natural(item) for item in value]
    return value


def float_text(value: float) -> str:
    """Go's shortest `%g`: plain from 1e-4 up to 1e6, else with an exponent of two digits or more."""
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    exact = Decimal(repr(value)).normalize()
    negative, figures, scale = exact.as_tuple()
    exponent = len(figures) - 1 + int(scale)
    if _PLAIN_FROM <= exponent < _PLAIN_BELOW:
        return format(exact, "f")
    digits = "".join(map(str, figures))
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{'-' if negative else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"


class _Writer:
    """Puts characters out and knows what the rules of indentation ask: what stands on the line so far."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._column = 0
        self._whitespace = True
        self._indention = True

    def indent(self, level: int) -> None:
        """Starts a line at `level` blanks, or goes on where the line holds only indicators up to there."""
        if not self._indention or self._column > level or (self._column == level and not self._whitespace):
            self._break("\n")
        self._put(" " * (level - self._column))
        self._whitespace = True

    def mapping(self, value: Mapping[str, Any], level: int) -> None:
        """A block mapping (10.2.2); keys that are long or have line breaks take the form `? key`."""
        for key, item in value.items():
            self.indent(level)
            if len(key.encode("utf-8", "replace")) <= _MAX_SIMPLE_KEY and _BREAKS.isdisjoint(key):
                self._text(key, level, simple_key=True)
                self._indicator(":")
            else:
                self._indicator("?", space=True, indention=True)
                self._text(key, level)
                self.indent(level)
                self._indicator(":", space=True, indention=True)
            self._node(item, level)

    def _sequence(self, value: Sequence[Any], level: int) -> None:
        for item in value:
            self.indent(level)
            self._indicator("-", space=True, indention=True)
            self._node(item, level)

    def _node(self, value: Any, level: int) -> None:
        if isinstance(value, str):
            self._text(value, level)
        elif isinstance(value, Mapping) and value:
            self.mapping(value, level + _STEP)
        elif isinstance(value, Flow) and value:
            self._flow(value, level)
        elif isinstance(value, (list, tuple)) and value:
            self._sequence(value, level + _STEP)
        else:
            self._plain(_bare(value))

    def _flow(self, value: Flow, level: int) -> None:
        self._indicator("[", space=True, whitespace=True)
        for number, item in enumerate(value):
            if number:
                self._indicator(",")
            self._text(item, level + _STEP, flow=True)
        self._indicator("]")

    def _text(self, text: str, level: int, *, flow: bool = False, simple_key: bool = False) -> None:
        style = _style(text, flow=flow, simple_key=simple_key)
        if style == "plain":
            self._plain(text)
        elif style == "single":
            self._single(text, level + _STEP)
        elif style == "double":
            self._double(text)
        else:
            self._literal(text, level + _STEP)

    def _plain(self, text: str) -> None:
        if not self._whitespace:
            self._put(" ")
        self._put(text)
        self._whitespace = self._indention = False

    def _single(self, text: str, level: int) -> None:
        self._indicator("'", space=True)
        self._lines(text.replace("'", "''"), level, fresh=False)
        self._indicator("'")
        self._indention = False

    def _double(self, text: str) -> None:
        # yaml.v3 looks for a byte order mark at the start only and then escapes every character.
        everything = text.startswith(_BOM)
        self._indicator('"', space=True)
        self._put("".join(_escaped(char) if everything or _needs_escape(char) else char for char in text))
        self._indicator('"')

    def _literal(self, text: str, level: int) -> None:
        self._indicator("|", space=True)
        if text[0] == " " or text[0] in _BREAKS:
            self._indicator(str(_STEP))
        if text[-1] not in _BREAKS:
            self._indicator("-")
        elif len(text) == 1 or text[-2] in _BREAKS:
            self._indicator("+")
        self._break("\n")
        self._whitespace = True
        self._lines(text, level, fresh=True)

    def _lines(self, text: str, level: int, *, fresh: bool) -> None:
        """Text with its line breaks; what follows a break is indented."""
        for is_break, group in itertools.groupby(text, _BREAKS.__contains__):
            if is_break:
                for char in group:
                    self._break(char)
                fresh = True
                continue
            if fresh:
                self.indent(level)
            self._put("".join(group))
            self._indention = fresh = False

    def _indicator(self, mark: str, *, space: bool = False, whitespace: bool = False, indention: bool = False) -> None:
        if space and not self._whitespace:
            self._put(" ")
        self._put(mark)
        self._whitespace = whitespace
        self._indention = self._indention and indention

    def _put(self, text: str) -> None:
        self.out.append(text)
        self._column += len(text)

    def _break(self, char: str) -> None:
        self.out.append(char)
        self._column = 0
        self._indention = True


def _bare(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Mapping):
        return "{}"
    return "[]" if isinstance(value, (list, tuple)) else str(value)


def _style(text: str, *, flow: bool, simple_key: bool) -> _Style:
    shape = _analyze(text)
    if "\n" in text:
        return "literal" if shape.block and not flow and not simple_key else "double"
    if not is_plain(text):
        return "double"
    if shape.flow_plain if flow else shape.block_plain:
        return "plain"
    return "single" if shape.single else "double"


@dataclass(frozen=True, slots=True)
class _Shape:
    """Which styles may show a text (9.1 to 9.3)."""

    flow_plain: bool
    block_plain: bool
    single: bool
    block: bool


def _analyze(text: str) -> _Shape:
    flow_mark, block_mark = _indicators(text)
    special = any(char != "\t" and not _printable(char) for char in text)
    multiline = not _BREAKS.isdisjoint(text)
    pairs = list(itertools.pairwise(text))
    break_space = any(a in _BREAKS and b == " " for a, b in pairs)
    space_break = any(a == " " and b in _BREAKS for a, b in pairs)
    edges = text[:1] + text[-1:]
    rough = break_space or space_break or "\t" in text or special
    unplain = rough or multiline or " " in edges
    return _Shape(
        flow_plain=not (unplain or flow_mark),
        block_plain=not (unplain or block_mark),
        single=not rough,
        block=not (text[-1:] == " " or space_break or special),
    )


def _indicators(text: str) -> tuple[bool, bool]:
    """Whether characters of the syntax stand where they would end a plain text in flow and in block context."""
    flow = block = text.startswith(("---", "..."))
    before = " "
    for index, char in enumerate(text):
        after_blank = text[index + 1 : index + 2] in {"", " ", "\t"}
        starts = index == 0 and (char in _START_INDICATORS or (char == "-" and after_blank))
        if starts or (index and char == "#" and before in _BLANKS_AND_BREAKS):
            flow = block = True
        elif char == ":" or (index == 0 and char == "?"):
            flow, block = True, block or after_blank
        elif index and char in _FLOW_INDICATORS:
            flow = True
        before = char
    return flow, block


def _printable(char: str) -> bool:
    return char == "\n" or " " <= char <= "~" or ("\xa0" <= char <= "\ufffd" and char != _BOM)


def _needs_escape(char: str) -> bool:
    return not _printable(char) or char in _BREAKS or char in '"\\'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return f"\\{_ESCAPES[char]}"
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _compare(left: str, right: str) -> int:
    return -1 if _before(left, right) else 1


def _before(left: str, right: str) -> bool:
    place = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    if place is None:
        return len(left) < len(right)
    a, b = left[place], right[place]
    a_letter, b_letter = a.isalpha() and _is(a, "L"), b.isalpha() and _is(b, "L")
    if a_letter and b_letter:
        return a < b
    if a_letter or b_letter:
        in_number = place > 0 and _is(left[place - 1], "Nd")
        return a_letter if in_number else b_letter
    lead = 0
    if "0" in {a, b}:
        digits = itertools.takewhile(lambda char: _is(char, "Nd"), reversed(left[:place]))
        lead = int(any(char != "0" for char in digits))
    a_number, a_end = _number_at(left, place, lead)
    b_number, b_end = _number_at(right, place, lead)
    if a_number != b_number:
        return a_number < b_number
    return a_end < b_end if a_end != b_end else a < b


def _number_at(text: str, place: int, lead: int) -> tuple[int, int]:
    value = lead
    for end in range(place, len(text)):
        if not _is(text[end], "Nd"):
            return value, end
        value = value * 10 + ord(text[end]) - ord("0")
        value = (value + 2**63) % 2**64 - 2**63
    return value, len(text)


def _is(char: str, category: str) -> bool:
    return unicodedata.category(char).startswith(category)
