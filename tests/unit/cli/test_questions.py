"""What is asked for on a terminal."""

from __future__ import annotations

import io
from pathlib import Path

from kitcar.cli.app import run
from kitcar.cli.session import Surroundings


class Keyboard(io.BytesIO):
    """A terminal that somebody types at."""

    def isatty(self) -> bool:
        return True


def typed(home: Path, text: bytes, *words: str | Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    around = Surroundings({"HOME": str(home), "KITOPS_HOME": str(home)}, Keyboard(text), out, err)
    return run([str(word) for word in words], around), out.getvalue(), err.getvalue()


def test_init_on_a_terminal_asks_for_what_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    code, out, err = typed(tmp_path, b"iris\nwhich iris it is\nAda\n", "init", tmp_path)
    assert code == 0
    assert err == (
        "Enter a name for the ModelKit: Enter a short description for the ModelKit: Enter an author for the ModelKit: "
    )
    assert "  name: iris\n  description: which iris it is\n  authors: [Ada]\n" in out


def test_init_on_a_terminal_asks_nothing_that_is_given(tmp_path: Path) -> None:
    code, _, err = typed(tmp_path, b"", "init", tmp_path, "--name", "n", "--desc", "d", "--author", "a")
    assert (code, err) == (0, "")


def test_pack_from_a_terminal_as_kitfile_is_refused(tmp_path: Path) -> None:
    code, _, err = typed(tmp_path, b"manifestVersion: 1.0.0\n", "pack", tmp_path, "-f", "-")
    assert code == 1
    assert "[ERROR] Failed to pack model kit: No input file specified and no data piped\n" in err
