"""What people and scripts read: messages by level, machine output untouched, sizes and tables in kit's form."""

from __future__ import annotations

import enum
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TextIO

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_GAP = 3
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*[:,.]?(?:\s|$)")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"}


class Level(enum.IntEnum):
    """How much is said; the names are those of `--log-level`."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


_COLOURS = {Level.DEBUG: "\033[0;34m", Level.INFO: "\033[0;32m", Level.WARN: "\033[0;93m", Level.ERROR: "\033[0;31m"}


@dataclass(frozen=True, slots=True)
class Console:
    """Two streams and a level. Information goes to `out`, everything else to `err`; one message is written at once."""

    out: TextIO
    err: TextIO
    level: Level = Level.INFO
    lock: threading.RLock = field(default_factory=threading.RLock, compare=False, repr=False)

    def trace(self, message: str) -> None:
        """Says what only somebody who looks for a fault wants to know."""
        self._say(Level.TRACE, message)

    def debug(self, message: str) -> None:
        """Says what happens inside."""
        self._say(Level.DEBUG, message)

    def info(self, message: str) -> None:
        """Says what was done."""
        self._say(Level.INFO, message)

    def warn(self, message: str) -> None:
        """Says what is likely not meant."""
        self._say(Level.WARN, message)

    def error(self, message: str) -> None:
        """Says what failed."""
        self._say(Level.ERROR, message)

    def write(self, text: str) -> None:
        """Writes machine output as it is, whatever the level."""
        with self.lock:
            self.out.write(text)

    def note(self, text: str) -> None:
        """Writes a line to the error stream without prefix: a prompt, a hint, a progress line."""
        with self.lock:
            self.err.write(printable(text) + "\n")
            self.err.flush()

    def _say(self, level: Level, message: str) -> None:
        if level < self.level:
            return
        stream = self.out if level == Level.INFO else self.err
        # A sentence starts with a capital; a file's or a modelkit's name stays as it is.
        text = printable(message[:1].upper() + message[1:] if _WORD.match(message) else message)
        with self.lock:
            stream.write(f"{self._prefix(level, stream)}{text}" + ("" if text.endswith("\n") else "\n"))
            # Whoever follows a long run in a log sees each line when it is written.
            stream.flush()

    def _prefix(self, level: Level, stream: TextIO) -> str:
        if level == Level.INFO and self.level == Level.INFO:
            return ""
        prefix = f"[{level.name:<5}] "
        colour = _COLOURS.get(level, "")
        return f"{colour}{prefix}\033[0m" if colour and stream.isatty() else prefix


def printable(text: str) -> str:
    """`text` with control characters shown as escapes, so that a name cannot steer the terminal."""
    return text.translate(_CONTROLS)


def size_text(count: int) -> str:
    """A number of bytes as kit prints it: whole bytes, else one decimal, cut off, up to PiB."""
    if count < 1024:
        return f"{count} B"
    tenths = count * 10 // 1024
    for unit in _UNITS:
        if tenths < 10240:
            return f"{tenths // 10}.{tenths % 10} {unit}"
        tenths //= 1024
    return f"{tenths // 10}.{tenths % 10} PiB"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as columns three blanks apart; the last column is not padded."""
    lines = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) + _GAP for column in zip(*lines, strict=True)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)) + f"{line[-1]}\n"
        for line in lines
    )
