"""What a plain YAML scalar stands for, by the rules of Go's yaml.v3: YAML 1.2 with the numbers and dates of YAML 1.1.

kit reads and writes Kitfiles with that library, so config digests and quoting hang on these rules; PyYAML's differ.
"""

from __future__ import annotations

import calendar
import math
import re
from typing import Any, Final

STR: Final = "!!str"
INT: Final = "!!int"
FLOAT: Final = "!!float"
BOOL: Final = "!!bool"
NULL: Final = "!!null"
TIMESTAMP: Final = "!!timestamp"
BINARY: Final = "!!binary"
MERGE: Final = "!!merge"
RESOLVABLE = frozenset({STR, INT, FLOAT, BOOL, NULL, TIMESTAMP})

_INF = math.inf
_WORDS: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(("true", "True", "TRUE"), (BOOL, True)),
    **dict.fromkeys(("false", "False", "FALSE"), (BOOL, False)),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), (NULL, None)),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), (FLOAT, math.nan)),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), (FLOAT, _INF)),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), (FLOAT, -_INF)),
}
_OLD_BOOLS = frozenset(
    word for plain in ("y", "yes", "on", "n", "no", "off") for word in (plain, plain.capitalize(), plain.upper())
)
_OLD_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.ASCII)
_INTEGERS = (
    (re.compile(r"([-+]?)0[xX]([0-9a-fA-F]+)"), 16),
    (re.compile(r"([-+]?)0[bB]([01]+)"), 2),
    (re.compile(r"([-+]?)0[oO]?([0-7]+)"), 8),
    (re.compile(r"([-+]?)(0|[1-9][0-9]*)"), 10),
    # yaml.v3 lets the sign follow the prefix of these two.
    (re.compile(r"()0o([-+][0-7]+)"), 8),
    (re.compile(r"()0b([-+][01]+)"), 2),
)
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DOT_NUMBER = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
_DATE = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
_TIME = r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2}):(?P<second>[0-9]{1,2})(?:[.,](?P<fraction>[0-9]+))?"
_TIMESTAMP = re.compile(
    rf"{_DATE}(?:[Tt]{_TIME}(?P<zone>Z|[-+][0-9]{{2}}:[0-9]{{2}})|[ ]+{_TIME.replace('?P<', '?P<b_')})?", re.ASCII
)


def resolve(text: str) -> tuple[str, Any]:
    """The tag and value of an unquoted scalar; a timestamp's value is its RFC 3339 text, as kit's JSON has it."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        return _float(text) if _DOT_NUMBER.fullmatch(text) else (STR, text)
    if first not in "+-0123456789":
        return STR, text
    if stamp := timestamp(text):
        return TIMESTAMP, stamp
    plain = text.replace("_", "")
    number = _integer(plain)
    if number is not None:
        return INT, number
    if _NUMBER.fullmatch(plain):
        tag, value = _float(plain)
        return (tag, value) if tag == FLOAT else (STR, text)
    return STR, text


def is_plain(text: str) -> bool:
    """Whether yaml.v3 would write this text without quotes as far as its meaning goes; old booleans are quoted."""
    return resolve(text)[0] == STR and text not in _OLD_BOOLS and not _OLD_BASE60.fullmatch(text)


def timestamp(text: str) -> str | None:
    """The RFC 3339 form of a date or a date and time, None if the text is none that yaml.v3 takes."""
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        return None
    year, month, day = (int(found[name]) for name in ("year", "month", "day"))
    hour, minute, second = (int(found[name] or found[f"b_{name}"] or 0) for name in ("hour", "minute", "second"))
    zone = found["zone"] or "Z"
    if not (1 <= month <= 12 and 1 <= day <= _days(year, month) and hour < 24 and minute < 60 and second < 60):
        return None
    if zone != "Z" and (int(zone[1:3]) > 23 or int(zone[4:]) > 59):
        return None
    fraction = (found["fraction"] or found["b_fraction"] or "")[:9].rstrip("0")
    moment = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    return moment + (f".{fraction}" if fraction else "") + ("Z" if zone[1:] == "00:00" else zone)


def _days(year: int, month: int) -> int:
    if month == 2:  # calendar.monthrange has no year 0, which Go has
        return 29 if calendar.isleap(year) else 28
    return 30 if month in {4, 6, 9, 11} else 31


def _integer(plain: str) -> int | None:
    for shape, base in _INTEGERS:
        if found := shape.fullmatch(plain):
            value = int(found[1] + found[2], base)
            if -(2**63) <= value < 2**63 or (not found[1] and value < 2**64):
                return value
            return None
    return None


def _float(text: str) -> tuple[str, Any]:
    value = float(text.replace("_", ""))
    return (STR, text) if math.isinf(value) else (FLOAT, value)
