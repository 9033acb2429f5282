"""Sends blobs (distribution specification, Pushing Blobs): whole, in one stream or in pieces, and goes on after a break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from kitcar.errors import (
    AuthError,
    IntegrityError,
    InvalidError,
    KitcarError,
    NotFoundError,
    RegistryError,
    TransportError,
)
from kitcar.oci import media
from kitcar.oci.digest import Digest
from kitcar.oci.storage import Stream
from kitcar.registry import upload
from kitcar.registry.client import Call, Client
from kitcar.registry.transport import Response
from kitcar.registry.upload import State

_TOO_LARGE = 413
_LENGTH_REQUIRED = 411
_OUT_OF_STEP = 416
_SMALLEST_PIECE = 4 * upload.MIB


class _Blobs(Protocol):
    """What the uploader must know of the repository."""

    def has_blob(self, digest: Digest) -> bool: ...


class Uploader:
    """Uploads to one repository; `path` is its address below `/v2/`."""

    def __init__(self, client: Client, path: str, scopes: tuple[str, ...], blobs: _Blobs) -> None:
        self._client = client
        self._path = path
        self._scopes = scopes
        self._blobs = blobs
        self._policy = client.connection.retry

    def send(self, stream: Stream, digest: Digest | None = None) -> tuple[Digest, int]:
        """Uploads all of `stream`; gives its digest and number of bytes.

        Where the digest must be known before (`upload.takes_whole_only`) and is not, the stream is read once more, and not
        sent at all if the registry has it. Otherwise it is read once; after a break, from where the registry holds it.

        Raises:
            IntegrityError: the stream is not what it promised, or was changed on the way.
            TransportError, RegistryError: it could not be sent.
        """
        small = stream.size is not None and stream.size <= upload.SINGLE_LIMIT
        whole_only = upload.takes_whole_only(self._client.registry)
        if not small and not whole_only:
            return self._streamed(stream, digest)
        size = stream.size
        if digest is None or size is None:
            digest, size = _measure(stream)
            if not small and self._blobs.has_blob(digest):
                return digest, size
        self._whole(stream, digest, size)
        return digest, size

    def _whole(self, stream: Stream, digest: Digest, size: int) -> None:
        """In the request that ends the upload; a break means to start over."""
        failures = 0
        while True:
            state = self._begin()
            try:
                self._end(state, digest, _Cursor(stream).take(size), size)
                return
            except KitcarError as error:
                failures += 1
                self._consider(error, failures, state)
                if self._blobs.has_blob(digest):
                    return

    def _streamed(self, stream: Stream, digest: Digest | None) -> tuple[Digest, int]:
        """In one request, or in pieces where the registry refuses that; a break means to go on."""
        size, limit, failures = stream.size, None, 0
        state: State | None = None
        cursor = _Cursor(stream)
        while True:
            try:
                state = state or self._begin()
                while size is None or state.received < size:
                    state = self._patch(cursor, state, size, limit)
                    if size is None and state.received == cursor.position:
                        size = state.received
                cursor.finish(size)
                digest = digest or stream.digest()
                self._end(state, digest)
                return digest, size
            except RegistryError as error:
                if error.status in {_TOO_LARGE, _LENGTH_REQUIRED} and (smaller := _smaller(limit)):
                    self._abandon(state)
                    state, limit = None, smaller
                    size = size if size is not None else _measure(stream)[1]
                    continue
                failures += 1
                state = self._recover(error, failures, state)
            except KitcarError as error:
                failures += 1
                before = state.received if state else 0
                state = self._recover(error, failures, state)
                failures = 1 if state and state.received > before else failures
            if digest and size is not None and state is None and self._blobs.has_blob(digest):
                return digest, size

    def _recover(self, error: KitcarError, failures: int, state: State | None) -> State | None:
        """Waits, then asks how far the upload has come; None to begin a new one."""
        self._consider(error, failures, state)
        if state is None or isinstance(error, (IntegrityError, NotFoundError)):
            return None
        call = Call("GET", state.location, "the upload", (200, 202, 204), scopes=self._scopes)
        try:
            answer = self._client.discard(call)
        except KitcarError:
            return None
        held = upload.received(answer.headers.get("range"))
        return None if held is None else self._next(answer, state, held)

    def _consider(self, error: KitcarError, failures: int, state: State | None) -> None:
        """Waits if it is worth trying again; otherwise frees what the registry holds and raises `error`."""
        stale = state is not None and _is_stale(error, failures)
        if not (error.transient or stale) or failures >= self._policy.attempts:
            if not isinstance(error, TransportError):
                self._abandon(state)
            raise error
        self._client.pauser.wait(failures, error)

    def _begin(self) -> State:
        call = Call("POST", f"{self._path}/blobs/uploads/", "an upload", (202,), scopes=self._scopes)
        answer = self._client.discard(call)
        return self._next(answer, State(""), 0)

    def _patch(self, cursor: _Cursor, state: State, size: int | None, limit: int | None) -> State:
        cursor.seek(state.received)
        length = state.piece(size, limit)
        headers = {"Content-Type": media.OCTETS}
        if length is not None:
            headers["Content-Length"] = str(length)
            headers["Content-Range"] = f"{state.received}-{state.received + length - 1}"
        call = Call(
            "PATCH",
            state.location,
            "an upload",
            (202, 201, 204),
            headers,
            cursor.take(length),
            self._scopes,
            self._client.connection.timeouts.commit,
            once=True,
        )
        answer = self._client.discard(call)
        held = upload.received(answer.headers.get("range"))
        following = self._next(answer, state, cursor.position if held is None else min(held, cursor.position))
        if following.received <= state.received < cursor.position:
            raise RegistryError(f"{self._client.registry} takes no bytes of an upload", status=answer.status)
        return following

    def _end(self, state: State, digest: Digest, body: Iterator[memoryview] | None = None, size: int = 0) -> None:
        call = Call(
            "PUT",
            upload.closing(state.location, digest),
            f"blob {digest}",
            (201, 202, 204),
            {"Content-Type": media.OCTETS, "Content-Length": str(size)},
            body or b"",
            self._scopes,
            self._client.connection.timeouts.commit,
            once=True,
        )
        try:
            self._client.discard(call)
        except RegistryError as error:
            if error.code != "DIGEST_INVALID":
                raise
            raise IntegrityError(
                f"what {self._client.registry} received does not have the digest {digest}",
                expected=str(digest),
                actual="another",
                hint="the content was changed on the way, or while it was read",
                transient=True,
            ) from error

    def _next(self, answer: Response, state: State, held: int) -> State:
        location = answer.headers.get("location")
        if not location and not state.location:
            raise RegistryError(
                f"{self._client.registry} does not say where an upload goes",
                status=answer.status,
                hint="is it a registry?",
            )
        address = self._client.address(location, answer.url) if location else state.location
        return State(address, held, upload.minimum(answer.headers.get("oci-chunk-min-length")) or state.minimum)

    def _abandon(self, state: State | None) -> None:
        """Lets the registry free what it holds; that it cannot be reached is no further fault."""
        if state is not None:
            self._client.give_up(state.location, self._scopes)


def _is_stale(error: KitcarError, failures: int) -> bool:
    """Whether an upload ended, ran out of step with a connection that broke, or outlived its token."""
    if isinstance(error, AuthError):
        return error.status == 401 and failures == 1
    return isinstance(error, NotFoundError) or (isinstance(error, RegistryError) and error.status == _OUT_OF_STEP)


class _Cursor:
    """A place in a stream, from which pieces are taken one after another."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._chunks: Iterator[memoryview] | None = None
        self._rest = memoryview(b"")
        self.position = 0

    def seek(self, offset: int) -> None:
        """Goes to `offset`."""
        if self._chunks is None or offset != self.position:
            self._chunks, self._rest, self.position = self._stream.chunks(offset), memoryview(b""), offset

    def take(self, count: int | None) -> Iterator[memoryview]:
        """The next `count` bytes, or all there are.

        Raises:
            IntegrityError: the stream ends before.
        """
        self.seek(self.position)
        while count is None or count:
            if not self._rest:
                self._rest = self._chunk()
            if not self._rest:
                if count is None:
                    return
                raise _changed(f"ends after {self.position} bytes, {count} before its end", self.position + count)
            piece = self._rest if count is None else self._rest[:count]
            self._rest = self._rest[len(piece) :]
            self.position += len(piece)
            count = None if count is None else count - len(piece)
            yield piece

    def finish(self, size: int) -> None:
        """Reads the stream to its end, which must be at `size`.

        Raises:
            IntegrityError: it goes on.
        """
        self.seek(size)
        if self._rest or self._chunk():
            raise _changed("goes on after its end", size)

    def _chunk(self) -> memoryview:
        """The next chunk that is not empty; an empty one at the end."""
        assert self._chunks is not None
        try:
            return next((chunk for chunk in self._chunks if chunk), memoryview(b""))
        except KitcarError:
            self._chunks = None
            raise
        except OSError as error:
            # Inside a request it would be taken for a fault of the connection.
            raise InvalidError(f"the content to upload cannot be read: {error.strerror or error}") from error


def _measure(stream: Stream) -> tuple[Digest, int]:
    """Digest and size, by reading all of it."""
    size = sum(len(chunk) for chunk in stream.chunks())
    return stream.digest(), size


def _smaller(limit: int | None) -> int | None:
    """The next smaller size of pieces; None where there is none."""
    if limit is None:
        return upload.PIECE
    return limit // 4 if limit // 4 >= _SMALLEST_PIECE else None


def _changed(what: str, size: int) -> IntegrityError:
    return IntegrityError(
        f"the content to upload {what}",
        expected=f"{size} bytes",
        actual="another number",
        hint="it changed while it was read: try again",
    )
