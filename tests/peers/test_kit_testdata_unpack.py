"""kit's own cases of packing, packed by kit in every form it writes, are read and unpacked by kitcar as kit unpacks them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from harness.kit import Kit
from harness.kitcar import Kitcar

TAG = "team/kit:v1"
PACKED_AS = (
    "",
    "--compression gzip",
    "--compression gzip-fastest",
    "--compression zstd",
    "--use-model-pack",
    "--use-model-pack --compression gzip",
    "--use-model-pack --compression zstd",
)
PACKED_RAW_AS = (
    "",
    "--compression gzip",
    "--compression gzip-fastest",
    "--compression zstd",
    "--use-model-pack",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A directory: its Kitfile and ignore rules, the files that are packed and those that are not."""

    kitfile: str
    ignore: str
    files: tuple[str, ...]
    ignored: tuple[str, ...]

    @classmethod
    def of(cls, document: dict[str, object]) -> Case:
        def texts(name: str) -> tuple[str, ...]:
            found = document.get(name) or []
            assert isinstance(found, list)
            return tuple(map(str, found))

        return cls(str(document["kitfile"]), str(document.get("kitignore") or ""), texts("files"), texts("ignored"))

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        for number, name in enumerate((*self.files, *self.ignored)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"content {number} of {name}")
            (folder / name).chmod(0o755 if number % 3 == 0 else 0o640)
        (folder / "Kitfile").write_text(self.kitfile)
        if self.ignore:
            (folder / ".kitignore").write_text(self.ignore)
        return folder


def documents(module: Path, folder: str) -> dict[str, dict[str, object]]:
    found = sorted((module / "testing/testdata" / folder).glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text()) for path in found}


def cases(module: Path) -> dict[str, Case]:
    found = {name: Case.of(document) for name, document in documents(module, "pack-unpack").items()}
    assert len(found) == 11
    return found


def tree(root: Path) -> dict[str, tuple[int, bytes | None]]:
    found = sorted(root.rglob("*"))
    assert not any(path.is_symlink() for path in found)
    return {
        str(path.relative_to(root)): (
            stat.S_IMODE(path.stat().st_mode),
            path.read_bytes() if path.is_file() else None,
        )
        for path in found
    }


def assert_read_alike(kit: Kit, reference: str) -> None:
    """What the reading commands print over one store."""
    ours = Kitcar(kit.home)
    for words in (("list",), ("list", "--format", "json"), ("info", reference), ("inspect", reference)):
        assert ours(*words).out == kit(*words).stdout, words


def assert_unpacked_alike(kit: Kit, reference: str, folder: Path) -> dict[str, tuple[int, bytes | None]]:
    kit("unpack", reference, "-d", folder / "by-kit")
    Kitcar(kit.home)("unpack", reference, "-d", folder / "by-kitcar")
    theirs = tree(folder / "by-kit")
    assert tree(folder / "by-kitcar") == theirs
    return theirs


@pytest.mark.parametrize("flags", PACKED_AS)
def test_kits_own_cases_packed_by_kit_are_unpacked_alike(
    kit: Callable[..., Kit], kit_module: Path, tmp_path: Path, flags: str
) -> None:
    for name, case in cases(kit_module).items():
        tool, context = kit(tmp_path / name / "home"), case.write(tmp_path / name / "context")
        tool("pack", context, "-t", TAG, *flags.split())
        assert_read_alike(tool, TAG)
        unpacked = assert_unpacked_alike(tool, TAG, tmp_path / name)
        assert {os.path.normpath(file) for file in case.files} <= unpacked.keys(), name


@pytest.mark.parametrize("flags", PACKED_RAW_AS)
def test_kits_own_cases_packed_raw_by_kit_are_unpacked_alike(
    kit: Callable[..., Kit], kit_module: Path, tmp_path: Path, flags: str
) -> None:
    for name, case in cases(kit_module).items():
        if "./code/SKILL.md" in case.files:
            continue  # `kit init` makes a directory of it, which has no raw form; kit leaves it out here, too
        tool, context = kit(tmp_path / name / "home"), case.write(tmp_path / name / "context")
        (context / "Kitfile").unlink()
        (context / ".kitignore").unlink(missing_ok=True)
        tool("init", "--depth", "-1", context)
        tool("pack", context, "-t", TAG, "--layer-format", "raw", *flags.split())
        assert_read_alike(tool, TAG)
        unpacked = assert_unpacked_alike(tool, TAG, tmp_path / name)
        assert {os.path.normpath(file) for file in (*case.files, *case.ignored)} <= unpacked.keys(), name


def test_kits_own_cases_of_references_are_read_alike_and_never_unpacked_in_part(
    kit: Callable[..., Kit], kit_module: Path, tmp_path: Path
) -> None:
    found = documents(kit_module, "modelkit-refs")
    assert len(found) == 3
    for name, document in found.items():
        tool, modelkits = kit(tmp_path / name / "home"), document["modelkits"]
        assert isinstance(modelkits, list)
        for number, modelkit in enumerate(modelkits):
            folder = tmp_path / name / str(number)
            context = Case.of(modelkit).write(folder / "context")
            if "packErrRegexp" in modelkit:
                assert tool("pack", context, "-t", modelkit["tag"], check=False).returncode == 1
                continue
            tool("pack", context, "-t", modelkit["tag"])
            assert_read_alike(tool, modelkit["tag"])
            assert_unpacked_or_refused(tool, modelkit, folder)


def assert_unpacked_or_refused(tool: Kit, modelkit: dict[str, str], folder: Path) -> None:
    refers = re.search(r"path: (test-ref:\S+)", modelkit["kitfile"])
    if not refers:
        assert_unpacked_alike(tool, modelkit["tag"], folder)
        return
    refused = Kitcar(tool.home)("unpack", modelkit["tag"], "-d", folder / "by-kitcar", check=False)
    assert refused.code == 1
    assert refers[1] in refused.err
    assert "\nHint: " in refused.err
    assert not (folder / "by-kitcar").exists() or tree(folder / "by-kitcar") == {}
