"""The ModelKits packed by a real kit in `tests/corpus`: what went in, what came out, what the commands said."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent.parent / "corpus"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a transcript; `$BASE` in its words and output stands for the working directory."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Case:
    """One ModelKit: `context.tar` was packed, `storage/` is what kit's local storage held afterwards."""

    name: str
    folder: Path
    transcript: dict[str, Any]

    @property
    def reference(self) -> str:
        """The reference it was packed as."""
        return str(self.transcript["reference"])

    @property
    def version(self) -> str:
        """The version of kit that made it."""
        return str(self.transcript["kit"])

    @property
    def storage(self) -> Path:
        """kit's local storage afterwards; read only."""
        return self.folder / "storage"

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands that were run, in order."""
        return tuple(
            Command(tuple(item["argv"]), item["exit"], item["stdout"], item["stderr"])
            for item in self.transcript["commands"]
        )

    def command(self, *words: str) -> Command:
        """The command whose line starts with `words`."""
        return next(command for command in self.commands if command.argv[: len(words)] == words)

    @property
    def unpacked(self) -> dict[str, tuple[int, str | None]]:
        """Path to (mode with file type, SHA-256 or None for a directory) of all that `kit unpack` wrote."""
        return {path: (int(mode, 8), digest) for path, mode, digest in self.transcript["unpacked"]}

    def extract(self, folder: Path) -> Path:
        """The packed directory as it was, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(self.folder / "context.tar") as archive:
            archive.extractall(folder, filter="fully_trusted")
        return folder

    def home(self, folder: Path) -> Path:
        """A KITOPS_HOME in `folder` with a copy of the storage."""
        shutil.copytree(self.storage, folder / "storage")
        return folder


def load() -> tuple[Case, ...]:
    """All cases, by name."""
    folders = sorted(path.parent for path in CORPUS.glob("*/transcript.json"))
    return tuple(Case(f.name, f, json.loads((f / "transcript.json").read_text())) for f in folders)
