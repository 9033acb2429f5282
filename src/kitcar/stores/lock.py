"""Locks and leases between the processes that share one store.

`flock` is used, so that a lock ends with the process that held it, however it ends. kit knows none of these files and
leaves them alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import threading
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from kitcar.errors import UnsupportedError
from kitcar.oci.digest import Digest
from kitcar.stores.disk import disk_errors

_LEASE_SUFFIX = ".lease"
_LOOSE = "~"
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


class StoreLock:
    """The lock of one store: many may hold it shared, or one exclusively; it is held for moments, never for a transfer.

    Not re-entrant.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "lock"

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Held by nobody else.

        Raises:
            UnsupportedError: the file system has no locks.
            KitcarError: the store cannot be written.
        """
        with self._held(fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Held by nobody exclusively. Raises: see `exclusive`."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def _held(self, operation: int) -> Iterator[None]:
        with disk_errors("lock", self._path):
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _flock(file, operation, self._path)
            yield
        finally:
            os.close(file)


class Leases:
    """Which blobs this process relies on though no manifest names them yet; who removes blobs leaves those alone.

    Every lease of a store is a file, locked as long as its owner lives. All methods are called under the store's lock:
    `held` and `clear` under the exclusive one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: _Lease | None = None
        self._mutex = threading.Lock()

    def hold(self, digest: Digest, *, firmly: bool) -> None:
        """Keeps `digest` from being removed by other processes, and `firmly` also by this one, until it is released or
        this object is gone.
        """
        with self._mutex:
            if self._own is None or self._own.process != os.getpid():
                self._own = _Lease(self._folder)
            self._own.add(str(digest) if firmly else _LOOSE + str(digest))

    def release(self, digests: Iterable[Digest]) -> None:
        """Ends the lease of `digests`, as a manifest names them now."""
        with self._mutex:
            if self._own is not None and self._own.process == os.getpid():
                self._own.discard({prefix + str(digest) for digest in digests for prefix in ("", _LOOSE)})

    def clear(self) -> None:
        """Removes what dead processes left."""
        with disk_errors("clear", self._folder):
            for path in self._folder.glob(f"*{_LEASE_SUFFIX}"):
                if _abandoned(path):
                    path.unlink(missing_ok=True)

    def held(self) -> set[str]:
        """Digests that must stay; what dead processes left is cleared away."""
        self.clear()
        digests: set[str] = set()
        with disk_errors("read", self._folder):
            for path in self._folder.glob(f"*{_LEASE_SUFFIX}"):
                try:
                    lines = path.read_text(encoding="ascii").split()
                except FileNotFoundError:  # its owner, who needs no lock for that, has ended since
                    continue
                if path.name.startswith(_owner()):
                    lines = [line for line in lines if not line.startswith(_LOOSE)]
                digests.update(line.removeprefix(_LOOSE) for line in lines)
        return digests


class _Lease:
    """One file of digests, locked while its process lives."""

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()
        self._lines: set[str] = set()
        path = folder / f"{_owner()}-{secrets.token_hex(4)}{_LEASE_SUFFIX}"
        with disk_errors("write", path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        weakref.finalize(self, _end_lease, self._file, path, self.process)
        _flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, path)

    def add(self, line: str) -> None:
        if line not in self._lines:
            os.write(self._file, f"{line}\n".encode())
            self._lines.add(line)

    def discard(self, lines: set[str]) -> None:
        if self._lines & lines:
            self._lines -= lines
            os.ftruncate(self._file, 0)
            os.write(self._file, "".join(f"{line}\n" for line in self._lines).encode())


def locked_elsewhere(file: int) -> bool:
    """Whether somebody else holds the open `file`; if not, it is ours from now on."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def not_writable(error: OSError) -> bool:
    """Whether the place may be read only, which readers put up with."""
    return error.errno in _NOT_WRITABLE


def _owner() -> str:
    """Tells this process from all that may share the store, also from those of other containers and machines."""
    try:
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        space = 0
    return hashlib.sha256(f"{os.uname().nodename}/{space}/{os.getpid()}".encode()).hexdigest()[:16]


def _end_lease(file: int, path: Path, process: int) -> None:
    if os.getpid() == process:
        path.unlink(missing_ok=True)
    os.close(file)


def _abandoned(path: Path) -> bool:
    try:
        # Some file systems, NFS among them, give a lock only on what is open for writing.
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except PermissionError:  # another user's, who clears it away
        return False
    try:
        return not locked_elsewhere(file)
    finally:
        os.close(file)


def _flock(file: int, operation: int, path: Path) -> None:
    try:
        fcntl.flock(file, operation)
    except OSError as error:
        raise UnsupportedError(
            f"{path} cannot be locked: {error.strerror}",
            hint="keep the store on a file system that has flock",
        ) from error
