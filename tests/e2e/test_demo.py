"""The demo does what it says: a model is trained, packed, pushed, delivered and served, and the answer is the trainer's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "iris" / "demo.py"


@pytest.mark.expensive
@pytest.mark.timeout(300)
def test_demo_ends_with_a_prediction_that_agrees_with_the_trainer(mlserver_environment: Path, tmp_path: Path) -> None:
    tools = f"{Path(sys.executable).parent}{os.pathsep}{mlserver_environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, str(DEMO), "--python", str(mlserver_environment / "bin" / "python")],
        env={**os.environ, "PATH": tools, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "They agree." in done.stdout
    assert not list(tmp_path.iterdir()), "the demo leaves nothing behind"
