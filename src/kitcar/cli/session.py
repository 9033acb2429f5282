"""What a verb works with: settings, console, and the streams and clock of the process, each replaceable in a test."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TextIO

from kitcar.cli.output import Console, Level
from kitcar.cli.settings import Settings
from kitcar.errors import InvalidError
from kitcar.flags.general import LEVELS, PROGRESS_STYLES


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process has around it."""

    environ: Mapping[str, str]
    stdin: BinaryIO
    stdout: TextIO
    stderr: TextIO

    @classmethod
    def of_process(cls) -> Surroundings:
        """Those of this process; a standard stream that is closed is an empty one."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        stdin = sys.stdin.buffer if sys.stdin else io.BytesIO()
        return cls(os.environ, stdin, sys.stdout or _nowhere(), sys.stderr or _nowhere())


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class GlobalFlags:
    """The flags every verb takes, as they were given."""

    config: str = ""
    log_level: str = ""
    progress: str = ""
    verbose: int = 0

    def over(self, other: GlobalFlags) -> GlobalFlags:
        """These flags, and `other`'s where these were not given; counts add up."""
        return GlobalFlags(
            self.config or other.config,
            self.log_level or other.log_level,
            self.progress or other.progress,
            self.verbose + other.verbose,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line; a click command finds it in `ctx.obj`."""

    settings: Settings
    console: Console
    stdin: BinaryIO
    progress: str = "plain"
    flags: GlobalFlags = GlobalFlags()

    @classmethod
    def start(cls, around: Surroundings) -> Session:
        """A session before any flag is read."""
        settings = Settings.from_environment(around.environ)
        return cls(settings, Console(around.stdout, around.stderr), around.stdin)

    def with_flags(self, flags: GlobalFlags) -> Session:
        """This session under `flags` and those it already has.

        Raises:
            InvalidError: a flag has no meaning.
        """
        flags = flags.over(self.flags)
        if flags.log_level and flags.log_level not in LEVELS:
            raise InvalidError(
                f"invalid log level '{flags.log_level}'. Options are 'trace', 'debug', 'info', 'warn', 'error'"
            )
        if flags.progress and flags.progress not in PROGRESS_STYLES:
            raise InvalidError(f"invalid progress style '{flags.progress}'", hint="none, plain and fancy are known")
        return replace(
            self,
            settings=self.settings.with_home(flags.config) if flags.config else self.settings,
            console=replace(self.console, level=_level(flags)),
            progress=self._progress(flags),
            flags=flags,
        )

    def ask(self, prompt: str) -> str:
        """The line that somebody types behind `prompt`, without blanks around it."""
        with self.console.lock:
            self.console.err.write(prompt)
            self.console.err.flush()
        return self.stdin.readline().decode("utf-8", "surrogateescape").strip()

    def _progress(self, flags: GlobalFlags) -> str:
        terminal = self.console.err.isatty()
        if flags.verbose > len(("debug", "trace")):
            return "none"
        style = flags.progress or ("fancy" if terminal else "plain")
        return "plain" if style == "fancy" and not terminal else style


def _level(flags: GlobalFlags) -> Level:
    if flags.verbose:
        return Level.DEBUG if flags.verbose == 1 else Level.TRACE
    return Level[flags.log_level.upper()] if flags.log_level else Level.INFO
