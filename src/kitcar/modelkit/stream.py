"""The bytes of a planned layer: files are read once, hashed on a thread of their own while they are handed on.

Headers and small files share the buffers of a ring (docs/performance.md), so memory depends neither on the size of the
layer nor on the number of its files.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kitcar.errors import IntegrityError
from kitcar.files.tree import Entry, Kind, unreadable
from kitcar.modelkit import tarwriter
from kitcar.modelkit.compression import Compressor, Method, compressor
from kitcar.modelkit.plan import LayerPlan
from kitcar.oci.digest import Digest
from kitcar.oci.verify import SMALL_RING, HashThread, Ring, fill

if TYPE_CHECKING:
    from hashlib import _Hash

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_NOTHING = memoryview(b"")
# A compressed layer holds as many buffers again of what came out, and five layers are packed at once.
_COMPRESSED_RING = Ring(4, 128 * 1024)


class LayerReader:
    """The uncompressed layer as a `Reader`, from byte `offset` on."""

    def __init__(self, plan: LayerPlan, offset: int = 0) -> None:
        self._plan = plan
        self._skip = offset
        self._segments = _segments(plan)
        self._bytes = _NOTHING
        self._entry: Entry | None = None
        self._file = -1
        self._left = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """See `Reader.readinto`.

        Raises:
            IntegrityError: a file is not as long, or was changed later, than when the layer was planned.
            NotFoundError, KitcarError: a file is gone or cannot be read.
        """
        filled, room = 0, len(buffer)
        while filled < room:
            if self._bytes:
                count = min(len(self._bytes), room - filled)
                buffer[filled : filled + count] = self._bytes[:count]
                self._bytes = self._bytes[count:]
            elif self._entry is not None:
                count = self._read(self._entry, buffer[filled:])
            elif not self._next():
                break
            else:
                count = 0
            filled += count
        return filled

    def close(self) -> None:
        """See `Reader.close`."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _next(self) -> bool:
        for segment in self._segments:
            size = len(segment) if isinstance(segment, bytes) else segment.size
            if self._skip >= size:
                self._skip -= size
                continue
            skip, self._skip = self._skip, 0
            if isinstance(segment, bytes):
                self._bytes = memoryview(segment)[skip:]
            else:
                self._open(segment, skip)
            return True
        return False

    def _open(self, entry: Entry, skip: int) -> None:
        try:
            self._file = os.open(f"{self._plan.root}/{entry.path}", _OPEN)
            if skip:
                os.lseek(self._file, skip, os.SEEK_SET)
        except OSError as error:
            raise unreadable(entry.path, error) from error
        self._entry, self._left = entry, entry.size - skip

    def _read(self, entry: Entry, buffer: memoryview) -> int:
        try:
            count = os.readv(self._file, [buffer[: self._left]])
            self._left -= count
            if self._left and count:
                return count
            found = os.fstat(self._file)
        except OSError as error:
            raise unreadable(entry.path, error) from error
        self.close()
        if self._left or found.st_size != entry.size or found.st_mtime_ns != entry.changed:
            raise IntegrityError(
                f"{entry.path} was changed while it was packed",
                expected=f"{entry.size} bytes",
                actual=f"{found.st_size} bytes",
                hint="pack again once nothing writes to the directory",
            )
        self._entry = None
        return count


class LayerStream:
    """A planned layer as an `oci.storage.Stream`; see there for `chunks` and `digest`.

    What was hashed once is not hashed again when `chunks` starts over or in the middle. `size` is known beforehand unless
    the layer is compressed. `watch` is told how many more uncompressed bytes were read, and may raise to stop.
    """

    def __init__(
        self,
        plan: LayerPlan,
        method: Method = Method.NONE,
        *,
        ring: Ring | None = None,
        watch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.size: int | None = plan.size if method is Method.NONE else None
        self._method = method
        self._ring = (ring or (SMALL_RING if method is Method.NONE else _COMPRESSED_RING)).fitted(plan.size)
        self._watch = watch
        self._diff = _Tally()
        self._whole = self._diff if method is Method.NONE else _Tally()

    def chunks(self, offset: int = 0) -> Iterator[memoryview]:
        """See `Stream.chunks`.

        Raises:
            IntegrityError: a file was changed while it was packed.
            NotFoundError, KitcarError: a file is gone or cannot be read.
        """
        if self._method is Method.NONE:
            return self._plain(offset)
        return self._compressed(offset)

    def digest(self) -> Digest:
        """See `Stream.digest`."""
        return self._whole.digest()

    def diff_id(self) -> Digest:
        """The digest of the uncompressed bytes; only after `chunks` has ended."""
        return self._diff.digest()

    def _plain(self, offset: int) -> Iterator[memoryview]:
        reader = LayerReader(self.plan, offset)
        try:
            if self.plan.size <= self._ring.size:
                buffer = memoryview(bytearray(self._ring.size))
                while count := fill(reader, buffer):
                    self._watch(self._diff.add(buffer[:count], offset))
                    yield buffer[:count]
                    offset += count
            else:
                yield from self._ringed(reader, offset)
        finally:
            reader.close()

    def _ringed(self, reader: LayerReader, offset: int) -> Iterator[memoryview]:
        hashing = HashThread(self._diff.hasher, self._ring.buffers)
        spare = self._ring.buffers
        idle: list[memoryview] = []
        try:
            while True:
                if idle:
                    buffer = idle.pop()
                elif spare:
                    buffer, spare = memoryview(bytearray(self._ring.size)), spare - 1
                else:
                    buffer = memoryview(hashing.reclaim().obj)
                count = fill(reader, buffer)
                if not count:
                    return
                fresh = self._diff.take(buffer[:count], offset)
                self._watch(len(fresh))
                if fresh:
                    hashing.update(fresh)
                yield buffer[:count]
                if not fresh:
                    idle.append(buffer)
                offset += count
        finally:
            hashing.close()

    def _compressed(self, offset: int) -> Iterator[memoryview]:
        """Always from the start, as compressors begin there; what lies before `offset` is made and dropped."""
        packer = compressor(self._method)
        hashing = HashThread(self._whole.hasher, self._ring.buffers)
        waiting, made = 0, 0
        try:
            for piece in self._packed(packer):
                fresh = self._whole.take(memoryview(piece), made)
                if fresh:
                    hashing.update(fresh)
                    waiting += 1
                while waiting > self._ring.buffers:
                    hashing.reclaim()
                    waiting -= 1
                if made + len(piece) > offset:
                    yield memoryview(piece)[max(0, offset - made) :]
                made += len(piece)
        finally:
            hashing.close()

    def _packed(self, packer: Compressor) -> Iterator[bytes]:
        for chunk in self._plain(0):
            if piece := packer.compress(chunk):
                yield piece
        yield packer.flush()


class _Tally:
    """A hasher and how far into the bytes it has come."""

    def __init__(self) -> None:
        self.hasher: _Hash = hashlib.sha256()
        self._done = 0

    def take(self, data: memoryview, offset: int) -> memoryview:
        """The part of `data`, which starts at `offset`, that was not hashed yet; counted as hashed from now on."""
        fresh = data[max(0, self._done - offset) :]
        self._done = max(self._done, offset + len(data))
        return fresh

    def add(self, data: memoryview, offset: int) -> int:
        """Hashes at once what is new in `data`; the number of those bytes."""
        fresh = self.take(data, offset)
        self.hasher.update(fresh)
        return len(fresh)

    def digest(self) -> Digest:
        """The digest so far."""
        return Digest.from_hasher(self.hasher)


def _segments(plan: LayerPlan) -> Iterator[bytes | Entry]:
    """Headers, files and padding in order; empty files have no segment of their own."""
    if plan.form == "raw":
        yield from plan.entries
        return
    for entry in plan.entries:
        directory = entry.kind is Kind.DIRECTORY
        yield tarwriter.header(os.fsencode(entry.path), mode=entry.mode, size=entry.size, directory=directory)
        if entry.size:
            yield entry
            if pad := tarwriter.padding(entry.size):
                yield bytes(pad)
    yield tarwriter.END
