"""Files on their way: interrupted transfers are taken up, kit's tidying is survived, the dead leave nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kitcar.errors import IntegrityError, KitcarError, TransportError, UnsupportedError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.storage import BytesReader, Reader
from kitcar.stores.disk import disk_errors
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import LAYER_TYPE, BrokenContent, ChunkStream, CountingContent, noise

DATA = noise(6 * 1024 * 1024 + 5)
BLOB = Descriptor.of(LAYER_TYPE, DATA)
CUT = 4 * 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "storage")


def interrupt(store: LayoutStore) -> Path:
    with pytest.raises(TransportError):
        store.put(BLOB, BrokenContent(DATA, CUT + 9, TransportError("cut")))
    (partial,) = (store.root / "ingest").iterdir()
    assert store.size(BLOB.digest) is None
    return partial


def test_interrupted_transfer_is_taken_up_where_it_stopped(store: LayoutStore) -> None:
    partial = interrupt(store)
    there = partial.stat().st_size
    assert there >= CUT
    content = CountingContent(DATA)
    store.put(BLOB, content)
    assert content.offsets == [there]
    assert store.intact(BLOB)
    assert not partial.exists()


def test_interrupted_transfer_with_a_wrong_start_begins_again(store: LayoutStore) -> None:
    partial = interrupt(store)
    with partial.open("r+b") as file:
        file.write(b"wrong")
    content = CountingContent(DATA)
    store.put(BLOB, content)
    assert len(content.offsets) == 2
    assert content.offsets[-1] == 0
    assert store.intact(BLOB)


def test_interrupted_transfer_begins_again_where_the_source_has_no_ranges(store: LayoutStore) -> None:
    class OnlyWhole:
        def open(self, offset: int = 0) -> Reader:
            if offset:
                raise UnsupportedError("no ranges here")
            return BytesReader(DATA)

    interrupt(store)
    store.put(BLOB, OnlyWhole())
    assert store.intact(BLOB)


def test_whole_but_unpublished_transfer_needs_no_bytes(store: LayoutStore) -> None:
    partial = interrupt(store)
    partial.write_bytes(DATA)
    content = CountingContent(DATA)
    store.put(BLOB, content)
    assert content.offsets == []
    assert store.intact(BLOB)


def test_transfer_longer_than_it_should_be_begins_again(store: LayoutStore) -> None:
    partial = interrupt(store)
    partial.write_bytes(DATA + b"more")
    store.put(BLOB, CountingContent(DATA))
    assert store.intact(BLOB)


def test_corrupt_transfer_leaves_nothing_that_blocks_the_next(store: LayoutStore) -> None:
    with pytest.raises(IntegrityError):
        store.put(BLOB, CountingContent(DATA[:-1] + b"!"))
    assert list((store.root / "ingest").iterdir()) == []
    store.put(BLOB, CountingContent(DATA))
    assert store.intact(BLOB)


def test_two_transfers_of_one_blob_at_once_both_succeed(store: LayoutStore) -> None:
    class Nested(CountingContent):
        def open(self, offset: int = 0) -> Reader:
            LayoutStore(store.root).put(BLOB, CountingContent(DATA))
            return super().open(offset)

    content = Nested(DATA)
    store.put(BLOB, content)
    assert content.offsets == [0]
    assert store.intact(BLOB)
    assert list((store.root / "ingest").iterdir()) == []


@pytest.mark.parametrize("sync", [False, True])
def test_kit_emptying_the_folder_meanwhile_loses_nothing(tmp_path: Path, sync: bool) -> None:
    store = LayoutStore(tmp_path / "storage", sync=sync)

    class Emptied(ChunkStream):
        def chunks(self, offset: int = 0):  # type: ignore[no-untyped-def]
            yield from super().chunks(offset)
            for path in (store.root / "ingest").iterdir():
                path.unlink()

    stored = store.store(Emptied(DATA))
    assert (stored.digest, stored.size) == (BLOB.digest, BLOB.size)
    assert store.intact(BLOB)
    assert list((store.root / "ingest").iterdir()) == []


def test_what_a_dead_packer_left_is_cleared_and_the_rest_stays(store: LayoutStore) -> None:
    folder = store.root / "ingest"
    folder.mkdir(parents=True)
    (folder / "layer-1-cafe.part").write_bytes(b"left by the dead")
    of_kit = folder / BLOB.digest.encoded
    of_kit.write_bytes(b"a download of kit")
    resumable = interrupt_name(store)
    resumable.write_bytes(DATA[:100])
    store.store(ChunkStream(b"new"))
    assert set(folder.iterdir()) == {of_kit, resumable}


def test_partial_of_a_blob_that_came_otherwise_is_cleared(store: LayoutStore) -> None:
    store.put(BLOB, CountingContent(DATA))
    interrupt_name(store).write_bytes(DATA[:100])
    LayoutStore(store.root).store(ChunkStream(b"new"))
    assert list((store.root / "ingest").iterdir()) == []


def test_file_of_a_living_packer_is_left_alone(store: LayoutStore) -> None:
    class Watching(ChunkStream):
        def chunks(self, offset: int = 0):  # type: ignore[no-untyped-def]
            yield from super().chunks(offset)
            LayoutStore(store.root).store(ChunkStream(b"somebody else"))
            assert len(list((store.root / "ingest").iterdir())) == 1

    store.store(Watching(b"mine"))


def test_full_disk_is_one_sentence_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(KitcarError, match="No space left") as caught, disk_errors("write", tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "free some space" in (caught.value.hint or "")


def interrupt_name(store: LayoutStore) -> Path:
    return store.root / "ingest" / f"kitcar-sha256-{BLOB.digest.encoded}.part"
