"""Upload sessions: bytes that arrive in pieces, may be interrupted and taken up, and become a blob at the end.

Distribution specification, Pushing Blobs. A session lives in the process and in one file; what a cut connection had
delivered stays, and the client is told how far it came.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Iterator

from kitcar.errors import RegistryError, TransportError
from kitcar.oci.digest import Digest
from kitcar.oci.verify import DEFAULT_RING, HashThread
from kitcar.server.message import RequestBody
from kitcar.stores.ingest import IngestFile
from kitcar.stores.layout import LayoutStore, Stored

_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/(?:\d+|\*))?", re.ASCII)
_IDLE = 24 * 3600.0
"""Seconds after which a session nobody continued is given up."""

_MOST = 256
"""Sessions at once, each of which keeps a file open: of more, those that nobody continued for longest are given up."""

_SMALL = 256 * 1024
"""Bytes up to which a piece is hashed at once: a thread would take longer to start."""

_PATIENCE = 10.0
"""Seconds a request waits for the one before it on the same session, whose connection may have just been cut."""


class Upload:
    """One session."""

    def __init__(self, name: str, file: IngestFile) -> None:
        self.id = secrets.token_hex(16)
        self.name = name
        self.file = file
        self.touched = 0.0
        self._hasher = hashlib.sha256()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.file.size

    @property
    def range(self) -> str:
        """What has arrived, as the `Range` header of an answer."""
        return f"0-{max(0, self.size - 1)}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """One request at a time.

        Raises:
            RegistryError: another request does not come to its end.
        """
        if not self._lock.acquire(timeout=_PATIENCE):
            raise RegistryError(f"upload {self.id} is in use", status=429, code="TOOMANYREQUESTS", transient=True)
        try:
            yield
        finally:
            self._lock.release()

    def give_up(self) -> bool:
        """Forgets the bytes, unless a request is at them."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self.file.discard()
        finally:
            self._lock.release()
        return True

    def receive(self, body: RequestBody) -> None:
        """Appends the body: read in large pieces, written, and hashed on another thread.

        Raises:
            TransportError: the client stopped before the end; what came is kept.
            KitcarError: the disk is full or refuses.
        """
        if body.length is not None and body.length <= _SMALL:
            self._receive_small(body, body.length)
            return
        ring = DEFAULT_RING.fitted(DEFAULT_RING.size if body.length is None else body.length)
        hashing, spare = HashThread(self._hasher, ring.buffers), ring.buffers
        try:
            cut: TransportError | None = None
            while cut is None:
                whole = memoryview(bytearray(ring.size)) if spare else hashing.reclaim()
                spare -= spare > 0
                buffer = memoryview(whole.obj)
                count, cut = _fill(body, buffer)
                if not count:
                    break
                self.file.write(buffer[:count])
                hashing.update(buffer[:count])
        finally:
            hashing.close()
        if cut is not None:
            raise cut

    def _receive_small(self, body: RequestBody, length: int) -> None:
        buffer = memoryview(bytearray(length))
        count, cut = _fill(body, buffer)
        self.file.write(buffer[:count])
        self._hasher.update(buffer[:count])
        if cut is not None:
            raise cut

    def digest(self, algorithm: str) -> Digest:
        """The digest of all that has arrived."""
        if algorithm == self._hasher.name:
            return Digest.from_hasher(self._hasher)
        hasher = hashlib.new(algorithm)
        self.file.hash_into(hasher)
        return Digest.from_hasher(hasher)


class Uploads:
    """The sessions of one registry."""

    def __init__(self, store: LayoutStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._open: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def begin(self, name: str) -> Upload:
        """A new session of repository `name`; those that nobody continues are given up.

        Raises:
            KitcarError: the disk is full or refuses.
        """
        now = self._clock()
        with self._lock:
            surplus = len(self._open) + 1 - _MOST
            for place, other in enumerate(sorted(self._open.values(), key=lambda item: item.touched)):
                if (place < surplus or now - other.touched > _IDLE) and other.give_up():
                    del self._open[other.id]
        upload = Upload(name, self._store.begin())
        upload.touched = now
        with self._lock:
            self._open[upload.id] = upload
        return upload

    def find(self, name: str, identity: str) -> Upload:
        """The session `identity` of repository `name`.

        Raises:
            RegistryError: there is none.
        """
        with self._lock:
            upload = self._open.get(identity)
            if upload is None or upload.name != name:
                raise RegistryError(f"unknown upload {identity!r}", status=404, code="BLOB_UPLOAD_UNKNOWN")
            upload.touched = self._clock()
            return upload

    def finish(self, upload: Upload, digest: Digest) -> Stored:
        """Makes what has arrived a blob and ends the session.

        Raises:
            RegistryError: it has another digest; the session is ended then too.
            KitcarError: the disk is full or refuses.
        """
        try:
            actual = upload.digest(digest.algorithm)
            if actual != digest:
                message = f"the upload has the digest {actual}, not {digest}"
                raise RegistryError(message, status=400, code="DIGEST_INVALID")
            return self._store.finish(upload.file, digest)
        finally:
            self.cancel(upload)

    def cancel(self, upload: Upload) -> None:
        """Ends a session and forgets its bytes."""
        with self._lock:
            self._open.pop(upload.id, None)
        upload.file.discard()

    def close(self) -> None:
        """Ends all sessions."""
        with self._lock:
            uploads = list(self._open.values())
            self._open.clear()
        for upload in uploads:
            upload.file.discard()


def range_start(text: str, length: int | None) -> int:
    """The first byte of a `Content-Range`, whose end must fit the length of the body.

    Raises:
        RegistryError: it is malformed or does not fit.
    """
    match = _RANGE.fullmatch(text.strip())
    if not match:
        raise RegistryError(f"malformed Content-Range {text!r}", status=400, code="BLOB_UPLOAD_INVALID")
    start, end = int(match[1]), int(match[2])
    if length is not None and end - start + 1 != length:
        message = f"Content-Range {text!r} does not fit a body of {length} bytes"
        raise RegistryError(message, status=400, code="SIZE_INVALID")
    return start


def _fill(body: RequestBody, buffer: memoryview) -> tuple[int, TransportError | None]:
    """As `oci.verify.fill`, but keeps what came before the client stopped."""
    filled = 0
    try:
        while filled < len(buffer):
            count = body.readinto(buffer[filled:])
            if not count:
                break
            filled += count
    except TransportError as error:
        return filled, error
    return filled, None
