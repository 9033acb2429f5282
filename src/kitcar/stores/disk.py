"""The door to the file system for stores: its errors in kitcar's words, and files as readers."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from kitcar.errors import KitcarError

_HINTS = {
    errno.ENOSPC: "free some space, or choose another place with --config or KITOPS_HOME",
    errno.EDQUOT: "free some space, or choose another place with --config or KITOPS_HOME",
    errno.ENOENT: "choose a place that can be made with --config or KITOPS_HOME",
    errno.ENOTDIR: "choose a directory with --config or KITOPS_HOME",
    errno.EROFS: "the place is mounted read-only; choose another with --config or KITOPS_HOME",
    errno.EACCES: "check who owns it and who may write it",
    errno.EPERM: "check who owns it and who may write it",
    errno.ENAMETOOLONG: "the name of the repository is too long for a file; choose a shorter one",
}


@contextlib.contextmanager
def disk_errors(action: str, path: Path) -> Iterator[None]:
    """Says what could not be done to `path`.

    Raises:
        KitcarError: the operating system refused; the message has its words.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise KitcarError(f"cannot {action} {path}: {reason}", hint=_HINTS.get(error.errno or 0)) from error


class FileReader:
    """A stream over an open file; owns the descriptor."""

    def __init__(self, file: int, path: Path) -> None:
        self._file = file
        self._path = path

    def readinto(self, buffer: memoryview, /) -> int:
        """See `Reader.readinto`."""
        if not len(buffer):
            return 0
        with disk_errors("read", self._path):
            return os.readv(self._file, [buffer])

    def close(self) -> None:
        """See `Reader.close`."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        self.close()


def write_all(file: int, data: memoryview) -> None:
    """Writes all of `data`, which the operating system may take in pieces."""
    while data:
        data = data[os.write(file, data) :]


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` survive a power cut."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
