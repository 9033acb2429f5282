"""HTTP/1.1 messages on a socket, as far as one that only passes them on must know them (RFC 9112)."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

SECONDS = 60.0
_PIECE = 64 * 1024
_HEAD_LIMIT = 256 * 1024


class BrokenError(Exception):
    """The connection has to end here."""


class EarlyAnswerError(Exception):
    """The server answers although it has not had the whole request."""


@dataclass(frozen=True, slots=True)
class Head:
    """The start line and header fields of a message."""

    start: str
    fields: tuple[tuple[str, str], ...]

    @property
    def status(self) -> int:
        """The status code of a response."""
        return int(self.start.split(" ", 2)[1])

    def value(self, name: str) -> str:
        """The first value of the field `name` (in lower case), or the empty text."""
        return next((value for key, value in self.fields if key.lower() == name), "")

    def framing(self, *, of_response: bool = False) -> int | Literal["chunked"] | None:
        """The body's length, "chunked", or None where it goes on until the connection ends."""
        if "chunked" in self.value("transfer-encoding").lower():
            return "chunked"
        if length := self.value("content-length"):
            return int(length)
        return None if of_response else 0

    def changed(self, start: str, changes: Mapping[str, str | None]) -> Head:
        """Another start line and fields set or, by None, removed."""
        wanted = {name.lower(): value for name, value in changes.items()}
        kept = [(name, value) for name, value in self.fields if name.lower() not in wanted]
        added = [(name.title(), value) for name, value in wanted.items() if value is not None]
        return Head(start, (*kept, *added))

    def encode(self) -> bytes:
        """The head as it goes over the wire."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.fields)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Wire:
    """A connected socket with what was read from it too early."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._early = b""

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether bytes wait on this side of the kernel, where `select` does not see them."""
        return bool(self._early) or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0)

    def receive(self, limit: int = _PIECE) -> bytes:
        """Some bytes; none at the end."""
        if self._early:
            data, self._early = self._early[:limit], self._early[limit:]
            return data
        return self.socket.recv(limit)

    def send(self, data: bytes) -> None:
        """Sends all of `data`."""
        self.socket.sendall(data)

    def head(self) -> Head | None:
        """The next message's head; None if the other side has nothing more to say."""
        raw = self._until(b"\r\n\r\n")
        if raw is None:
            return None
        start, *lines = raw[:-4].decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Head(start, tuple((name.strip(), value.strip()) for name, _, value in pairs))

    def body(self, framing: int | Literal["chunked"] | None, *, unless: Wire | None = None) -> Iterator[bytes]:
        """The body's bytes, chunked encoding taken off.

        Raises:
            EarlyAnswerError: `unless` has something to say.
            BrokenError: the body ends too early.
        """
        if framing == "chunked":
            yield from self._chunked(unless)
            return
        left = framing if framing is not None else -1
        while left:
            piece = self._next(_PIECE if left < 0 else min(left, _PIECE), unless)
            if not piece:
                if left > 0:
                    raise BrokenError
                return
            left -= len(piece) if left > 0 else 0
            yield piece

    def reset_on_close(self) -> None:
        """Lets `close` reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def linger(self) -> None:
        """Takes what the other side still sends, so that it reads the answer before it sees the end."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(1)
            while self.receive():
                pass

    def abort(self) -> None:
        """Ends the connection under a thread that waits for it."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close()

    def _next(self, limit: int, unless: Wire | None) -> bytes:
        if unless is not None and unless in readable(self, unless, seconds=SECONDS):
            raise EarlyAnswerError
        return self.receive(limit)

    def _chunked(self, unless: Wire | None) -> Iterator[bytes]:
        while True:
            line = self._until(b"\r\n")
            if line is None:
                raise BrokenError
            left = int(line.split(b";")[0], 16)
            if not left:
                while self._until(b"\r\n") not in {b"\r\n", None}:
                    pass
                return
            while left:
                piece = self._next(min(left, _PIECE), unless)
                if not piece:
                    raise BrokenError
                left -= len(piece)
                yield piece
            self._until(b"\r\n")

    def _until(self, mark: bytes) -> bytes | None:
        data = b""
        while mark not in data:
            piece = self.receive()
            if not piece or len(data) > _HEAD_LIMIT:
                return None
            data += piece
        whole, _, rest = data.partition(mark)
        self._early = rest + self._early
        return whole + mark


def readable(*wires: Wire, seconds: float = 0.2) -> list[Wire]:
    """Those that have something to read, waiting at most `seconds` for the first."""
    if ready := [wire for wire in wires if wire.pending]:
        return ready
    return list(select.select(wires, [], [], seconds)[0])
