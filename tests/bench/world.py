"""What the measurements work on: tools, environments, files, servers."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from harness import peers
from harness.kit import Kit
from harness.processes import Server

_MIB = 1024 * 1024


@dataclass(slots=True)
class World:
    """One run of the benchmarks: where it works, how large the model is, which tools it has."""

    folder: Path
    size: int
    registry: Server
    tools: dict[str, str] = field(default_factory=dict)
    counter: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment without what would change what the tools do; Python keeps what it compiled."""
        without = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name not in without}
        kept = {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
        return {**kept, "PATH": f"{Path(self.tools['kit']).parent}{os.pathsep}{os.environ['PATH']}"}

    def fresh(self, name: str) -> Path:
        """A folder that is new and empty."""
        self.counter += 1
        path = self.folder / f"{name}-{self.counter}"
        path.mkdir()
        return path

    def home(self, tool: str) -> Path:
        """An empty KITOPS_HOME that is ready for `tool`."""
        home = self.fresh("home")
        if tool == "kit":
            Kit(Path(self.tools["kit"]), home)
        return home

    def reference(self, name: str) -> str:
        """A reference to a repository of the registry that nothing was pushed to."""
        self.counter += 1
        return f"{self.registry.address}/bench/{name}-{self.counter}:v1"

    def run(self, *command: str | Path, home: Path | None = None, cwd: Path | None = None) -> None:
        """Runs a command that is not measured.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        environment = self.environment | ({"KITOPS_HOME": str(home)} if home else {})
        words = [str(word) for word in command]
        subprocess.run(words, env=environment, cwd=cwd or self.folder, check=True, capture_output=True)


def tools() -> dict[str, str]:
    """The commands by name.

    Raises:
        PeerMissingError: one cannot be had.
    """
    found = {name: str(peers.find(name)) for name in ("kit", "oras", "crane")}
    found["kitcar"] = str(Path(sys.executable).parent / "kitcar")
    found["python"] = sys.executable
    return found


def one_model(folder: Path, size: int) -> Path:
    """A model of `size` bytes in one file, and 2,000 files of 4 KiB of data."""
    _fill(folder / "model.safetensors", size)
    _many(folder / "data", 2_000)
    return _kitfile(folder, "model:\n  path: model.safetensors\ndatasets:\n  - path: data\n")


def several_layers(folder: Path, size: int) -> Path:
    """A model of four files of equal size, each a layer of its own."""
    names = [f"part-{index}.safetensors" for index in range(4)]
    for name in names:
        _fill(folder / name, size // 4)
    parts = "".join(f"    - path: {name}\n" for name in names[1:])
    return _kitfile(folder, f"model:\n  path: {names[0]}\n  parts:\n{parts}")


def small_files(folder: Path, count: int) -> Path:
    """A data set of `count` files of 4 KiB in one layer, and a model of one file."""
    _fill(folder / "model.safetensors", 4096)
    _many(folder / "data", count)
    return _kitfile(folder, "model:\n  path: model.safetensors\ndatasets:\n  - path: data\n")


def discard(path: Path) -> None:
    """Removes a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _kitfile(folder: Path, entries: str) -> Path:
    (folder / "Kitfile").write_text(f"manifestVersion: 1.0.0\npackage:\n  name: bench\n{entries}")
    return folder


def _fill(path: Path, size: int) -> None:
    source = random.Random(path.name)
    block = source.randbytes(_MIB)
    with path.open("wb") as file:
        for index in range(0, size, _MIB):
            # Every block differs in its head, so that nothing on the way can profit from repetition.
            file.write((source.randbytes(64) + block[64:])[: min(_MIB, size - index)])


def _many(folder: Path, count: int) -> None:
    source = random.Random(count)
    for index in range(count):
        path = folder / f"{index // 1000:03}" / f"{index:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(4096))
