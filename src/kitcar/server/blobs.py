"""The blob endpoints: existence, download with ranges, removal, and uploads in every form."""

from __future__ import annotations

import re

from kitcar.errors import NotFoundError, RegistryError, TransportError, UnsupportedError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.server.message import FileBody, Request, Response, refusal
from kitcar.server.route import Route, parse_digest, stored_name
from kitcar.server.upload import Upload, Uploads, range_start
from kitcar.stores.layout import LayoutStore

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class Blobs:
    """Answers for `/v2/NAME/blobs/…`; blobs are shared by all repositories of the layout."""

    def __init__(self, store: LayoutStore, uploads: Uploads) -> None:
        self._store = store
        self._uploads = uploads

    def get(self, request: Request, route: Route) -> Response:
        """GET and HEAD of a blob, with one range.

        Raises:
            RegistryError: the blob is unknown, or the digest malformed.
        """
        digest = route.digest()
        size = self._store.size(digest)
        if size is None:
            raise _unknown(digest)
        headers: tuple[tuple[str, str], ...] = (
            ("Content-Type", media.OCTETS),
            ("Docker-Content-Digest", str(digest)),
            ("Etag", f'"{digest}"'),
            ("Accept-Ranges", "bytes"),
        )
        if request.method == "HEAD":
            return Response(200, (*headers, ("Content-Length", str(size))))
        span = requested_range(request.header("range"), size)
        if span is None:
            return Response(200, headers, self._file(digest, 0, size))
        start, end = span
        if start >= size:
            return refusal(416, "SIZE_INVALID", f"the blob has {size} bytes", ("Content-Range", f"bytes */{size}"))
        headers = (*headers, ("Content-Range", f"bytes {start}-{end}/{size}"))
        return Response(206, headers, self._file(digest, start, end - start + 1))

    def delete(self, _request: Request, route: Route) -> Response:
        """DELETE of a blob that no manifest needs.

        Raises:
            RegistryError: the blob is unknown, in use, or its digest malformed.
        """
        digest = route.digest()
        try:
            self._store.repository(stored_name(route.name)).delete(Descriptor(media.OCTETS, digest, 0))
        except NotFoundError as error:
            raise _unknown(digest) from error
        except UnsupportedError as error:
            raise RegistryError(str(error), status=405, code="UNSUPPORTED") from error
        return Response(202)

    def post(self, request: Request, route: Route) -> Response:
        """POST: a mount, a whole blob in one request, or a new session."""
        mount, digest = request.query.get("mount"), request.query.get("digest")
        if mount and (mounted := self._mount(parse_digest(mount), route)):
            return mounted
        expected = parse_digest(digest) if digest else None
        upload = self._uploads.begin(route.name)
        if expected is None:
            return _accepted(upload, status=202)
        try:
            return self._complete(upload, request, expected)
        finally:
            # Nobody knows the session, so nobody could go on where this request stopped.
            self._uploads.cancel(upload)

    def status(self, _request: Request, route: Route) -> Response:
        """GET of a session: how far it came."""
        upload = self._uploads.find(route.name, route.item)
        with upload.held():
            return _accepted(upload, status=204)

    def patch(self, request: Request, route: Route) -> Response:
        """PATCH: the next piece.

        Raises:
            RegistryError: the session is unknown, or the piece did not arrive whole.
        """
        upload = self._uploads.find(route.name, route.item)
        with upload.held():
            if refused := _misplaced(upload, request):
                return refused
            self._receive(upload, request)
            return _accepted(upload, status=202)

    def put(self, request: Request, route: Route) -> Response:
        """PUT: the last piece, if any, and the end of a session.

        Raises:
            RegistryError: the session is unknown, the piece did not arrive whole, or the content has another digest.
        """
        upload = self._uploads.find(route.name, route.item)
        digest = parse_digest(request.query.get("digest", ""))
        with upload.held():
            return _misplaced(upload, request) or self._complete(upload, request, digest)

    def cancel(self, _request: Request, route: Route) -> Response:
        """DELETE of a session."""
        upload = self._uploads.find(route.name, route.item)
        with upload.held():
            self._uploads.cancel(upload)
        return Response(204)

    def _file(self, digest: Digest, offset: int, count: int) -> FileBody:
        try:
            return FileBody(self._store.path(digest), offset, count)
        except FileNotFoundError as error:
            raise _unknown(digest) from error

    def _mount(self, digest: Digest, route: Route) -> Response | None:
        size = self._store.size(digest)
        if size is None or not self._store.has(Descriptor(media.OCTETS, digest, size), firmly=True):
            return None
        return _created(route.name, digest)

    def _complete(self, upload: Upload, request: Request, digest: Digest) -> Response:
        self._receive(upload, request)
        self._uploads.finish(upload, digest)
        return _created(upload.name, digest)

    def _receive(self, upload: Upload, request: Request) -> None:
        """Takes a piece; a client that goes away in the middle may go on later, any other failure ends the session."""
        try:
            upload.receive(request.body)
        except TransportError as error:
            raise RegistryError(str(error), status=400, code="BLOB_UPLOAD_INVALID") from error
        except BaseException:
            self._uploads.cancel(upload)
            raise


def requested_range(text: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a `Range` header; None for none and for forms that may be ignored (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if not match or match[1] == match[2] == "":
        return None
    if not match[1]:
        count = min(int(match[2]), size)
        return (size - count, size - 1)
    start, end = int(match[1]), int(match[2]) if match[2] else size - 1
    if match[2] and end < start:
        return None
    return start, min(end, size - 1)


def _unknown(digest: Digest) -> RegistryError:
    return RegistryError(f"unknown blob {digest}", status=404, code="BLOB_UNKNOWN")


def _misplaced(upload: Upload, request: Request) -> Response | None:
    text = request.header("content-range")
    if not text or range_start(text, request.body.length) == upload.size:
        return None
    message = f"the next byte is {upload.size}"
    return refusal(416, "BLOB_UPLOAD_INVALID", message, ("Location", _location(upload)), ("Range", upload.range))


def _accepted(upload: Upload, *, status: int) -> Response:
    return Response(
        status, (("Location", _location(upload)), ("Range", upload.range), ("Docker-Upload-Uuid", upload.id))
    )


def _created(name: str, digest: Digest) -> Response:
    return Response(201, (("Location", f"/v2/{name}/blobs/{digest}"), ("Docker-Content-Digest", str(digest))))


def _location(upload: Upload) -> str:
    return f"/v2/{upload.name}/blobs/uploads/{upload.id}"
