"""One ignore pattern as a test of paths: moby's patternmatcher turns it into a Go regular expression, and so do we.

What moby leaves unescaped keeps its meaning here: a class takes POSIX names, and a backslash before a letter is an escape of
Go's regular expressions (`\\d` is a digit). The expression is then read by Go's grammar and written in Python's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Ranges = list[tuple[int, int]]

_ESCAPED = frozenset(".+()|{}$")
_LAST = 0x10FFFF
_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_DIGITS, _UPPER, _LOWER = (0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)
_WORD: Ranges = [_DIGITS, _UPPER, _LOWER, (0x5F, 0x5F)]
_PERL: dict[str, Ranges] = {"d": [_DIGITS], "s": [(9, 10), (12, 13), (32, 32)], "w": _WORD}
_POSIX: dict[str, Ranges] = {
    "alnum": [_DIGITS, _UPPER, _LOWER],
    "alpha": [_UPPER, _LOWER],
    "ascii": [(0, 0x7F)],
    "blank": [(9, 9), (32, 32)],
    "cntrl": [(0, 0x1F), (0x7F, 0x7F)],
    "digit": [_DIGITS],
    "graph": [(0x21, 0x7E)],
    "lower": [_LOWER],
    "print": [(0x20, 0x7E)],
    "punct": [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)],
    "space": [(9, 13), (32, 32)],
    "upper": [_UPPER],
    "word": _WORD,
    "xdigit": [_DIGITS, (0x41, 0x46), (0x61, 0x66)],
}
_ASSERTIONS = {"A": r"\A", "z": r"\Z", "b": r"\b", "B": r"\B"}


class BadPatternError(Exception):
    """A pattern that has no meaning; never leaves the package (`IgnoreRules.parse` maps it)."""


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """The test that one cleaned pattern stands for.

    Raises:
        BadPatternError: Go's `filepath.Match` or its regular expressions refuse the pattern.
    """
    _check_glob(pattern)
    kind, expression = _go_expression(pattern)
    if kind == "exact":
        return pattern.__eq__
    if kind == "prefix":
        start = pattern[:-2]
        return lambda path: path.startswith(start)
    if kind == "suffix":
        end = pattern[2:]
        bare = end[1:] if end.startswith("/") else None
        return lambda path: path.endswith(end) or path == bare
    matcher = re.compile(_python_expression(expression), re.ASCII)
    return lambda path: matcher.match(path) is not None


def _check_glob(pattern: str) -> None:
    """What Go's `filepath.Match` refuses: an open class, an empty one, a lone or last backslash, a dash out of place."""
    at, size = 0, len(pattern)
    while at < size:
        if pattern[at] == "[":
            at = _check_class(pattern, at + 1)
        elif pattern[at] == "\\":
            at = _literal(pattern, at)
        else:
            at += 1


def _check_class(pattern: str, at: int) -> int:
    at += pattern[at : at + 1] == "^"
    first = True
    while first or pattern[at : at + 1] != "]":
        first = False
        at = _check_member(pattern, at)
        if pattern[at : at + 1] == "-":
            at = _check_member(pattern, at + 1)
    return at + 1


def _check_member(pattern: str, at: int) -> int:
    if pattern[at : at + 1] in ("", "-", "]"):
        raise BadPatternError("a class in brackets is empty, open or has a dash out of place")
    at = _literal(pattern, at)
    if at >= len(pattern):
        raise BadPatternError("a class in brackets is not closed")
    return at


def _literal(pattern: str, at: int) -> int:
    if pattern[at] != "\\":
        return at + 1
    if at + 1 >= len(pattern):
        raise BadPatternError("a backslash stands last")
    return at + 2


def _go_expression(pattern: str) -> tuple[str, str]:
    """The kind of test, and moby's Go expression where the kind is "expression"."""
    kind, parts, at = "exact", ["^"], 0
    while at < len(pattern):
        first, char = at == 0, pattern[at]
        at += 1
        if char == "*" and pattern[at : at + 1] == "*":
            at += 1
            at += pattern[at : at + 1] == "/"
            if at < len(pattern):
                kind, part = "expression", "(.*/)?"
            else:
                kind, part = ("prefix", "") if kind == "exact" else ("expression", ".*")
            kind = "suffix" if first else kind
        elif char in "*?":
            kind, part = "expression", "[^/]*" if char == "*" else "[^/]"
        elif char == "\\":
            kind, part = "expression", "\\" + pattern[at]
            at += 1
        elif char in "[]":
            kind, part = "expression", char
        else:
            part = "\\" + char if char in _ESCAPED else char
        parts.append(part)
    return kind, "".join(parts) + "$"


def _python_expression(expression: str) -> str:
    # A repeated "any directories" says nothing new and would only cost time.
    while "(.*/)?(.*/)?" in expression:
        expression = expression.replace("(.*/)?(.*/)?", "(.*/)?")
    parts, at = [], 0
    while at < len(expression) - 1:
        char = expression[at]
        if char == "[":
            ranges, at = _class(expression, at + 1)
            parts.append(_written(ranges))
        elif char == "\\":
            part, at = _escape(expression, at + 1)
            parts.append(part if isinstance(part, str) else _written(part))
        else:
            parts.append(char if char in ".^*()?" else re.escape(char))
            at += 1
    return "".join(parts) + r"\Z"


def _escape(text: str, at: int) -> tuple[str | Ranges, int]:
    """The escape whose letter stands at `at`: an assertion as text, else the characters it stands for."""
    char = text[at]
    if char in _ASSERTIONS:
        return _ASSERTIONS[char], at + 1
    if char.lower() in _PERL:
        ranges = _PERL[char.lower()]
        return (ranges if char.islower() else _complement(ranges)), at + 1
    if char in _CONTROLS:
        return [(_CONTROLS[char],) * 2], at + 1
    if char.isalnum() or not char.isascii():
        raise BadPatternError(f"\\{char} is no escape")
    return [(ord(char),) * 2], at + 1


def _class(text: str, at: int) -> tuple[Ranges, int]:
    """The characters of the class whose content starts at `at`, and where it ends."""
    negated = text[at : at + 1] == "^"
    at += negated
    ranges: Ranges = []
    first = True
    while first or text[at : at + 1] != "]":
        first = False
        if text.startswith("[:", at) and (end := text.find(":]", at + 2)) >= 0:
            ranges += _named(text[at + 2 : end])
            at = end + 2
            continue
        if text[at] == "\\" and text[at + 1].lower() in _PERL:
            perl, at = _escape(text, at + 1)
            ranges += perl if isinstance(perl, list) else []
            continue
        found, at = _member(text, at)
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in ("]", ""):
            upper, at = _member(text, at + 1)
            found = [(found[0][0], upper[0][1])]
            if found[0][1] < found[0][0]:
                raise BadPatternError("a range in brackets runs backwards")
        ranges += found
    return (_complement(ranges) if negated else ranges), at + 1


def _member(text: str, at: int) -> tuple[Ranges, int]:
    if at >= len(text) - 1:
        raise BadPatternError("a class in brackets is not closed")
    if text[at] != "\\":
        return [(ord(text[at]),) * 2], at + 1
    found, end = _escape(text, at + 1)
    if isinstance(found, str) or text[at + 1].lower() in _PERL:
        raise BadPatternError(f"\\{text[at + 1]} cannot stand there in a class")
    return found, end


def _named(name: str) -> Ranges:
    ranges = _POSIX.get(name.removeprefix("^"))
    if ranges is None:
        raise BadPatternError(f"[:{name}:] is no class")
    return _complement(ranges) if name.startswith("^") else ranges


def _complement(ranges: Ranges) -> Ranges:
    gaps, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            gaps.append((start, low - 1))
        start = max(start, high + 1)
    return [*gaps, (start, _LAST)] if start <= _LAST else gaps


def _written(ranges: Ranges) -> str:
    if not ranges:
        return "(?!)"
    return "[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges) + "]"
