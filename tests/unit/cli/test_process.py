"""The command as a process: streams that are closed or full, and locales that know no UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "modèle 模型.bin"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def kitcar(home: Path, *words: str, redirect: str = "", more: dict[str, str] | None = None) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m kitcar "$@" {redirect}', sys.executable, *words],
        env={**os.environ, "KITOPS_HOME": str(home), **(more or {})},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("verb", ["list", "version", "--help"])
def test_closed_output_is_nobodys_fault(tmp_path: Path, verb: str) -> None:
    assert kitcar(tmp_path, verb, redirect=">&-") == (0, b"", b"")


def test_closed_streams_change_no_exit_code(tmp_path: Path) -> None:
    assert kitcar(tmp_path, "info", "nothing:here", redirect="<&- >&- 2>&-") == (1, b"", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("verb", ["list", "version"])
def test_full_output_is_one_sentence(tmp_path: Path, verb: str) -> None:
    assert kitcar(tmp_path, verb, redirect=">/dev/full") == (1, b"", b"[ERROR] No space left on device\n")


def test_locale_without_utf8_changes_no_name(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / NAME).write_text("weights")
    (source / "Kitfile").write_text(f"manifestVersion: 1.0.0\npackage: {{name: 模型}}\nmodel: {{path: {NAME}}}\n")
    home = tmp_path / "home"
    assert kitcar(home, "pack", str(source), "-t", "names:1", more=ASCII)[0] == 0
    code, shown, _ = kitcar(home, "list", more=ASCII)
    assert (code, "模型" in shown.decode()) == (0, True)
    code, _, said = kitcar(home, "unpack", "names:1", "-d", str(target), more=ASCII)
    assert (code, said) == (0, b"")
    assert (target / NAME).read_text() == "weights"
