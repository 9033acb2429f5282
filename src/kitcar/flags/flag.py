"""Flags as kit's users know them: `--flag=false`, `-vv`, `-ofile`, flags before and behind the arguments, `--` to end them."""

from __future__ import annotations

import csv
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Value = str | bool | int | tuple[str, ...]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Kind(enum.Enum):
    """What a flag takes; the value is the word its help shows."""

    SWITCH = ""
    TEXT = "string"
    TEXTS = "stringArray"
    LIST = "strings"
    NUMBER = "int"
    COUNT = "count"


class FlagError(ValueError):
    """The flags of a command line are malformed."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. `bare` is what a flag of kind TEXT means without a value; `choices` are offered by completion."""

    name: str
    help: str
    kind: Kind = Kind.TEXT
    short: str = ""
    default: Value = ""
    bare: str = ""
    choices: tuple[str, ...] = ()

    @property
    def takes_value(self) -> bool:
        """Whether the next word belongs to the flag when it has no `=`."""
        return self.kind not in {Kind.SWITCH, Kind.COUNT} and not self.bare

    @property
    def spelling(self) -> str:
        """The flag as messages name it."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed command line: arguments in order, every flag's value, and which flags were given."""

    arguments: tuple[str, ...]
    values: Mapping[str, Value]
    given: frozenset[str] = field(default=frozenset())

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return bool(self.values[name])

    def text(self, name: str) -> str:
        """The value of a text flag."""
        return str(self.values[name])

    def number(self, name: str) -> int:
        """The value of a number flag, or how often a counting flag was given."""
        value = self.values[name]
        return value if isinstance(value, int) else 0

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be repeated."""
        value = self.values[name]
        return value if isinstance(value, tuple) else ()


def parse(flags: Iterable[Flag], words: Sequence[str], *, interspersed: bool = True) -> Call:
    """Splits `words` into flags and arguments; without `interspersed` the first argument ends the flags.

    Raises:
        FlagError: a flag is unknown, lacks its value or has a wrong one.
    """
    reading = _Reading(tuple(flags), list(words))
    while reading.rest:
        word = reading.rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            reading.long(word)
        elif word.startswith("-") and word != "-":
            reading.short(word)
        else:
            reading.arguments.append(word)
            if not interspersed:
                break
    return Call(
        arguments=(*reading.arguments, *reading.rest),
        values=reading.values,
        given=frozenset(reading.given),
    )


class _Reading:
    """The state of one parse."""

    def __init__(self, flags: tuple[Flag, ...], words: list[str]) -> None:
        self.rest = words
        self.arguments: list[str] = []
        self.given: set[str] = set()
        self.values: dict[str, Value] = {flag.name: _start(flag) for flag in flags}
        self._by_name = {flag.name: flag for flag in flags}
        self._by_short = {flag.short: flag for flag in flags if flag.short}

    def long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {word}")
        flag = self._by_name.get(name)
        if flag is None:
            raise FlagError(f"unknown flag: --{name}")
        if equals:
            self._set(flag, value)
        elif not flag.takes_value:
            self._set(flag, None)
        elif self.rest:
            self._set(flag, self.rest.pop(0))
        else:
            raise FlagError(f"flag needs an argument: --{name}")

    def short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self._by_short.get(letter)
            if flag is None:
                raise FlagError(f"unknown shorthand flag: {letter!r} in {word}")
            if letters.startswith("="):
                self._set(flag, letters[1:])
                return
            if not flag.takes_value:
                self._set(flag, None)
                continue
            if not letters and not self.rest:
                raise FlagError(f"flag needs an argument: {letter!r} in {word}")
            self._set(flag, letters or self.rest.pop(0))
            return

    def _set(self, flag: Flag, text: str | None) -> None:
        try:
            self.values[flag.name] = _value(flag, text, self.values[flag.name], first=flag.name not in self.given)
        except ValueError as error:
            raise FlagError(f'invalid argument "{text}" for "{flag.spelling}" flag: {error}') from error
        self.given.add(flag.name)


def _start(flag: Flag) -> Value:
    if flag.kind in {Kind.TEXTS, Kind.LIST}:
        return flag.default or ()
    if flag.kind in {Kind.NUMBER, Kind.COUNT}:
        return flag.default or 0
    return bool(flag.default) if flag.kind is Kind.SWITCH else flag.default


def _value(flag: Flag, text: str | None, before: Value, *, first: bool) -> Value:
    match flag.kind:
        case Kind.SWITCH:
            return _switch("true" if text is None else text)
        case Kind.COUNT:
            return _number(text) if text is not None else int(before) + 1 if isinstance(before, int) else 1
        case Kind.NUMBER:
            return _number(text or "")
        case Kind.TEXT:
            return flag.bare if text is None else text
    known = () if first or not isinstance(before, tuple) else before
    if flag.kind is Kind.TEXTS:
        return (*known, text or "")
    try:
        return (*known, *next(csv.reader([text or ""]), []))
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _switch(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def usage_lines(flags: Iterable[Flag]) -> list[str]:
    """The flags as help lists them, descriptions aligned."""
    heads, texts = [], []
    for flag in flags:
        head = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        head += f" {flag.kind.value}" if flag.kind.value else ""
        heads.append(head + (f'[="{flag.bare}"]' if flag.bare else ""))
        texts.append(flag.help + _default_note(flag))
    width = max((len(head) for head in heads), default=0) + 3
    return [head.ljust(width) + text for head, text in zip(heads, texts, strict=True)]


def _default_note(flag: Flag) -> str:
    if not flag.default:
        return ""
    if isinstance(flag.default, bool):
        return " (default true)"
    return f' (default "{flag.default}")' if isinstance(flag.default, str) else f" (default {flag.default})"
