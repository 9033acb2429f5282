"""Virtual environments of their own for what pins other versions than kitcar does, such as a model server.

`python -m harness.environments REQUIREMENTS.txt` makes one in the cache, if need be, and prints its folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from harness.cache import cache_root, key_of, locked


def environment(requirements: Path) -> Path:
    """The folder of a virtual environment with exactly these requirements, made if need be.

    Raises:
        subprocess.CalledProcessError: the requirements cannot be installed.
    """
    key = key_of(requirements.read_bytes(), sys.version)
    target = cache_root() / "environments" / f"{requirements.stem}-{key}"
    ready = target / ".ready"
    with locked(target.parent / f"{target.name}.lock"):
        if not ready.exists():
            shutil.rmtree(target, ignore_errors=True)  # a run that was interrupted
            _install(target, requirements)
            ready.touch()
    return target


def _install(target: Path, requirements: Path) -> None:
    python = str(target / "bin" / "python")
    if _uv_runs():
        _run(["uv", "venv", "--quiet", "--python", sys.executable, str(target)])
        _run(["uv", "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(requirements)])
    else:
        _run([sys.executable, "-m", "venv", str(target)])
        _run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(requirements)])


def _uv_runs() -> bool:
    """Whether uv is there; a version manager's stand-in for it may be there without it."""
    try:
        return subprocess.run(["uv", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(command: list[str]) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True)


if __name__ == "__main__":
    print(environment(Path(sys.argv[1])))
