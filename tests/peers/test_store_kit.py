"""One local storage, two tools: a real kit and kitcar's stores."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.kit import Kit
from kitcar.oci.copy import copy
from kitcar.oci.manifest import Manifest
from kitcar.oci.verify import fetch_all
from kitcar.stores.layout import LayoutStore
from kitcar.stores.memory import MemoryStore

KITFILE = "manifestVersion: 1.0.0\nmodel:\n  name: m\n  path: model.bin\ndocs:\n  - path: README.md\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Kitfile").write_text(KITFILE)
    (folder / "model.bin").write_bytes(b"weights" * 1000)
    (folder / "README.md").write_text("# words\n")
    return folder


def test_what_kitcar_stores_kit_lists_unpacks_and_removes(
    kit: Callable[..., Kit], context: Path, tmp_path: Path
) -> None:
    one, two = kit(tmp_path / "one"), kit(tmp_path / "two")
    one("pack", context, "-t", "registry.example/team/iris:v1,v2")
    source = LayoutStore(one.home / "storage").repository("registry.example/team/iris")
    target = LayoutStore(two.home / "storage").repository("registry.example/team/iris")
    copy(source, target, source.resolve("v1"), tags=("v1", "v2"))
    assert two("list").stdout == one("list").stdout
    two("unpack", "registry.example/team/iris:v2", "-d", tmp_path / "out")
    assert (tmp_path / "out" / "model.bin").read_bytes() == (context / "model.bin").read_bytes()
    two("tag", "registry.example/team/iris:v1", "mine:latest")
    assert LayoutStore(two.home / "storage").repository("localhost/mine").resolve("latest") == source.resolve("v1")
    two("remove", "registry.example/team/iris:v1")
    assert list(target.tags()) == ["v2"]
    two("remove", "--all", "--force")
    assert LayoutStore(two.home / "storage").repositories() == []


def test_what_kit_packs_kitcar_reads_and_removes(kit: Callable[..., Kit], context: Path) -> None:
    run = kit()
    run("pack", context, "-t", "mine:v1")
    (context / "README.md").write_text("# other words\n")
    run("pack", context, "-t", "mine:v2")
    store = LayoutStore(run.home / "storage")
    repository, memory = store.repository("localhost/mine"), MemoryStore()
    first, second = repository.resolve("v1"), repository.resolve("v2")
    copy(repository, memory, first)
    repository.delete(first)
    assert "v1" not in run("list").stdout
    run("unpack", "mine:v2", "-d", run.home / "out")
    assert (run.home / "out" / "README.md").read_text() == "# other words\n"
    manifest = Manifest.parse(fetch_all(repository, second))
    names = {second.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)}
    assert {path.name for path in (store.root / "blobs" / "sha256").iterdir()} == {name.encoded for name in names}


def test_main_index_that_stops_kit_is_repaired_by_the_next_push(kit: Callable[..., Kit], context: Path) -> None:
    run = kit()
    run("pack", context, "-t", "mine:v1")
    (run.home / "storage" / "index.json").write_text("{")
    assert "Invalid OCI Image Index" in run("list", check=False).stderr
    repository = LayoutStore(run.home / "storage").repository("localhost/mine")
    descriptor = repository.resolve("v1")
    copy(repository, LayoutStore(run.home / "storage").repository("localhost/other"), descriptor, tags=("v1",))
    assert "other" in run("list").stdout


def test_kits_own_packers_beside_kitcar_lose_nothing_of_kitcar(kit: Callable[..., Kit], context: Path) -> None:
    run = kit()
    run("pack", context, "-t", "mine:base")
    repository = LayoutStore(run.home / "storage").repository("localhost/mine")
    base = repository.resolve("base")
    packers = [
        subprocess.Popen(
            [run.binary, "pack", context, "-t", f"theirs{number}:v1"],
            env={"KITOPS_HOME": str(run.home), "HOME": str(run.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number in range(3)
    ]
    for number in range(30):
        copy(repository, LayoutStore(run.home / "storage").repository("localhost/ours"), base, tags=(f"v{number}",))
    for packer in packers:
        packer.communicate()
    ours = LayoutStore(run.home / "storage").repository("localhost/ours")
    assert len(list(ours.tags())) == 30
    assert ours.exists(base)
