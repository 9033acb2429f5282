"""A ModelKit of 1 GiB in one file and 2,000 small ones, both ways between kitcar and a real kit, through three registries."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from harness.kit import Kit

MIB = 1024 * 1024
KITFILE = """\
manifestVersion: 1.0.0
package:
  name: large
model:
  path: model.safetensors
datasets:
  - path: data
"""


class Runner(Protocol):
    """Runs one command of kit or kitcar in its own home."""

    def __call__(self, *words: str | Path) -> object: ...


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("large")
    source = random.Random(1)
    block = source.randbytes(MIB)
    with (folder / "model.safetensors").open("wb") as file:
        for _ in range(1024):
            file.write(source.randbytes(64) + block[64:])
    for index in range(2000):
        path = folder / "data" / f"{index // 100:02}" / f"{index:04}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(4096))
    (folder / "Kitfile").write_text(KITFILE)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def kitcar(tmp_path: Path) -> Runner:
    home = tmp_path / "kitcar-home"

    def run(*words: str | Path) -> object:
        command = [sys.executable, "-m", "kitcar", *map(str, words)]
        environment = {**os.environ, "KITOPS_HOME": str(home)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def _tree(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "Kitfile":
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@pytest.mark.expensive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("registry", ["docker_registry", "crane_registry", "embedded_registry"])
@pytest.mark.parametrize("writer", ["kit", "kitcar"])
def test_large_kit_packed_by_one_tool_is_unpacked_whole_by_the_other(
    writer: str,
    registry: str,
    context: Path,
    kit: Callable[..., Kit],
    kitcar: Runner,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    address = request.getfixturevalue(registry).address
    reference = f"{address}/large/{writer}:v1"
    tools: dict[str, Runner] = {"kit": kit(), "kitcar": kitcar}
    sender, receiver = tools.pop(writer), tools.popitem()[1]

    sender("pack", context, "-t", reference)
    sender("push", reference, "--plain-http")
    receiver("pull", reference, "--plain-http")
    receiver("unpack", reference, "-d", tmp_path / "local")
    assert _tree(tmp_path / "local") == _tree(context)

    shutil.rmtree(tmp_path / "local")
    receiver("remove", reference)
    receiver("unpack", reference, "--plain-http", "-d", tmp_path / "direct")
    assert _tree(tmp_path / "direct") == _tree(context)


@pytest.mark.expensive
@pytest.mark.timeout(600)
@pytest.mark.parametrize("registry", ["docker_registry", "crane_registry", "embedded_registry"])
def test_large_directory_pushed_without_a_store_is_unpacked_whole_by_kit(
    registry: str,
    context: Path,
    kit: Callable[..., Kit],
    kitcar: Runner,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    reference = f"{request.getfixturevalue(registry).address}/large/direct:v1"
    kitcar("push", context, reference, "--plain-http")
    kit()("unpack", reference, "--plain-http", "-d", tmp_path / "out")
    assert _tree(tmp_path / "out") == _tree(context)
