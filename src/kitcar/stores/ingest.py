"""Files on their way into a store: written under a name of their own in `ingest/`, shown under their digest when whole.

kit empties that folder whenever a pull of its own ends, so a file that has lost its name is copied from its open
descriptor. A file whose writer died is taken up again (a partial download) or cleared away.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.oci.descriptor import Descriptor
from kitcar.oci.verify import MIB, fill
from kitcar.stores.disk import FileReader, disk_errors, sync_folder, write_all
from kitcar.stores.lock import locked_elsewhere

if TYPE_CHECKING:
    from hashlib import _Hash

_SUFFIX = ".part"
_PARTIAL = "kitcar-"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_PRIVATE = 0o600


class IngestFile:
    """One file that is being written; `publish` shows it, `discard` and `leave` do not."""

    def __init__(self, file: int, path: Path, *, resumable: bool = False) -> None:
        self._file = file
        self._resumable = resumable
        self.path = path
        self.size = os.fstat(file).st_size
        os.lseek(file, self.size, os.SEEK_SET)

    def write(self, data: memoryview) -> None:
        """Appends `data`.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        with disk_errors("write", self.path):
            write_all(self._file, data)
        self.size += len(data)

    def hash_into(self, hasher: _Hash) -> None:
        """Feeds what is there already to `hasher`."""
        os.lseek(self._file, 0, os.SEEK_SET)
        reader = FileReader(os.dup(self._file), self.path)
        buffer = memoryview(bytearray(MIB))
        try:
            while count := fill(reader, buffer):
                hasher.update(buffer[:count])
        finally:
            reader.close()

    def truncate(self) -> None:
        """Starts over."""
        os.lseek(self._file, 0, os.SEEK_SET)
        os.ftruncate(self._file, 0)
        self.size = 0

    def publish(self, target: Path, mode: int, *, sync: bool) -> None:
        """Shows the file as `target`, replacing what is there; it is on the disk then if `sync`.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        with disk_errors("write", target):
            os.fchmod(self._file, mode)
            if sync:
                os.fsync(self._file)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path.rename(target)
            except FileNotFoundError:
                self._publish_copy(target, mode, sync=sync)
            if sync:
                sync_folder(target.parent)
        self._close()

    def leave(self) -> None:
        """Closes the file; it stays for a later writer if one can take it up."""
        if self._resumable and self.size:
            self._close()
        else:
            self.discard()

    def discard(self) -> None:
        """Closes the file and removes it; harmless after `publish`."""
        if self._file >= 0:
            self.path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _publish_copy(self, target: Path, mode: int, *, sync: bool) -> None:
        again, copy = _new(self.path.parent, "again")
        try:
            done = 0
            while done < self.size:
                done += os.sendfile(copy, self._file, done, self.size - done)
            os.fchmod(copy, mode)
            if sync:
                os.fsync(copy)
            again.rename(target)
        finally:
            os.close(copy)


class IngestFolder:
    """The folder of files on their way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, label: str = "layer") -> IngestFile:
        """A new file of this process.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        with disk_errors("write", self._folder):
            path, file = _new(self._folder, label)
        return IngestFile(file, path)

    def take_up(self, descriptor: Descriptor) -> IngestFile:
        """The file an earlier, interrupted writer of this content left; a new one if there is none or it is in use.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        path = self.partial(descriptor)
        with disk_errors("write", path):
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, _FLAGS, _PRIVATE)
            if locked_elsewhere(file) or not _names(path, file):
                os.close(file)
                return self.create(descriptor.digest.short)
        found = IngestFile(file, path, resumable=True)
        if found.size > descriptor.size:
            found.truncate()
        return found

    def partial(self, descriptor: Descriptor) -> Path:
        """Where an interrupted transfer of this content stays."""
        return self._folder / f"{_PARTIAL}{descriptor.digest.algorithm}-{descriptor.digest.encoded}{_SUFFIX}"

    def clear(self, blobs: Path) -> None:
        """Removes what dead writers left and nobody will take up again, as it has no name or is in `blobs` by now.

        Raises:
            KitcarError: the disk refuses.
        """
        with disk_errors("clear", self._folder):
            for path in self._folder.glob(f"*{_SUFFIX}"):
                digest = path.name.removeprefix(_PARTIAL).removesuffix(_SUFFIX).replace("-", "/", 1)
                if not path.name.startswith(_PARTIAL) or (blobs / digest).exists():
                    _remove_abandoned(path)


def _new(folder: Path, label: str) -> tuple[Path, int]:
    """A new file and its descriptor, locked: until it is, whoever clears the folder may take it for abandoned."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{label}-{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        file = os.open(path, _FLAGS | os.O_EXCL, _PRIVATE)
        if not locked_elsewhere(file) and _names(path, file):
            return path, file
        os.close(file)


def _names(path: Path, file: int) -> bool:
    """Whether `path` still is the open `file`: who held it before may have published or removed it meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _remove_abandoned(path: Path) -> None:
    try:
        # Some file systems, NFS among them, give a lock only on what is open for writing.
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not locked_elsewhere(file):
            path.unlink(missing_ok=True)
    finally:
        os.close(file)
