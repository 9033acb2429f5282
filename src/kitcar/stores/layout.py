"""KitOps-compatible local storage: an OCI layout with an index and a tags file for each repository.

Safe for many processes at once, kit among them: files are replaced in one step, read-modify-write happens under a
lock (`stores.lock`), and what one process is about to refer to no other removes.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from kitcar.errors import IntegrityError, KitcarError, NotFoundError, UnsupportedError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.encoding import encode
from kitcar.oci.storage import BytesReader, Content, Stream
from kitcar.oci.verify import SMALL_RING, VerifyingReader
from kitcar.stores.disk import FileReader, disk_errors
from kitcar.stores.document import NEW_INDEX, Listing, index_name, read_listing, repository_of, write_document
from kitcar.stores.ingest import IngestFile, IngestFolder
from kitcar.stores.lock import Leases, StoreLock, not_writable
from kitcar.stores.repository import LayoutRepository

__all__ = ["LayoutRepository", "LayoutStore", "Stored"]

_DOCUMENT_MODE, _LAYER_MODE = 0o444, 0o600
_OWN_FOLDER = ".kitcar"


@dataclass(frozen=True, slots=True)
class Stored:
    """What `LayoutStore.store` stored; `new` is False if the store had it."""

    digest: Digest
    size: int
    new: bool


class LayoutStore:
    """The content of kit's `storage/` folder at `root`, made on the first write.

    Args:
        root: the folder, `KITOPS_HOME/storage`.
        sync: blobs are on the disk before they are shown. Indexes and tags always are; blobs are verified when read.
        check_existing: a blob that is there is hashed before it counts as there, and replaced if it is corrupt.
    """

    def __init__(self, root: Path, *, sync: bool = False, check_existing: bool = False) -> None:
        self.root = root
        self._sync = sync
        self._check_existing = check_existing
        self.lock = StoreLock(root / _OWN_FOLDER)
        self.leases = Leases(root / _OWN_FOLDER)
        self._ingest = IngestFolder(root / "ingest")
        self._prepared = threading.Event()

    def repository(self, name: str) -> LayoutRepository:
        """The repository `name`, `registry/repository` (see `Reference.name`), whether it exists yet or not."""
        return LayoutRepository(self, name)

    def repositories(self) -> list[str]:
        """The names of all repositories, sorted.

        Raises:
            KitcarError: the store cannot be read.
        """
        with disk_errors("read", self.root):
            try:
                names = [entry.name for entry in os.scandir(self.root)]
            except FileNotFoundError:
                names = []
        return sorted(name for name in map(repository_of, names) if name is not None)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self.root / "blobs" / digest.algorithm / digest.encoded

    def size(self, digest: Digest) -> int | None:
        """Bytes of the blob; None if it is not here."""
        try:
            with disk_errors("read", self.path(digest)):
                return self.path(digest).stat().st_size
        except KitcarError as error:
            if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                return None
            raise

    def open(self, digest: Digest, offset: int = 0) -> FileReader:
        """The bytes of a blob from `offset` on, unverified.

        Raises:
            NotFoundError: it is not here.
            KitcarError: it cannot be read.
        """
        path = self.path(digest)
        try:
            with disk_errors("read", path):
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except KitcarError as error:
            if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                raise NotFoundError(f"{digest} is not in the local store {self.root}") from None
            raise
        if offset:
            os.lseek(file, offset, os.SEEK_SET)
        return FileReader(file, path)

    def intact(self, descriptor: Descriptor) -> bool:
        """Whether every byte of the blob is here and right; reads them all.

        Raises:
            KitcarError: it cannot be read.
        """
        try:
            for _ in VerifyingReader(self.open(descriptor.digest), descriptor, ring=SMALL_RING).chunks():
                pass
        except (IntegrityError, NotFoundError):
            return False
        return True

    def has(self, descriptor: Descriptor, *, firmly: bool = False) -> bool:
        """Whether the blob is here; if so, no other process removes it before a manifest is pushed here that names it
        or this store object is gone (`firmly`: nor does this process).

        Raises:
            KitcarError: the store cannot be read.
        """
        if not self._present(descriptor):
            return False
        try:
            with self.lock.shared():
                self.leases.hold(descriptor.digest, firmly=firmly)
                return self.size(descriptor.digest) == descriptor.size
        except KitcarError as error:
            if isinstance(error.__cause__, OSError) and not_writable(error.__cause__):
                return True
            raise

    def put(self, descriptor: Descriptor, content: Content) -> None:
        """Stores a blob, whole and verified, continuing where an interrupted transfer of it stopped.

        Raises:
            IntegrityError: the bytes are not what the descriptor promises.
            KitcarError: the disk is full or refuses.
            TransportError, RegistryError: the content could not be had.
        """
        if self.has(descriptor, firmly=True):
            return
        self.prepare()
        file = self._ingest.take_up(descriptor)
        try:
            self._receive(file, descriptor, content)
            self._publish(file, descriptor.digest, _mode(descriptor))
        except IntegrityError:
            file.discard()
            raise
        finally:
            file.leave()

    def store(self, stream: Stream) -> Stored:
        """Stores all bytes of `stream` in one pass; a blob that is here already is left as it is.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        file = self.begin()
        try:
            for chunk in stream.chunks():
                file.write(chunk)
            return self.finish(file, stream.digest())
        finally:
            file.discard()

    def begin(self) -> IngestFile:
        """A new file for a blob whose digest is not known yet; `finish` or discard it.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        self.prepare()
        return self._ingest.create()

    def finish(self, file: IngestFile, digest: Digest) -> Stored:
        """Makes `file`, whose bytes have this digest, a blob; a blob that is here already is left as it is.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        size = file.size
        if self.has(Descriptor("", digest, size), firmly=True):
            file.discard()
            return Stored(digest, size, new=False)
        self._publish(file, digest, _LAYER_MODE)
        return Stored(digest, size, new=True)

    def put_locked(self, descriptor: Descriptor, data: bytes) -> None:
        """Stores a manifest's verified bytes; only under the exclusive lock."""
        path = self.path(descriptor.digest)
        with disk_errors("read", path):
            if path.exists() and path.read_bytes() == data:
                return
        file = self._ingest.create(descriptor.digest.short)
        try:
            file.write(memoryview(data))
            file.publish(path, _DOCUMENT_MODE, sync=self._sync)
        finally:
            file.discard()

    def prepare(self) -> None:
        """Makes the folders and files of an empty store where they are missing, and clears what dead processes left.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        if self._prepared.is_set():
            return
        with disk_errors("write", self.root), self.lock.exclusive():
            (self.root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            self.leases.clear()
            if not (self.root / "oci-layout").exists():
                self.write(self.root / "oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
            if not (self.root / "index.json").exists():
                self.write(self.root / "index.json", NEW_INDEX.encode())
        self._ingest.clear(self.root / "blobs")
        self._prepared.set()

    def write(self, path: Path, data: bytes) -> None:
        """Replaces one of the store's JSON files; only under the exclusive lock."""
        write_document(path, data, self.root / _OWN_FOLDER / "document")

    def listings(self) -> dict[str, Listing]:
        """The index of every repository.

        Raises:
            InvalidError: one of them is damaged.
        """
        found = {name: read_listing(self.root / index_name(name)) for name in self.repositories()}
        return {name: listing for name, listing in found.items() if listing is not None}

    def _present(self, descriptor: Descriptor) -> bool:
        if self.size(descriptor.digest) != descriptor.size:
            return False
        return not self._check_existing or self.intact(descriptor)

    def _receive(self, file: IngestFile, descriptor: Descriptor, content: Content) -> None:
        """All bytes of `descriptor` into `file`; its start, if any, is tried first and given up if it is not right."""
        if file.size:
            try:
                self._append(file, descriptor, content)
            except (IntegrityError, UnsupportedError):
                file.truncate()
            else:
                return
        self._append(file, descriptor, content)

    def _append(self, file: IngestFile, descriptor: Descriptor, content: Content) -> None:
        hasher, offset = descriptor.digest.hasher(), file.size
        file.hash_into(hasher)
        reader = BytesReader(b"") if offset == descriptor.size else content.open(offset)
        for chunk in VerifyingReader(reader, descriptor, ring=SMALL_RING, hasher=hasher, offset=offset).chunks():
            file.write(chunk)

    def _publish(self, file: IngestFile, digest: Digest, mode: int) -> None:
        with self.lock.shared():
            self.leases.hold(digest, firmly=True)
            file.publish(self.path(digest), mode, sync=self._sync)


def _mode(descriptor: Descriptor) -> int:
    """As `kit pack` leaves them: manifest and config read-only, layers private."""
    return _DOCUMENT_MODE if descriptor.media_type.endswith("+json") else _LAYER_MODE
