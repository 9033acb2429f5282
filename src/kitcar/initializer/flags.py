"""`KIT_UNPACK_FLAGS`: the flags of `kit unpack` as one text, read with a shell's quotes and pflag's grammar."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kitcar.errors import InvalidError

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_SHORT = {"d": "dir", "o": "overwrite", "i": "ignore-existing", "f": "filter", "v": "verbose"}
_PARTS = ("kitfile", "model", "code", "datasets", "docs")
_BOOLS = frozenset((*_PARTS, "overwrite", "ignore-existing", "include-remote", "plain-http", "tls-verify"))
_TEXTS = frozenset(("dir", "cert", "key", "proxy", "config", "log-level", "progress"))
_LISTS = frozenset(("filter", "tls-cert"))
_REFUSED = {"as-skill": "a storage initializer installs no agent skills", "help": "help is no work for a container"}


@dataclass(frozen=True, slots=True)
class UnpackFlags:
    """The flags of `kit unpack`, by kit's names; `dir` is the empty text where none was given."""

    dir: str = ""
    overwrite: bool = False
    ignore_existing: bool = False
    filter: tuple[str, ...] = ()
    include_remote: bool = False
    kitfile: bool = False
    model: bool = False
    code: bool = False
    datasets: bool = False
    docs: bool = False
    plain_http: bool = False
    tls_verify: bool = True
    tls_cert: tuple[str, ...] = ()
    cert: str = ""
    key: str = ""
    concurrency: int = 5
    proxy: str = ""
    config: str = ""
    log_level: str = "info"
    progress: str = "plain"
    verbose: int = 0

    @classmethod
    def parse(cls, text: str, where: str = "KIT_UNPACK_FLAGS") -> UnpackFlags:
        """Reads one text of flags; `where` is the variable's name for messages.

        Raises:
            InvalidError: a quote is open, a flag is unknown, lacks its value or has a wrong one, or a word is no flag.
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise InvalidError(f"{where}: {str(error).lower()} in {text!r}") from None
        return _Parser(where).parse(cls(), words)


class _Parser:
    """pflag's grammar: `--name=value`, `--name value`, `-n value`, `-nvalue`, `-n=value`, `-abc`."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._words: list[str] = []

    def parse(self, flags: UnpackFlags, words: Sequence[str]) -> UnpackFlags:
        self._words = list(words)
        while self._words:
            word = self._words.pop(0)
            if word.startswith("--") and len(word) > 2:
                flags = self._long(flags, word)
            elif word.startswith("-") and word not in ("-", "--"):
                flags = self._short(flags, word)
            else:
                raise self._error(f"unexpected argument {word!r}", "a flag's value goes behind '=', or in quotes")
        if flags.concurrency < 1:
            raise self._error(f"invalid argument for concurrency ({flags.concurrency}): must be at least 1")
        return flags

    def _long(self, flags: UnpackFlags, word: str) -> UnpackFlags:
        name, equals, value = word[2:].partition("=")
        self._known(name, f"unknown flag: --{name}")
        if not equals:
            value = "" if _bare(name) else self._next(f"flag needs an argument: --{name}")
        return self._with(flags, name, value if equals or not _bare(name) else None)

    def _short(self, flags: UnpackFlags, word: str) -> UnpackFlags:
        rest = word[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            name = _SHORT.get(letter, letter)
            self._known(name, f"unknown shorthand flag: {letter!r} in {word}")
            if rest.startswith("="):
                return self._with(flags, name, rest[1:])
            if not _bare(name):
                value = rest or self._next(f"flag needs an argument: {letter!r} in {word}")
                return self._with(flags, name, value)
            flags = self._with(flags, name, None)
        return flags

    def _with(self, flags: UnpackFlags, name: str, value: str | None) -> UnpackFlags:
        """`flags` with one set; `value` is None where a flag that needs none stands alone."""
        member = name.replace("-", "_")
        changed: Any = value
        if name in _BOOLS:
            changed = value is None or self._bool(name, value)
        elif name == "verbose":
            changed = flags.verbose + 1 if value is None else self._number(name, value)
        elif name == "concurrency":
            changed = self._number(name, value or "")
        elif name == "tls-cert":
            changed = (*flags.tls_cert, *(value or "").split(","))
        elif name == "filter":
            changed = (*flags.filter, value)
        return replace(flags, **{member: changed})

    def _known(self, name: str, message: str) -> None:
        if name in _REFUSED:
            raise self._error(f"--{name} cannot be used here", _REFUSED[name])
        if name not in _BOOLS | _TEXTS | _LISTS | {"verbose", "concurrency"}:
            raise self._error(message, "the flags are those of `kitcar unpack`")

    def _next(self, message: str) -> str:
        if not self._words:
            raise self._error(message)
        return self._words.pop(0)

    def _bool(self, name: str, value: str) -> bool:
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise self._error(f'invalid argument "{value}" for "--{name}" flag', "write true or false")

    def _number(self, name: str, value: str) -> int:
        try:
            return int(value)
        except ValueError:
            raise self._error(f'invalid argument "{value}" for "--{name}" flag', "write a whole number") from None

    def _error(self, message: str, hint: str | None = None) -> InvalidError:
        return InvalidError(f"{self._where}: {message}", hint=hint)


def _bare(name: str) -> bool:
    """Whether the flag may stand without a value."""
    return name in _BOOLS or name == "verbose"
