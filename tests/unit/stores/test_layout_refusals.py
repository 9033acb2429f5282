"""A disk that refuses, a store that may only be read, a fork in between."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kitcar.errors import KitcarError, NotFoundError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.storage import BytesContent
from kitcar.oci.verify import fetch_all
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import LAYER_TYPE, ChunkStream, noise, sample

NOBODY = 65534
KIT = sample(b"layer")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def in_child(check: Callable[[], None], *, user: int | None = None) -> None:
    """Runs `check` in a fork, as another user where that is allowed."""
    child = os.fork()
    if not child:
        code = 1
        try:
            if user is not None and os.geteuid() == 0:
                os.seteuid(user)
            check()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def as_reader(check: Callable[[], None]) -> None:
    """Runs `check` as a user who may not write."""
    in_child(check, user=NOBODY)


@pytest.mark.parametrize("size", [100, 3 * 1024 * 1024])
def test_disk_that_refuses_bytes_leaves_no_file(tmp_path: Path, size: int) -> None:
    store, data = LayoutStore(tmp_path), noise(4 * 1024 * 1024)
    blob = Descriptor.of(LAYER_TYPE, data)
    store.prepare()
    with files_of_at_most(size):
        with pytest.raises(KitcarError, match="File too large"):
            store.store(ChunkStream(data))
        with pytest.raises(KitcarError, match="File too large"):
            store.put(blob, BytesContent(data))
    assert store.size(blob.digest) is None
    store.put(blob, BytesContent(data))
    assert store.intact(blob)
    assert list((tmp_path / "ingest").iterdir()) == []


def test_store_that_may_only_be_read_is_read(open_folder: Path) -> None:
    root = open_folder / "storage"
    KIT.push(LayoutStore(root).repository("localhost/a"), "v1")
    shutil.rmtree(root / ".kitcar")
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)

    def check() -> None:
        repository = LayoutStore(root).repository("localhost/a")
        assert repository.resolve("v1") == KIT.descriptor
        assert repository.exists(KIT.descriptor)
        assert repository.exists(KIT.layers[0])
        assert fetch_all(repository, KIT.descriptor) == KIT.manifest.raw
        for change in (
            lambda: repository.tag(KIT.descriptor, "v2"),
            lambda: repository.delete(KIT.descriptor),
            lambda: sample(b"new").push(repository),
        ):
            with pytest.raises(KitcarError, match="Permission denied") as caught:
                change()
            assert caught.value.hint

    as_reader(check)


def test_blob_that_may_not_be_read_is_an_error_of_ours(open_folder: Path) -> None:
    store = LayoutStore(open_folder / "storage")
    KIT.push(store.repository("localhost/a"), "v1")

    def check() -> None:
        with pytest.raises(KitcarError, match="Permission denied") as caught:
            store.open(KIT.layers[0].digest)
        assert not isinstance(caught.value, NotFoundError)

    as_reader(check)


def test_folder_that_may_not_be_entered_is_an_error_of_ours(open_folder: Path) -> None:
    store = LayoutStore(open_folder / "storage")
    KIT.push(store.repository("localhost/a"), "v1")
    (open_folder / "storage" / "blobs").chmod(0o700)

    def check() -> None:
        for question in (lambda: store.size(KIT.layers[0].digest), lambda: store.has(KIT.layers[0])):
            with pytest.raises(KitcarError, match="Permission denied"):
                question()

    as_reader(check)


def test_fork_gets_a_lease_of_its_own(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    store.store(ChunkStream(b"of the parent"))

    def check() -> None:
        store.leases.release([Descriptor.of(LAYER_TYPE, b"of the parent").digest])
        store.store(ChunkStream(b"of the child"))
        assert len(list((tmp_path / ".kitcar").glob("*.lease"))) == 2

    in_child(check)
    with store.lock.exclusive():
        held = store.leases.held()
    assert held == {str(Descriptor.of(LAYER_TYPE, b"of the parent").digest)}
