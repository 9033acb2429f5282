"""The verifying reader: the only check of bytes against a descriptor. A wrong stream can never end well.

Large streams go through a ring of reusable buffers: one thread receives and hands on, one hashes (docs/performance.md
has the measurements behind the sizes).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitcar.errors import IntegrityError, InvalidError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.storage import Fetcher, Reader

if TYPE_CHECKING:
    from hashlib import _Hash

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ring:
    """How many buffers of how many bytes a stream goes through; its memory is their product."""

    buffers: int = 4
    size: int = 4 * MIB

    @property
    def memory(self) -> int:
        """Bytes in all."""
        return self.buffers * self.size

    def fitted(self, size: int) -> Ring:
        """A ring no larger than content of `size` bytes needs."""
        return Ring(self.buffers, max(1, min(self.size, size)))


DEFAULT_RING = Ring()
SMALL_RING = Ring(4, MIB)


class HashThread:
    """Hashes what it is given, in order, on a thread of its own; `release` is told each buffer that is hashed."""

    def __init__(self, hasher: _Hash, depth: int = 8) -> None:
        self._hasher = hasher
        self._work: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._room = threading.BoundedSemaphore(depth)
        self._thread = threading.Thread(target=self._run, name="kitcar-hash", daemon=True)
        self._thread.start()

    def update(self, data: memoryview) -> None:
        """Takes `data`, which must not change until it is hashed; blocks while too much waits."""
        self._room.acquire()
        self._work.put(data)

    def reclaim(self) -> memoryview:
        """A buffer that is hashed, for reuse; blocks until there is one."""
        return self._free.get()

    def finish(self) -> Digest:
        """Waits for all that was given; the digest of it."""
        self.close()
        return Digest.from_hasher(self._hasher)

    def close(self) -> None:
        """Ends the thread; harmless when repeated."""
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (data := self._work.get()) is not None:
            self._hasher.update(data)
            self._room.release()
            self._free.put(data)


class VerifyingReader:
    """Reads a stream to its end and gives its bytes only as long as they can still be right.

    Size is checked as bytes arrive, the digest at the end; only when `chunks` or `read` has ended without an error may
    the bytes be believed. `hasher` and `offset` say what of the content was hashed before (a resumed transfer).
    """

    def __init__(
        self,
        reader: Reader,
        descriptor: Descriptor,
        *,
        ring: Ring = DEFAULT_RING,
        hasher: _Hash | None = None,
        offset: int = 0,
    ) -> None:
        self._reader = reader
        self._descriptor = descriptor
        self._ring = ring.fitted(descriptor.size - offset)
        self._hasher = hasher or descriptor.digest.hasher()
        self._left = descriptor.size - offset

    def chunks(self) -> Iterator[memoryview]:
        """The bytes in order; each chunk is valid until the next is asked for.

        Raises:
            IntegrityError: the stream is shorter, longer or other than the descriptor says.
        """
        try:
            if self._left <= self._ring.size:
                yield from self._inline()
            else:
                yield from self._threaded()
        finally:
            self._reader.close()

    def read(self) -> bytes:
        """All bytes at once, for small content.

        Raises:
            IntegrityError: see `chunks`.
        """
        return b"".join(bytes(chunk) for chunk in self.chunks())

    def _inline(self) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(max(1, self._left)))
        filled = fill(self._reader, buffer[: self._left])
        self._hasher.update(buffer[:filled])
        self._left -= filled
        self._check(Digest.from_hasher(self._hasher))
        if filled:
            yield buffer[:filled]

    def _threaded(self) -> Iterator[memoryview]:
        hashing = HashThread(self._hasher, self._ring.buffers)
        try:
            spare = self._ring.buffers
            while True:
                whole = memoryview(bytearray(self._ring.size)) if spare else hashing.reclaim()
                spare -= spare > 0
                buffer = memoryview(whole.obj)  # a reclaimed view may be a shortened one
                filled = fill(self._reader, buffer[: min(self._left, len(buffer))])
                self._left -= filled
                hashing.update(buffer[:filled])
                if not self._left or not filled:
                    # The last bytes are handed on only once all are known to be right.
                    self._check(hashing.finish())
                    yield buffer[:filled]
                    return
                yield buffer[:filled]
        finally:
            hashing.close()

    def _check(self, actual: Digest) -> None:
        descriptor = self._descriptor
        if self._left:
            got = descriptor.size - self._left
            raise IntegrityError(
                f"{descriptor.digest} ends after {got} of {descriptor.size} bytes",
                expected=f"{descriptor.size} bytes",
                actual=f"{got} bytes",
                hint="the content is truncated where it is stored, or the transfer was cut",
            )
        if self._reader.readinto(memoryview(bytearray(1))):
            raise IntegrityError(
                f"{descriptor.digest} is longer than the {descriptor.size} bytes it should have",
                expected=f"{descriptor.size} bytes",
                actual="more",
                hint="the content is corrupt where it is stored, or something else answered in its place",
            )
        if actual != descriptor.digest:
            raise IntegrityError(
                f"content of {descriptor.digest} has the digest {actual}",
                expected=str(descriptor.digest),
                actual=str(actual),
                hint="the content is corrupt where it is stored, or was changed on the way",
            )


def fill(reader: Reader, buffer: memoryview) -> int:
    """Reads until `buffer` is full or the stream ends; gives the number of bytes. Few large hand-overs are fast."""
    filled = 0
    while filled < len(buffer):
        count = reader.readinto(buffer[filled:])
        if not count:
            break
        filled += count
    return filled


def fetch_all(source: Fetcher, descriptor: Descriptor, limit: int = 4 * MIB) -> bytes:
    """The verified bytes of small content: a manifest or a config.

    Raises:
        InvalidError: the descriptor promises more than `limit` bytes.
        IntegrityError: the bytes are not what the descriptor promises.
        NotFoundError: the content is not there.
    """
    if descriptor.size > limit:
        raise InvalidError(f"{descriptor.digest} has {descriptor.size} bytes; at most {limit} are read at once")
    if descriptor.data is not None and Digest.of(descriptor.data, descriptor.digest.algorithm) == descriptor.digest:
        return descriptor.data
    return VerifyingReader(source.fetch(descriptor), descriptor).read()
