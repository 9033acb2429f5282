"""kitcar's command line over a home of each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.kitcar import Kitcar


@pytest.fixture
def kitcar(tmp_path: Path) -> Kitcar:
    """The command line over an empty home."""
    return Kitcar(tmp_path / "home")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory with a model, code and a Kitfile."""
    folder = tmp_path / "iris"
    (folder / "src").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "src" / "train.py").write_text("print('train')\n")
    (folder / "Kitfile").write_text(
        "manifestVersion: 1.0.0\n"
        "package:\n  name: iris\n  authors: [Ada, Grace]\n"
        "model:\n  name: iris\n  path: model.bin\n  parameters: {lr: 0.1, steps: [1, 2]}\n"
        "code:\n  - path: src\n"
    )
    return folder
