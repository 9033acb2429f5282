"""The distribution that users install: what is in it, and that its command starts."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("click", "rich", "urllib3", "yaml", "zstandard", "isal", "re2", "cheroot", "botocore", "http.client", "ssl")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    source = ROOT / "src"
    names = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    caches = (".pyc", ".mypy_cache", ".ruff_cache")
    expected = {str(name) for name in names if not any(part.endswith(caches) for part in name.parts)}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("METADATA"))
    assert held == expected
    assert "License-Expression: Apache-2.0" in metadata


def test_wheel_runs_where_it_was_unpacked(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "kitcar", "version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Version: ")


def test_version_loads_no_heavy_module(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['kitcar', 'version']\n"
        "from kitcar.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    # Without the site module, so that nothing an installed .pth file imports is counted.
    command = [sys.executable, "-S", "-c", code]
    environment = {"PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
