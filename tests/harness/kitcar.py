"""Runs kitcar's command line inside the test's own process, over a home of its own."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kitcar.cli.app import run
from kitcar.cli.session import Surroundings


@dataclass(frozen=True, slots=True)
class Result:
    """A finished command."""

    code: int
    out: str
    err: str


class Kitcar:
    """The command line with `home` as its KITOPS_HOME and an environment that has nothing else but `environ`."""

    def __init__(self, home: Path, environ: Mapping[str, str] | None = None) -> None:
        self.home = home
        self._environ = {"HOME": str(home), "KITOPS_HOME": str(home), **(environ or {})}

    def __call__(self, *words: str | Path, stdin: bytes = b"", check: bool = True) -> Result:
        """Runs one command; `check` makes a failure an AssertionError with all that was printed."""
        out, err = io.StringIO(), io.StringIO()
        code = run([str(word) for word in words], Surroundings(self._environ, io.BytesIO(stdin), out, err))
        result = Result(code, out.getvalue(), err.getvalue())
        assert not check or code == 0, f"{words} ended with {code}\n{result.out}\n{result.err}"
        return result
