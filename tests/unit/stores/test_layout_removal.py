"""What a removal takes away, and what it leaves because somebody needs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kitcar.errors import KitcarError, NotFoundError
from kitcar.oci import media
from kitcar.oci.manifest import Index
from kitcar.oci.storage import BytesContent
from kitcar.stores.document import index_name, tags_name
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import ChunkStream, sample

A, B = "localhost/a", "localhost/b"


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "storage")


def blobs(store: LayoutStore) -> set[str]:
    return {path.name for path in (store.root / "blobs" / "sha256").iterdir()}


def test_last_removal_leaves_no_blob_and_no_file_of_the_repository(store: LayoutStore) -> None:
    repository, kit = store.repository(A), sample(b"layer")
    kit.push(repository, "v1", "v2")
    repository.delete(kit.descriptor)
    assert blobs(store) == set()
    assert not (store.root / index_name(A)).exists()
    assert not (store.root / tags_name(A)).exists()
    assert json.loads((store.root / "index.json").read_bytes())["manifests"] == []
    assert store.repositories() == []


def test_removal_leaves_what_another_repository_lists(store: LayoutStore) -> None:
    kit = sample(b"layer")
    kit.push(store.repository(A), "v1")
    kit.push(store.repository(B), "v1")
    before = blobs(store)
    store.repository(A).delete(kit.descriptor)
    assert blobs(store) == before
    assert store.repository(B).exists(kit.descriptor)
    store.repository(B).delete(kit.descriptor)
    assert blobs(store) == set()


def test_removal_takes_only_what_nothing_else_needs(store: LayoutStore) -> None:
    one, two = sample(b"shared", b"one"), sample(b"shared", b"two")
    one.push(store.repository(A), "v1")
    two.push(store.repository(B), "v1")
    store.repository(A).delete(one.descriptor)
    assert blobs(store) == {digest.encoded for digest in (two.descriptor.digest, *(blob.digest for blob in two.blobs))}


def test_removal_takes_no_blob_while_a_manifest_cannot_be_read(store: LayoutStore) -> None:
    one, two = sample(b"shared", b"one"), sample(b"shared", b"two")
    one.push(store.repository(A), "v1")
    two.push(store.repository(B), "v1")
    path, aside = store.path(two.descriptor.digest), store.root / "aside"
    path.rename(aside)
    path.mkdir()
    before = blobs(store)
    with pytest.raises(KitcarError, match=path.name):
        store.repository(A).delete(one.descriptor)
    path.rmdir()
    aside.rename(path)
    assert blobs(store) == before


def test_removed_index_leaves_its_manifests_listed(store: LayoutStore) -> None:
    repository, one = store.repository(A), sample(b"one")
    index = Index.build((one.push(repository),))
    repository.push(index.descriptor, BytesContent(index.raw))
    repository.delete(index.descriptor)
    assert repository.manifests() == (one.descriptor,)
    assert repository.exists(one.layers[0])


def test_removed_manifest_stays_whole_below_an_index(store: LayoutStore) -> None:
    repository, one = store.repository(A), sample(b"one")
    index = Index.build((one.push(repository),))
    repository.push(index.descriptor, BytesContent(index.raw))
    repository.delete(one.descriptor)
    assert store.size(one.layers[0].digest) == 3
    assert store.size(one.descriptor.digest) == one.descriptor.size


def test_removal_works_when_the_manifest_is_gone_already(store: LayoutStore) -> None:
    repository, kit = store.repository(A), sample(b"layer")
    kit.push(repository, "v1")
    store.path(kit.descriptor.digest).unlink()
    repository.delete(kit.descriptor)
    assert store.repositories() == []


def test_removal_of_what_is_not_listed_raises_not_found(store: LayoutStore) -> None:
    kit = sample(b"layer")
    kit.push(store.repository(A), "v1")
    with pytest.raises(NotFoundError):
        store.repository(B).delete(kit.descriptor)
    assert store.repository(A).resolve("v1") == kit.descriptor


def test_removal_leaves_manifests_that_only_the_main_index_lists(store: LayoutStore) -> None:
    """kit lists a manifest there first, and in its repository a moment later."""
    mine, of_kit = sample(b"shared", b"mine"), sample(b"shared", b"of kit")
    mine.push(store.repository(A), "v1")
    of_kit.push(store.repository(B), "v1")
    (store.root / index_name(B)).unlink()
    store.repository(A).delete(mine.descriptor)
    assert all(store.size(layer.digest) for layer in of_kit.layers)


def test_removal_leaves_what_this_process_has_stored_and_not_yet_named(store: LayoutStore) -> None:
    one = sample(b"shared", b"one")
    one.push(store.repository(A), "v1")
    store.store(ChunkStream(b"shared"))
    store.repository(A).delete(one.descriptor)
    assert store.size(one.layers[0].digest) == 6
    assert store.size(one.layers[1].digest) is None


def test_question_whether_a_blob_exists_does_not_hinder_removal_in_this_process(store: LayoutStore) -> None:
    kit = sample(b"layer")
    kit.push(store.repository(A), "v1")
    assert store.repository(A).exists(kit.layers[0])
    LayoutStore(store.root).repository(A).delete(kit.descriptor)
    assert blobs(store) == set()


HOLDER = """
import sys
from pathlib import Path
from kitcar.oci.descriptor import Descriptor
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import LAYER_TYPE, sample
store = LayoutStore(Path(sys.argv[1]))
repository = store.repository("localhost/b")
kit = sample(b"shared", b"two")
assert repository.exists(kit.layers[0])
print("holding", flush=True)
sys.stdin.readline()
kit.push(repository, "v1")
print("pushed", flush=True)
sys.stdin.readline()
"""


def test_removal_leaves_what_another_process_counts_on(store: LayoutStore) -> None:
    one = sample(b"shared", b"one")
    one.push(store.repository(A), "v1")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "holding\n"
        store.repository(A).delete(one.descriptor)
        assert store.size(one.layers[0].digest) == 6
        print(file=holder.stdin, flush=True)
        assert holder.stdout.readline() == "pushed\n"
        # Nothing is held any more once a manifest names it.
        other = store.repository(B)
        other.delete(other.resolve("v1"))
        assert blobs(store) == set()
        holder.kill()


def test_what_a_dead_process_held_is_removed(store: LayoutStore) -> None:
    one = sample(b"shared", b"one")
    one.push(store.repository(A), "v1")
    own = set((store.root / ".kitcar").glob("*.lease"))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout
        assert holder.stdout.readline() == "holding\n"
        holder.kill()
    assert set((store.root / ".kitcar").glob("*.lease")) > own
    store.repository(A).delete(one.descriptor)
    assert blobs(store) == set()
    assert set((store.root / ".kitcar").glob("*.lease")) == own


def test_child_of_a_fork_does_not_end_the_leases_of_its_parent(store: LayoutStore) -> None:
    store.store(ChunkStream(b"layer"))
    leases = list((store.root / ".kitcar").glob("*.lease"))
    child = os.fork()
    if not child:
        store.store(ChunkStream(b"of the child"))
        del store
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert leases[0].exists()


def test_unknown_media_type_of_a_listed_manifest_does_not_hinder_removal(store: LayoutStore) -> None:
    repository, kit = store.repository(A), sample(b"layer")
    kit.push(repository, "v1")
    path = store.root / "index.json"
    path.write_text(path.read_text().replace(media.MANIFEST, "application/vnd.unheard-of"))
    repository.delete(kit.descriptor)
    assert blobs(store) == set()
