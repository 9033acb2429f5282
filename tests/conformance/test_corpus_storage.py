"""kit's storage as kit left it: read, verified, copied, and written again to the byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.corpus import Case
from kitcar.oci.copy import copy
from kitcar.oci.manifest import Manifest
from kitcar.oci.reference import Reference
from kitcar.oci.verify import fetch_all
from kitcar.stores.layout import LayoutStore


def json_files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}


def test_storage_of_kit_is_read_as_it_is(corpus_case: Case) -> None:
    store = LayoutStore(corpus_case.storage)
    reference = Reference.parse_tags(corpus_case.reference)[0]
    assert store.repositories() == [reference.name]
    repository = store.repository(reference.name)
    descriptor = repository.resolve(reference.target)
    assert reference.target in repository.tags_of(descriptor)
    manifest = Manifest.parse(fetch_all(repository, descriptor))
    for blob in (manifest.config, *manifest.layers):
        assert store.intact(blob)


def test_storage_copied_has_the_files_of_kit(corpus_case: Case, tmp_path: Path) -> None:
    source, target = LayoutStore(corpus_case.storage), LayoutStore(tmp_path / "storage")
    (name,) = source.repositories()
    repository = source.repository(name)
    for descriptor in repository.manifests():
        copy(repository, target.repository(name), descriptor, tags=repository.tags_of(descriptor))
    assert json_files(target.root) == json_files(source.root)
    blobs = Path("blobs/sha256")
    assert {path.name for path in (target.root / blobs).iterdir()} == {
        path.name for path in (source.root / blobs).iterdir()
    }


def test_storage_emptied_has_no_blob_left(corpus_case: Case, tmp_path: Path) -> None:
    shutil.copytree(corpus_case.storage, tmp_path / "storage", copy_function=shutil.copyfile)
    for folder in (tmp_path / "storage", *(path for path in (tmp_path / "storage").rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    store = LayoutStore(tmp_path / "storage")
    (name,) = store.repositories()
    repository = store.repository(name)
    for descriptor in repository.manifests():
        repository.delete(descriptor)
    assert list((store.root / "blobs" / "sha256").iterdir()) == []
    assert set(json_files(store.root)) == {"oci-layout", "index.json"}
