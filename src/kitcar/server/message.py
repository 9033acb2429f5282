"""Requests and responses as values, between WSGI and the handlers."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from kitcar.errors import RegistryError, TransportError
from kitcar.oci.encoding import encode
from kitcar.stores.disk import FileReader

_DIGITS = 18
"""More has no number in a request; it would not fit where bytes are counted."""

_PIECE = 256 * 1024
"""Bytes handed on at once where the server cannot send a file itself."""


class BodyInput(Protocol):
    """What `wsgi.input` must be able to do."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fills the start of `buffer`; 0 at the end."""
        ...


class RequestBody:
    """The body of a request, as a `Reader` that tells a cut connection from the end."""

    def __init__(self, source: BodyInput, length: int | None) -> None:
        self._source = source
        self.length = length
        self._left = length

    def readinto(self, buffer: memoryview, /) -> int:
        """See `Reader.readinto`; a TransportError if the client stops before the end."""
        limit = len(buffer) if self._left is None else min(len(buffer), self._left)
        if not limit:
            return 0
        try:
            count = self._source.readinto(buffer[:limit]) or 0
        except (OSError, ValueError) as error:
            raise TransportError(f"the client stopped sending: {error}") from error
        if self._left is not None:
            if not count:
                raise TransportError("the client stopped sending")
            self._left -= count
        return count

    def close(self) -> None:
        """See `Reader.close`."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    body: RequestBody
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, environ: Mapping[str, Any]) -> Request:
        """The request of a WSGI environment; of a repeated parameter the first counts.

        Raises:
            RegistryError: its length is no number.
        """
        headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key[:5] == "HTTP_"}
        headers["content-type"] = environ.get("CONTENT_TYPE") or ""
        query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        return cls(
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO", ""),
            body=RequestBody(environ["wsgi.input"], _length(environ)),
            query={name: values[0] for name, values in query.items()},
            headers=headers,
        )

    def header(self, name: str) -> str:
        """The value of a header, empty if there is none."""
        return self.headers.get(name.lower(), "")


def _length(environ: Mapping[str, Any]) -> int | None:
    text = environ.get("CONTENT_LENGTH") or ""
    if not text:
        return None if environ.get("wsgi.input_terminated") else 0
    if not is_number(text):
        raise RegistryError(f"Content-Length {text!r} is no number", status=400, code="SIZE_INVALID")
    return int(text)


def is_number(text: str) -> bool:
    """Whether a text of the request is a number that may count bytes or names."""
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS


class FileBody:
    """`count` bytes of a file from `offset` on; a server may send them from `file` itself."""

    def __init__(self, path: Path, offset: int, count: int) -> None:
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.path, self.offset, self.count = path, offset, count

    def __iter__(self) -> Iterator[bytes]:
        os.lseek(self.file, self.offset, os.SEEK_SET)
        reader, left = FileReader(os.dup(self.file), self.path), self.count
        buffer = memoryview(bytearray(min(_PIECE, max(1, left))))
        try:
            while left and (count := reader.readinto(buffer[:left])):
                left -= count
                yield bytes(buffer[:count])
        finally:
            reader.close()

    def close(self) -> None:
        """Closes the file; harmless when repeated."""
        file, self.file = self.file, -1
        if file >= 0:
            os.close(file)


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered; without a body the length is that of the headers, as for HEAD."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | FileBody = b""

    @property
    def line(self) -> str:
        """The status line, as WSGI wants it."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """The headers with the length and what every answer of a registry carries."""
        length = self.body.count if isinstance(self.body, FileBody) else len(self.body)
        headers = [*self.headers, ("Docker-Distribution-Api-Version", "registry/2.0")]
        if not any(name == "Content-Length" for name, _ in headers) and self.status != HTTPStatus.NO_CONTENT:
            headers.append(("Content-Length", str(length)))
        return headers


def json_response(status: int, document: Any, *headers: tuple[str, str], kind: str = "application/json") -> Response:
    """A JSON answer."""
    return Response(status, (("Content-Type", kind), *headers), encode(document))


def refusal(status: int, code: str, message: str, *headers: tuple[str, str]) -> Response:
    """An error in the form of the distribution specification (Error Codes)."""
    return json_response(status, {"errors": [{"code": code, "message": message, "detail": None}]}, *headers)
