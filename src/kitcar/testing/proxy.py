"""An HTTP proxy that stands before a real server and fails on cue.

`FaultProxy` forwards each request as it is, unless a `Rule` matches its method and path: then the transfer is cut, changed,
stalled or answered in the server's place. It also works as a forward proxy (`CONNECT` and absolute request targets).
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, NamedTuple, Self
from urllib.parse import urlsplit

from kitcar.testing.wire import SECONDS, BrokenError, EarlyAnswerError, Head, Wire, readable

_CONNECTIONS = 256
_NO_CHANGES: Mapping[str, str | None] = {}

Side = Literal["response", "request"]


@dataclass(frozen=True, slots=True)
class Cut:
    """Closes the connection after `after` bytes of the body; with `reset`, by a TCP reset."""

    after: int = 0
    of: Side = "response"
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Flip:
    """Inverts the body's byte at offset `at`."""

    at: int = 0
    of: Side = "response"


@dataclass(frozen=True, slots=True)
class Truncate:
    """Leaves out what follows the response body's first `after` bytes, with a Content-Length that fits the rest."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Stall:
    """Stops for `seconds` (or until the proxy stops) after `after` bytes of the body, then goes on."""

    after: int = 0
    of: Side = "response"
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Answers in the server's place, which never sees the request."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Drop:
    """Lets the server do its work and closes the connection without passing on its answer."""


@dataclass(frozen=True, slots=True)
class Alter:
    """Sets headers of the request and of the response; None removes one."""

    request: Mapping[str, str | None] = field(default_factory=dict)
    response: Mapping[str, str | None] = field(default_factory=dict)


Action = Cut | Flip | Truncate | Stall | Answer | Drop | Alter


@dataclass(slots=True)
class Rule:
    """What to do with requests whose `METHOD path` (query included) holds the regular expression `match`.

    The first `skip` of them pass, the next `times` (None: all) get the action; `hits` counts those that did.
    """

    match: str
    action: Action
    times: int | None = 1
    skip: int = 0
    hits: int = 0


class Request(NamedTuple):
    """One request as the client sent it; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class FaultProxy:
    """A proxy on a free port of 127.0.0.1; a context manager that ends all its threads and sockets.

    Append to `rules` at any time; `requests` lists what arrived. `tls` lets it speak TLS to its clients.
    """

    def __init__(self, upstream_host: str, upstream_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self._upstream = (upstream_host, upstream_port)
        self._tls = tls
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        self._wires: set[Wire] = set()
        self._threads: set[threading.Thread] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_CONNECTIONS)
        self._listener.settimeout(0.2)
        self._port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="fault-proxy", daemon=True)
        self._accepting.start()

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port alone."""
        return self._port

    def seen(self, match: str) -> list[Request]:
        """The requests whose `METHOD path` holds the regular expression `match`, in order of arrival."""
        with self._lock:
            return [item for item in self.requests if re.search(match, f"{item.method} {item.path}")]

    def stop(self) -> None:
        """Closes every connection and waits for the threads; harmless when repeated."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(SECONDS)
        self._listener.close()
        with self._lock:
            wires, threads = list(self._wires), list(self._threads)
        for wire in wires:
            wire.abort()
        for thread in threads:
            thread.join(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                accepted, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._room.acquire()
            thread = threading.Thread(target=self._serve, args=(accepted,), name="fault-proxy-client", daemon=True)
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _serve(self, accepted: socket.socket) -> None:
        try:
            accepted.settimeout(SECONDS)
            if self._tls:
                accepted = self._tls.wrap_socket(accepted, server_side=True)
            with self._open(accepted) as client:
                while not self._stopped.is_set() and self._exchange(client):
                    pass
        except (OSError, ValueError, BrokenError):
            accepted.close()
        finally:
            self._room.release()
            with self._lock:
                self._threads.discard(threading.current_thread())

    @contextlib.contextmanager
    def _open(self, connected: socket.socket) -> Iterator[Wire]:
        wire = Wire(connected)
        with self._lock:
            self._wires.add(wire)
        try:
            yield wire
        finally:
            with self._lock:
                self._wires.discard(wire)
            wire.close()

    def _exchange(self, client: Wire) -> bool:
        """One request and its answer; whether the connection can carry another."""
        head = client.head()
        if head is None:
            return False
        method, path, _ = head.start.split(" ", 2)
        action = self._action_for(method, path, head)
        if method == "CONNECT":
            return self._tunnel(client, path)
        if head.value("expect").lower() == "100-continue":
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if isinstance(action, Answer):
            for _ in client.body(head.framing()):
                pass
            client.send(_answer(action, has_body=method != "HEAD"))
            return True
        host, port, target = self._route(path)
        connected = socket.create_connection((host, port), timeout=SECONDS)
        with self._open(connected) as upstream:
            changes = action.request if isinstance(action, Alter) else _NO_CHANGES
            sent = head.changed(f"{method} {target} HTTP/1.1", {"expect": None, "connection": "close", **changes})
            upstream.send(sent.encode())
            whole = self._forward_body(client, upstream, head, action)
            goes_on = self._answer(client, upstream, action, method)
        if not whole:
            client.linger()
        return goes_on and whole

    def _action_for(self, method: str, path: str, head: Head) -> Action | None:
        with self._lock:
            self.requests.append(Request(method, path, {name.lower(): value for name, value in head.fields}))
            for rule in self.rules:
                if not re.search(rule.match, f"{method} {path}"):
                    continue
                if rule.skip:
                    rule.skip -= 1
                elif rule.times is None or rule.hits < rule.times:
                    rule.hits += 1
                    return rule.action
        return None

    def _route(self, path: str) -> tuple[str, int, str]:
        if not path.startswith("http://"):
            return (*self._upstream, path)
        url = urlsplit(path)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return url.hostname or "", url.port or 80, target

    def _tunnel(self, client: Wire, path: str) -> bool:
        host, _, port = path.rpartition(":")
        connected = socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS)
        with self._open(connected) as upstream:
            client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            sides = {client: upstream, upstream: client}
            while not self._stopped.is_set():
                for side in readable(client, upstream):
                    data = side.receive()
                    if not data:
                        return False
                    sides[side].send(data)
        return False

    def _forward_body(self, client: Wire, upstream: Wire, head: Head, action: Action | None) -> bool:
        """Passes the request's body on; False if the server answered before it had all of it."""
        framing = head.framing()
        pieces = client.body(framing, unless=upstream)
        fault = action if isinstance(action, (Cut, Flip, Stall)) and action.of == "request" else None
        try:
            for piece in self._faulty(pieces, fault, client):
                upstream.send(_chunk(piece) if framing == "chunked" else piece)
            if framing == "chunked":
                upstream.send(b"0\r\n\r\n")
        except EarlyAnswerError:
            return False
        except BrokenError:
            # The server is done with what it got before the client learns of the break and asks about it.
            upstream.linger()
            raise
        except OSError:
            if not readable(upstream, seconds=1):
                raise
            return False
        return True

    def _answer(self, client: Wire, upstream: Wire, action: Action | None, method: str) -> bool:
        head = upstream.head()
        while head is not None and head.status in range(100, 200):
            head = upstream.head()
        if head is None or isinstance(action, Drop):
            return False
        changes: dict[str, str | None] = {"connection": None}
        framing = head.framing(of_response=True)
        if method == "HEAD" or head.status in {204, 304}:
            framing = 0
        elif framing is None:
            changes["connection"] = "close"
        pieces = upstream.body(framing)
        if isinstance(action, Truncate):
            pieces, framing = _first(pieces, action.after), action.after
            changes |= {"content-length": str(framing), "transfer-encoding": None}
        if isinstance(action, Alter):
            changes |= action.response
        client.send(head.changed(head.start, changes).encode())
        fault = action if isinstance(action, (Cut, Flip, Stall)) and action.of == "response" else None
        for piece in self._faulty(pieces, fault, client):
            client.send(_chunk(piece) if framing == "chunked" else piece)
        if framing == "chunked":
            client.send(b"0\r\n\r\n")
        return framing is not None

    def _faulty(self, pieces: Iterator[bytes], fault: Cut | Flip | Stall | None, client: Wire) -> Iterator[bytes]:
        """The pieces of a body, spoilt as `fault` says."""
        seen = 0
        if isinstance(fault, (Cut, Stall)) and not fault.after:
            self._interrupt(fault, client)
        for piece in pieces:
            mark = (fault.at if isinstance(fault, Flip) else fault.after) - seen if fault else -1
            seen += len(piece)
            if isinstance(fault, Flip) and 0 <= mark < len(piece):
                yield piece[:mark] + bytes([piece[mark] ^ 0xFF]) + piece[mark + 1 :]
            elif isinstance(fault, (Cut, Stall)) and 0 < mark <= len(piece):
                yield piece[:mark]
                self._interrupt(fault, client)
                yield piece[mark:]
            else:
                yield piece

    def _interrupt(self, fault: Cut | Stall, client: Wire) -> None:
        if isinstance(fault, Stall):
            self._stopped.wait(fault.seconds)
            if not self._stopped.is_set():
                return
        elif fault.reset:
            client.reset_on_close()
        raise BrokenError


def _first(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    for piece in pieces:
        if count > 0:
            yield piece[:count]
        count -= len(piece)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def _answer(action: Answer, *, has_body: bool) -> bytes:
    fields = {
        "content-length": str(len(action.body)),
        **{name.lower(): value for name, value in action.headers.items()},
    }
    lines = [f"HTTP/1.1 {action.status} On cue", *(f"{name.title()}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (action.body if has_body else b"")
