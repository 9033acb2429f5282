"""What we write, GNU tar reads."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from kitcar.files.tree import ROOT, Tree
from kitcar.modelkit.ignore import IgnoreRules
from kitcar.modelkit.plan import plan_tar
from kitcar.modelkit.stream import LayerStream

NAMES = (
    "plain",
    "with blank",
    "ä/ö/ü",
    "d" * 150 + "/" + "f" * 90,
    "e" * 200,
    "日" * 80,
    "p/" * 60 + "end",
    "-dash",
    "new\nline",
    "a..b/v1..v2",
)


def listed(root: Path) -> dict[str, tuple[int, int]]:
    """Path to mode, kind included, and size of files."""
    states = {str(path.relative_to(root)): path.lstat() for path in root.rglob("*")}
    return {
        name: (state.st_mode, state.st_size if stat.S_ISREG(state.st_mode) else 0) for name, state in states.items()
    }


def test_layer_extracted_by_gnu_tar_is_the_directory_again(tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if (
        tar is None
        or "GNU" not in subprocess.run([tar, "--version"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("tar is not GNU tar")
    context, out = tmp_path / "context", tmp_path / "out"
    for number, name in enumerate(NAMES):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_bytes(os.urandom(number * 300))
        (context / name).chmod(0o600 + number)
    (context / "empty").mkdir(mode=0o710)
    out.mkdir()
    plan = plan_tar(Tree(context), ROOT, IgnoreRules.parse())
    archive = b"".join(bytes(chunk) for chunk in LayerStream(plan).chunks())
    subprocess.run([tar, "-x", "-p", "--no-same-owner", "-C", out], input=archive, check=True)
    assert listed(out) == listed(context)
    for name in NAMES:
        assert (out / name).read_bytes() == (context / name).read_bytes()
