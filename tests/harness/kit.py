"""Runs a real kit over a home of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class Kit:
    """A real kit with `home` as its KITOPS_HOME; it never looks for updates."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.binary, self.home = binary, home
        home.mkdir(parents=True, exist_ok=True)
        self("version", "--show-update-notifications=false")

    def __call__(
        self, *words: str | Path, cwd: Path | None = None, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs one command; `check` makes a failure an AssertionError with all that was printed."""
        done = subprocess.run(
            [str(self.binary), *(str(word) for word in words)],
            cwd=cwd or self.home,
            env={**os.environ, "KITOPS_HOME": str(self.home)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{done.args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done
