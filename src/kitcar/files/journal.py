"""What a part's unfinished files are, on disk: the raw headers of their archive, so that a killed run can be taken up.

A journal holds no promise: whoever reads it hashes everything again. A torn last record is as if it had never been.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

NAME = "journal"
_LENGTH = struct.Struct("<I")
_MAX_RECORD = 4 * 1024 * 1024


class Journal:
    """An append-only list of byte strings in the directory open as `directory`; appended records wait for `flush`."""

    def __init__(self, directory: int) -> None:
        self._file = os.open(NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        self._end = os.fstat(self._file).st_size
        self._waiting: list[bytes] = []

    def append(self, record: bytes) -> None:
        """Adds a record."""
        self._waiting += (_LENGTH.pack(len(record)), record)

    def flush(self) -> None:
        """Writes what waits."""
        if self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            write_at(self._file, memoryview(data), self._end)
            self._end += len(data)

    def records(self) -> Iterator[bytes]:
        """The records that are whole, from the first on."""
        at = 0
        buffer = b""
        while True:
            piece = os.pread(self._file, 1 << 20, at)
            at += len(piece)
            buffer += piece
            used = 0
            while len(buffer) - used >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(buffer, used)
                if length > _MAX_RECORD:
                    return
                if len(buffer) - used - _LENGTH.size < length:
                    break
                used += _LENGTH.size
                yield buffer[used : used + length]
                used += length
            buffer = buffer[used:]
            if not piece:
                return

    def truncate(self, count: int) -> None:
        """Keeps the first `count` records only."""
        end = 0
        for number, record in enumerate(self.records()):
            if number == count:
                break
            end += _LENGTH.size + len(record)
        os.ftruncate(self._file, end)
        self._end = end

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def write_at(file: int, data: memoryview, at: int) -> None:
    """Writes all of `data` to `file`, from byte `at` on."""
    while len(data) > (written := os.pwrite(file, data, at)):
        data, at = data[written:], at + written
