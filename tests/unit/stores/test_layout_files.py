"""The files of the local storage: kit's names, bytes and modes; what is damaged or unknown in them."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError, KitcarError, NotFoundError, UnsupportedError
from kitcar.oci import media
from kitcar.oci.copy import copy
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import MAX_SIZE
from kitcar.oci.storage import BytesContent
from kitcar.stores.document import index_name, repository_of, tags_name
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import LAYER_TYPE, ChunkStream, sample

NAME = "registry.example:5000/team/iris"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home" / "storage"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=1, max_size=40))
def test_index_name_and_repository_of_are_inverses(name: str) -> None:
    assert repository_of(index_name(name)) == name
    assert repository_of(tags_name(name)) is None


def test_names_are_those_of_kit() -> None:
    assert index_name("127.0.0.1:5000/org/my") == "MTI3LjAuMC4xOjUwMDAvb3JnL215-index.json"
    assert tags_name("127.0.0.1:5000/org/my") == "MTI3LjAuMC4xOjUwMDAvb3JnL215-tags.json"
    for other in ("index.json", "-index.json", "a-index.json", "%-index.json", "YQ==-index.jsonx", "/w==-index.json"):
        assert repository_of(other) is None, other


def test_first_manifest_writes_the_files_of_kit(root: Path) -> None:
    kit = sample(b"layer")
    kit.push(LayoutStore(root).repository(NAME), "v2", "v1")
    entry = (
        f'{{"mediaType":"{kit.descriptor.media_type}","digest":"{kit.descriptor.digest}","size":{kit.descriptor.size}}}'
    )
    encoded = base64.urlsafe_b64encode(NAME.encode()).decode()
    assert (root / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert (root / "index.json").read_text() == (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[' + entry + "]}"
    )
    assert (root / f"{encoded}-index.json").read_text() == '{"schemaVersion":2,"manifests":[' + entry + "]}"
    assert (root / f"{encoded}-tags.json").read_text() == '{"v1":' + entry + ',"v2":' + entry + "}"


def test_modes_are_those_of_kit_pack(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    repository.ingest(ChunkStream(b"packed"))
    kit = sample(b"pulled")
    previous = os.umask(0o027)
    try:
        kit.push(repository, "v1")
    finally:
        os.umask(previous)

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    store = repository.store
    assert mode(store.path(kit.descriptor.digest)) == 0o444
    assert mode(store.path(kit.manifest.config.digest)) == 0o444
    assert mode(store.path(kit.layers[0].digest)) == 0o600
    assert mode(store.path(Descriptor.of(LAYER_TYPE, b"packed").digest)) == 0o600
    assert mode(root / index_name(NAME)) == 0o640


def test_ingest_folder_is_empty_after_success(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    sample(b"layer").push(repository, "v1")
    repository.ingest(ChunkStream(b"new"))
    repository.ingest(ChunkStream(b"new"))
    assert list((root / "ingest").iterdir()) == []


def test_store_tells_whether_content_is_new(root: Path) -> None:
    store = LayoutStore(root)
    first, second = store.store(ChunkStream(b"layer")), store.store(ChunkStream(b"layer"))
    assert (first.digest, first.size, first.new) == (second.digest, second.size, True)
    assert not second.new


def test_reading_an_empty_store_creates_nothing(root: Path) -> None:
    store = LayoutStore(root)
    repository = store.repository(NAME)
    assert store.repositories() == []
    assert repository.manifests() == ()
    assert repository.tags_of(sample(b"x").descriptor) == ()
    assert not repository.exists(sample(b"x").descriptor)
    with pytest.raises(NotFoundError):
        repository.resolve("v1")
    with pytest.raises(NotFoundError):
        repository.tags()
    assert not root.exists()


def test_repositories_are_listed_by_name(root: Path) -> None:
    store = LayoutStore(root)
    for name in ("localhost/zoo", "localhost/_", NAME):
        sample(b"layer").push(store.repository(name), "v1")
    (root / "notes.json").write_text("{}")
    assert store.repositories() == ["localhost/_", "localhost/zoo", NAME]


def test_manifest_of_another_repository_is_not_here(root: Path) -> None:
    store, kit = LayoutStore(root), sample(b"layer")
    kit.push(store.repository("localhost/a"), "v1")
    other = store.repository("localhost/b")
    assert not other.exists(kit.descriptor)
    with pytest.raises(NotFoundError):
        other.fetch(kit.descriptor)
    assert other.exists(kit.layers[0])


def test_manifests_and_tags_of_are_given_in_order(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    first, second = sample(b"1"), sample(b"2")
    first.push(repository, "b", "a")
    second.push(repository, "c")
    assert repository.manifests() == (first.descriptor, second.descriptor)
    assert repository.tags_of(first.descriptor) == ("a", "b")
    repository.untag("a")
    assert repository.tags_of(first.descriptor) == ("b",)
    with pytest.raises(NotFoundError):
        repository.untag("a")


def test_last_untag_removes_the_tags_file(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    sample(b"1").push(repository, "v1")
    repository.untag("v1")
    assert not (root / tags_name(NAME)).exists()
    assert list(repository.tags()) == []


def test_manifest_is_refused_while_something_it_names_is_missing(root: Path) -> None:
    repository, kit = LayoutStore(root).repository(NAME), sample(b"layer", b"other")
    kit.push_blobs(repository)
    repository.store.path(kit.layers[1].digest).unlink()
    with pytest.raises(NotFoundError, match=str(kit.layers[1].digest)):
        repository.push(kit.descriptor, BytesContent(kit.manifest.raw))
    assert repository.manifests() == ()


def test_manifest_over_the_limit_is_refused(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    kit = sample(b"layer", annotations={"long": "x" * MAX_SIZE})
    kit.push_blobs(repository)
    with pytest.raises(InvalidError, match="4194304"):
        repository.push(kit.descriptor, BytesContent(kit.manifest.raw))


def test_unknown_members_survive_a_write(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    kit = sample(b"layer")
    kit.push(repository, "v1")
    path = root / index_name(NAME)
    document = json.loads(path.read_bytes())
    document["annotations"] = {"kept": "yes"}
    document["manifests"][0]["modelMetadata"] = {"size": 3}
    path.write_text(json.dumps(document))
    sample(b"other").push(repository, "v2")
    again = json.loads(path.read_bytes())
    assert again["annotations"] == {"kept": "yes"}
    assert again["manifests"][0]["modelMetadata"] == {"size": 3}
    assert len(again["manifests"]) == 2


def test_null_manifests_of_kit_are_an_empty_list(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    kit = sample(b"layer")
    kit.push_blobs(repository)
    (root / "index.json").write_text('{"schemaVersion":2,"manifests":null}')
    kit.push(repository)
    assert json.loads((root / "index.json").read_bytes())["manifests"][0]["digest"] == str(kit.descriptor.digest)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"[" * 200_000, b'{"manifests":3}', b'{"manifests":[{"digest":"x"}]}']
)
def test_damaged_main_index_is_made_anew_from_the_repositories(root: Path, damage: bytes) -> None:
    repository = LayoutStore(root).repository(NAME)
    kits = [sample(b"1"), sample(b"2")]
    kits[0].push(repository, "v1")
    (root / "index.json").write_bytes(damage)
    assert repository.resolve("v1") == kits[0].descriptor
    kits[1].push(repository, "v2")
    found = [entry["digest"] for entry in json.loads((root / "index.json").read_bytes())["manifests"]]
    assert found == [str(kit.descriptor.digest) for kit in kits]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"[" * 200_000, b'{"manifests":3}', b'{"manifests":[{"digest":"x"}]}']
)
def test_damaged_index_of_a_repository_is_named(root: Path, damage: bytes) -> None:
    repository = LayoutStore(root).repository(NAME)
    kit = sample(b"1")
    kit.push(repository, "v1")
    (root / index_name(NAME)).write_bytes(damage)
    for action in (repository.manifests, lambda: repository.delete(kit.descriptor), lambda: kit.push(repository)):
        with pytest.raises(InvalidError, match=index_name(NAME)) as caught:
            action()
        assert caught.value.hint


def test_damaged_tags_file_is_named_and_not_overwritten(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    kit = sample(b"1")
    kit.push(repository, "v1")
    (root / tags_name(NAME)).write_bytes(b'{"v1":{"dig')
    with pytest.raises(InvalidError, match=tags_name(NAME)):
        repository.tag(kit.descriptor, "v2")
    assert (root / tags_name(NAME)).read_bytes() == b'{"v1":{"dig'


def test_bad_tags_that_kit_accepted_can_be_read_and_removed(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    kit = sample(b"1")
    kit.push(repository, "v1")
    path = root / tags_name(NAME)
    path.write_text(path.read_text().replace('"v1"', '"!bad"'))
    assert list(repository.tags()) == ["!bad"]
    assert repository.resolve("!bad") == kit.descriptor
    repository.untag("!bad")
    assert list(repository.tags()) == []


def test_name_too_long_for_a_file_is_said(root: Path) -> None:
    repository = LayoutStore(root).repository("localhost/" + "a" * 200)
    with pytest.raises(KitcarError, match="name too long") as caught:
        sample(b"1").push(repository, "v1")
    assert "shorter" in (caught.value.hint or "")


def test_root_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(KitcarError, match="cannot"):
        sample(b"1").push(LayoutStore(tmp_path / "file").repository(NAME))


def test_truncated_blob_is_replaced_by_a_push(root: Path) -> None:
    repository, kit = LayoutStore(root).repository(NAME), sample(b"a whole layer")
    kit.push(repository, "v1")
    path = repository.store.path(kit.layers[0].digest)
    path.write_bytes(b"a who")
    assert not repository.exists(kit.layers[0])
    kit.push(repository)
    assert path.read_bytes() == b"a whole layer"


def test_flipped_byte_is_found_and_replaced_when_existing_content_is_checked(root: Path) -> None:
    kit = sample(b"a whole layer")
    kit.push(LayoutStore(root).repository(NAME), "v1")
    careful = LayoutStore(root, check_existing=True)
    path = careful.path(kit.layers[0].digest)
    path.write_bytes(b"a wHole layer")
    assert LayoutStore(root).repository(NAME).exists(kit.layers[0])
    assert not careful.repository(NAME).exists(kit.layers[0])
    kit.push(careful.repository(NAME))
    assert path.read_bytes() == b"a whole layer"


def test_corrupt_manifest_is_not_there_and_is_replaced(root: Path) -> None:
    repository, kit = LayoutStore(root).repository(NAME), sample(b"layer")
    kit.push(repository, "v1")
    path = repository.store.path(kit.descriptor.digest)
    path.chmod(0o600)
    path.write_bytes(kit.manifest.raw.replace(b"config", b"konfig"))
    assert not repository.exists(kit.descriptor)
    kit.push(repository)
    assert repository.exists(kit.descriptor)


def test_synced_store_holds_the_same(root: Path) -> None:
    repository, kit = LayoutStore(root, sync=True).repository(NAME), sample(b"layer")
    kit.push(repository, "v1")
    assert repository.resolve("v1") == kit.descriptor


def test_blob_that_is_removed_while_read_ends_well(root: Path) -> None:
    repository, kit = LayoutStore(root).repository(NAME), sample(b"layer")
    kit.push(repository, "v1")
    reader = repository.fetch(kit.layers[0])
    repository.delete(kit.descriptor)
    buffer = memoryview(bytearray(9))
    assert bytes(buffer[: reader.readinto(buffer)]) == b"layer"
    assert reader.readinto(buffer[:0]) == 0
    reader.close()
    reader.close()


def test_copy_between_two_repositories_of_a_store_stores_no_blob_again(root: Path) -> None:
    store, kit = LayoutStore(root), sample(b"layer")
    kit.push(store.repository("localhost/a"), "v1")
    inode = store.path(kit.layers[0].digest).stat().st_ino
    copy(store.repository("localhost/a"), store.repository("localhost/b"), kit.descriptor, tags=("v1",))
    assert store.path(kit.layers[0].digest).stat().st_ino == inode
    assert store.repository("localhost/b").resolve("v1") == kit.descriptor


def test_blob_in_use_is_not_deleted_on_its_own(root: Path) -> None:
    repository, kit = LayoutStore(root).repository(NAME), sample(b"layer")
    kit.push(repository, "v1")
    with pytest.raises(UnsupportedError):
        repository.delete(kit.layers[0])
    loose = Descriptor.of(LAYER_TYPE, b"loose")
    repository.push(loose, BytesContent(b"loose"))
    repository.delete(loose)
    with pytest.raises(NotFoundError):
        repository.delete(loose)


def test_index_and_damaged_manifest_among_referrers(root: Path) -> None:
    repository = LayoutStore(root).repository(NAME)
    subject = sample(b"layer").push(repository, "v1")
    document = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "artifactType": "application/vnd.many",
        "manifests": [],
        "subject": subject.encode(),
    }
    raw = json.dumps(document).encode()
    index = Descriptor.of(media.INDEX, raw)
    repository.push(index, BytesContent(raw))
    damaged, missing = sample(b"a", subject=subject), sample(b"b", subject=subject)
    for kit in (damaged, missing):
        kit.push(repository)
    store = repository.store
    store.path(damaged.descriptor.digest).unlink()
    store.path(damaged.descriptor.digest).write_bytes(b"{")
    store.path(missing.descriptor.digest).unlink()
    (found,) = repository.referrers(subject)
    assert (found, found.artifact_type) == (index, "application/vnd.many")
