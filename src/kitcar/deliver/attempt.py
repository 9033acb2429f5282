"""One attempt at one part: bytes from the source or from an earlier run, verified on their way into a draft."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitcar.deliver.options import Limits
from kitcar.deliver.writer import Writer, writer_for
from kitcar.errors import IntegrityError, InvalidError, UnsafePathError
from kitcar.files.draft import Draft
from kitcar.modelkit.compression import expand
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.media import OCTETS
from kitcar.oci.storage import Reader
from kitcar.oci.verify import MIB, HashThread, Ring, VerifyingReader, fill
from kitcar.sources.source import Check, Part, SingleFile

if TYPE_CHECKING:
    from hashlib import _Hash

REUSE_FROM = 8 * MIB
"""Bytes: what lies on disk and is longer is hashed there, and passed over in the source by asking for a range."""

_DRAIN_LIMIT = 64 * MIB
_QUEUE = 4


@dataclass(frozen=True, slots=True)
class Conditions:
    """What an attempt works with: `check` raises when it shall stop; how many bytes came from where is told as they come."""

    ring: Ring
    limits: Limits
    check: Check
    fetched: Callable[[int], None]
    found: Callable[[int], None]


def resumable(part: Part) -> bool:
    """Whether what is left of a part can be continued: it is not compressed, and its digest will tell."""
    return not part.layout.compression and part.digest is not None and part.size is not None


class Attempt:
    """Brings one part into a draft; with `trusting` off, nothing that lies on disk is taken unless compared."""

    def __init__(self, part: Part, draft: Draft, conditions: Conditions, *, trusting: bool) -> None:
        self._part, self._draft, self._conditions = part, draft, conditions
        self._trusting = trusting
        self._opened_inside = False

    @property
    def assumed(self) -> bool:
        """Whether it took bytes from the disk on trust, or asked the source for bytes from the middle."""
        return self._draft.speculated or self._opened_inside

    def run(self) -> None:
        """Ends when every byte is in the draft and verified.

        Raises:
            IntegrityError: the bytes are not what they were promised to be.
            InvalidError, UnsafePathError: they hold what must not be written.
            ExistsError: something else is at a file's place.
            KitcarError: the source failed.
        """
        part, layout = self._part, self._part.layout
        digest, diff_id = part.digest, layout.diff_id
        if layout.compression or (diff_id and digest and diff_id.algorithm != digest.algorithm):
            self._expanded(layout.compression, diff_id)
        elif digest and part.size is not None:
            if diff_id and diff_id != digest:
                raise _diff_id_error(diff_id, digest)
            self._plain(digest, part.size)
        else:
            self._unpromised(diff_id)

    def _plain(self, digest: Digest, size: int) -> None:
        """Bytes that are the content itself; what is on disk already counts towards the digest like what arrives."""
        hasher, writer = digest.hasher(), writer_for(self._part.layout, self._draft, size)
        if self._trusting:
            writer.replay(hasher, self._conditions.check)
            self._conditions.found(writer.position)
        while writer.position < size:
            self._stretch(writer, hasher, Descriptor(OCTETS, digest, size))
        actual = Digest.from_hasher(hasher)
        if actual != digest:
            raise IntegrityError(
                f"{digest} was not found in what an earlier run left", expected=str(digest), actual=str(actual)
            )
        writer.close()

    def _stretch(self, writer: Writer, hasher: _Hash, descriptor: Descriptor) -> None:
        """Takes bytes from the source up to the end, or up to where enough lies on disk."""
        offset, draft, check = writer.position, self._draft, self._conditions.check
        chunks = VerifyingReader(
            self._open(offset), descriptor, ring=self._conditions.ring, hasher=hasher, offset=offset
        ).chunks()
        try:
            for chunk in chunks:
                self._feed(writer, chunk, chunks)
                if self._trusting and draft.reusable >= REUSE_FROM:
                    break
        finally:
            # Only now has everything that was taken been hashed.
            _close(chunks)
        if draft.reusable and self._trusting:
            before = writer.position
            writer.reuse(hasher, check)
            self._conditions.found(writer.position - before)

    def _feed(self, writer: Writer, chunk: memoryview, rest: Iterator[memoryview]) -> None:
        """Hands bytes on; where they are refused, first looks whether they were damaged on the way."""
        try:
            writer.feed(chunk)
        except (InvalidError, UnsafePathError):
            if (self._part.size or 0) - writer.position <= _DRAIN_LIMIT:
                for _ in rest:
                    pass
            raise

    def _expanded(self, compression: str, diff_id: Digest | None) -> None:
        """Bytes that expand to the content, which has a digest of its own; always from the start."""
        part, limits = self._part, self._conditions.limits
        chunks = self._verified_or_not()
        content_size = part.layout.content_size if isinstance(part.layout, SingleFile) else None
        writer = writer_for(part.layout, self._draft, content_size)
        limit = max(limits.expansion_floor, limits.expansion * (part.size or 0))
        if content_size is not None:
            limit = min(limit, content_size)
        expanded = expand(chunks, compression, limit=limit, window=limits.window) if compression else chunks
        tally = _Tally(diff_id, threaded=bool(compression) and (part.size or 0) > MIB)
        try:
            for view in expanded:
                tally.update(view)
                writer.feed(view)
            if any(True for _ in chunks):
                raise InvalidError("the layer has bytes after its compressed content")
            actual = tally.finish()
        except (InvalidError, UnsafePathError):
            if (part.size or 0) <= _DRAIN_LIMIT:
                for _ in chunks:
                    pass
            raise
        finally:
            tally.close()
            _close(expanded)
            _close(chunks)
        if diff_id and actual != diff_id:
            raise _diff_id_error(diff_id, actual)
        writer.close()

    def _unpromised(self, diff_id: Digest | None) -> None:
        """Bytes without a digest of their own."""
        writer = writer_for(self._part.layout, self._draft, self._part.size)
        tally = _Tally(diff_id, threaded=False)
        for chunk in self._verified_or_not():
            tally.update(chunk)
            writer.feed(chunk)
        if diff_id and (actual := tally.finish()) != diff_id:
            raise _diff_id_error(diff_id, actual)
        writer.close()

    def _verified_or_not(self) -> Iterator[memoryview]:
        """All bytes of the part from the source, verified as far as anything is known of them."""
        part, ring = self._part, self._conditions.ring
        if part.digest and part.size is not None:
            return VerifyingReader(self._open(0), Descriptor(OCTETS, part.digest, part.size), ring=ring).chunks()
        return _sized(self._open(0), part.size, ring)

    def _open(self, offset: int) -> Reader:
        self._opened_inside = self._opened_inside or offset > 0
        return _Watched(self._part.open(offset), self._conditions)


class _Watched:
    """A reader that stops when it shall, and tells how much it gave."""

    def __init__(self, reader: Reader, conditions: Conditions) -> None:
        self._reader, self._check, self._fetched = reader, conditions.check, conditions.fetched

    def readinto(self, buffer: memoryview, /) -> int:
        self._check()
        count = self._reader.readinto(buffer)
        if count:
            self._fetched(count)
        return count

    def close(self) -> None:
        self._reader.close()


class _Tally:
    """The digest of expanded content; long content is hashed on a thread of its own, its views are immutable."""

    def __init__(self, diff_id: Digest | None, *, threaded: bool) -> None:
        self._hasher = diff_id.hasher() if diff_id else hashlib.sha256()
        self._thread = HashThread(self._hasher, _QUEUE) if threaded and diff_id else None
        self._waiting = 0

    def update(self, view: memoryview) -> None:
        if self._thread is None:
            self._hasher.update(view)
            return
        self._thread.update(view)
        self._waiting += 1
        if self._waiting > _QUEUE:
            self._thread.reclaim()
            self._waiting -= 1

    def finish(self) -> Digest:
        self.close()
        return Digest.from_hasher(self._hasher)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.close()


def _sized(reader: Reader, size: int | None, ring: Ring) -> Iterator[memoryview]:
    """The bytes of a reader whose digest nobody knows; `size` is checked if known."""
    buffer = memoryview(bytearray(ring.size))
    total = 0
    try:
        while count := fill(reader, buffer):
            total += count
            if size is not None and total > size:
                break
            yield buffer[:count]
    finally:
        reader.close()
    if size is not None and total != size:
        raise IntegrityError(
            f"the source gave {'more than ' if total > size else ''}{min(total, size)} of {size} bytes",
            expected=f"{size} bytes",
            actual=f"{total} bytes",
            transient=True,
        )


def _close(chunks: Iterator[memoryview]) -> None:
    """Ends a generator early, which closes what it reads from."""
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _diff_id_error(expected: Digest, actual: Digest) -> IntegrityError:
    return IntegrityError(
        f"the content of a layer has the digest {actual}, its diffId is {expected}",
        expected=str(expected),
        actual=str(actual),
        hint="the artifact was damaged or made by a faulty tool; have it packed again",
    )
