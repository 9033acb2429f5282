"""Where a layer probably is already."""

from __future__ import annotations

from pathlib import Path

from harness.kitcar import Kitcar
from kitcar.cli.origin import Origins
from kitcar.modelkit.kit import read_kit
from kitcar.oci.reference import Reference
from kitcar.stores.layout import LayoutStore


def test_origins_name_another_repository_of_the_same_registry(kitcar: Kitcar, context: Path) -> None:
    kitcar("pack", context, "-t", "reg.example/team/one:v1")
    kitcar("tag", "reg.example/team/one:v1", "iris:v1")
    store = LayoutStore(kitcar.home / "storage")
    repository = store.repository("reg.example/team/one")
    layer = read_kit(repository, repository.resolve("v1")).manifest.layers[0]

    def origin(destination: str) -> str | None:
        return Origins(store, Reference.parse(destination)).repository(layer)

    assert origin("reg.example/team/two:v1") == "team/one"
    assert origin("reg.example/team/one:v2") is None
    assert origin("other.example/team/two:v1") is None


def test_origins_pass_over_what_cannot_be_read(kitcar: Kitcar, context: Path) -> None:
    kitcar("pack", context, "-t", "reg.example/team/one:v1")
    store = LayoutStore(kitcar.home / "storage")
    repository = store.repository("reg.example/team/one")
    manifest = repository.resolve("v1")
    layer = read_kit(repository, manifest).manifest.layers[0]
    path = store.path(manifest.digest)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    assert Origins(store, Reference.parse("reg.example/team/two:v1")).repository(layer) is None
