"""The server: an application on a socket, by cheroot. The only module that imports it.

Bodies do not go through cheroot's buffered files, which are written in Python: what is in their buffer is taken first,
the rest comes from the socket straight into the reader's buffer, and files are sent by the kernel.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kitcar.errors import KitcarError, UnsupportedError
from kitcar.server.message import FileBody

if TYPE_CHECKING:
    from cheroot.wsgi import Gateway_10, Server

_THREADS = 24
_CONNECTIONS = 256
_TIMEOUT = 60
"""Seconds without a byte after which a connection is given up."""

_POLL = 0.1
"""Seconds between looks for idle connections, and at most until a stop is noticed."""

_SHUTDOWN = 10
"""Seconds that requests get to come to their end."""

_MAX_HEADER = 64 * 1024
_MAX_CHUNK_LINE = 1024
_MAX_TRAILERS = 100
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_DRAINED = 16 * 1024 * 1024
"""Bytes of an unwanted body that are read so that the client gets its answer; beyond that the connection is closed."""


class Listener:
    """An application that answers on `address` while the context is entered."""

    def __init__(self, app: Callable[..., Any], host: str, port: int) -> None:
        self._server = _server(app, host, port)
        self._thread = threading.Thread(target=self._run, name="kitcar-registry", daemon=True)
        self._failure: BaseException | None = None
        self.stopped = threading.Event()
        self.address = ""

    def __enter__(self) -> Self:
        """Binds the address and starts to answer.

        Raises:
            KitcarError: the address is taken or not ours.
        """
        try:
            self._server.prepare()
        except OSError as error:
            host, port = self._server.bind_addr[:2]
            raise KitcarError(
                f"cannot listen on {host}:{port}: {_reason(error)}",
                hint="choose another --address, one of this machine; port 0 takes a free one",
            ) from error
        host, port = self._server.bind_addr[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops taking requests and lets those that run end."""
        self._server.stop()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._server.serve()
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that stops the server
            self._failure = error
        finally:
            self.stopped.set()


def _reason(error: OSError) -> str:
    """Why no socket could be had, without the list of addresses that cheroot puts around it."""
    inner = re.findall(r"\[Errno -?\d+\] ([^\])]+)", str(error))
    return inner[-1].lower() if inner else error.strerror or str(error)


class _Body:
    """The body of a request, read from the connection's buffer and then from its socket."""

    remaining = 0
    """What cheroot is to read after the answer; `drain` has done it."""

    def __init__(self, connection: Any, length: int) -> None:
        self._buffered = connection.rfile
        self._left = length

    def readinto(self, buffer: memoryview, /) -> int:
        limit = min(len(buffer), self._left)
        if not limit:
            return 0
        if self._buffered.has_data():
            data = self._buffered.read1(limit)
            buffer[: len(data)] = data
            count = len(data)
        else:
            count = self._buffered.raw.readinto(buffer[:limit]) or 0
        self._left -= count
        return count

    def drain(self) -> bool:
        """Reads what nobody wanted; whether the connection can go on."""
        if not self._left:
            return True
        if self._left > _DRAINED:
            return False
        scratch = memoryview(bytearray(min(_DRAINED, 256 * 1024)))
        while self.readinto(scratch):
            pass
        return not self._left


class _ChunkedBody(_Body):
    """A body in the chunked transfer coding (RFC 9112, 7.1)."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection, 0)
        self._ended = False
        self._malformed = False

    def readinto(self, buffer: memoryview, /) -> int:
        if self._malformed:
            raise ConnectionError("where the body ends is not known")
        self._malformed = True
        count = self._read(buffer)
        self._malformed = False
        return count

    def drain(self) -> bool:
        scratch, drained = memoryview(bytearray(256 * 1024)), 0
        while drained < _DRAINED and (count := self.readinto(scratch)):
            drained += count
        return self._ended

    def _read(self, buffer: memoryview) -> int:
        if not self._left and not self._ended:
            self._next()
        count = super().readinto(buffer)
        if not count and self._left:
            raise ConnectionError("the connection ended inside a chunk")
        if count and not self._left and self._line():
            raise ConnectionError("a chunk is longer than its size")
        return count

    def _next(self) -> None:
        size = self._line().partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size):
            raise ConnectionError(f"{size!r} is no size of a chunk")
        self._left = int(size, 16)
        if not self._left:
            for _ in range(_MAX_TRAILERS):
                if not self._line():
                    self._ended = True
                    return
            raise ConnectionError("the body has too many trailers")

    def _line(self) -> bytes:
        line: bytes = self._buffered.readline(_MAX_CHUNK_LINE)
        if not line.endswith(b"\n"):
            raise ConnectionError("the connection ended between two chunks")
        return line.strip()


class _Headers(dict[bytes, bytes]):
    """The headers of a request, whose end nobody may read in two ways (RFC 9112, 6.3): a proxy in front might."""

    def __setitem__(self, name: bytes, value: bytes) -> None:
        if name == b"Content-Length" and (name in self or not _LENGTH.fullmatch(value)):
            raise ValueError("Content-Length must be one number.")
        super().__setitem__(name, value)
        if b"Content-Length" in self and b"Transfer-Encoding" in self:
            raise ValueError("Content-Length and Transfer-Encoding exclude each other.")


def _server(app: Callable[..., Any], host: str, port: int) -> Server:
    try:
        from cheroot import server as base
        from cheroot import wsgi
    except ImportError as error:
        raise UnsupportedError("the registry needs the package cheroot", hint="pip install 'kitcar[server]'") from error

    class HeaderReader(base.HeaderReader):
        def __call__(self, rfile: Any, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
            found = {} if hdict is None else hdict
            found.update(super().__call__(rfile, _Headers()))
            return found

    class HTTPRequest(base.HTTPRequest):
        header_reader = HeaderReader()

    class HTTPConnection(base.HTTPConnection):
        RequestHandlerClass = HTTPRequest

    class Registry(wsgi.Server):
        """cheroot's server, silent about clients that go away and tidy about addresses that are taken."""

        @staticmethod
        def bind_socket(socket_: Any, bind_addr: Any) -> Any:
            try:
                return wsgi.Server.bind_socket(socket_, bind_addr)  # type: ignore[no-untyped-call]
            except OSError:
                socket_.close()
                raise

        def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:  # noqa: FBT001, FBT002
            if traceback and "socket.error" not in msg:
                super().error_log(msg, level, traceback)

    Registry.ConnectionClass = HTTPConnection
    server = Registry((host, port), app, numthreads=_THREADS, timeout=_TIMEOUT, shutdown_timeout=_SHUTDOWN)
    server.gateway = _gateway(wsgi.Gateway_10)
    server.keep_alive_conn_limit = _CONNECTIONS
    server.expiration_interval = _POLL
    server.max_request_header_size = _MAX_HEADER
    return server


def _gateway(base: type[Gateway_10]) -> type[Gateway_10]:
    class FastGateway(base):  # type: ignore[misc, valid-type]
        """cheroot's gateway with bodies past its buffers."""

        def get_environ(self) -> dict[str, Any]:
            request = self.req
            length = int(request.inheaders.get(b"Content-Length", 0))
            request.rfile = _ChunkedBody(request.conn) if request.chunked_read else _Body(request.conn, length)
            environ: dict[str, Any] = super().get_environ()
            return environ

        def respond(self) -> None:
            request = self.req
            response = request.server.wsgi_app(self.env, self.start_response)
            try:
                if not _drained(request.rfile) or (
                    b"Transfer-Encoding" in request.inheaders and not request.chunked_read
                ):
                    request.close_connection = True
                # Drained here or given up: cheroot must not read the body itself.
                request.chunked_read = False
                if isinstance(response, FileBody):
                    request.ensure_headers_sent()
                    _send_file(request.conn.socket, response)
                else:
                    for chunk in filter(None, response):
                        self.write(chunk)
            finally:
                request.ensure_headers_sent()
                if hasattr(response, "close"):
                    response.close()

    return FastGateway


def _drained(body: _Body) -> bool:
    try:
        return body.drain()
    except OSError:
        return False


def _send_file(socket: Any, body: FileBody) -> None:
    with os.fdopen(os.dup(body.file), "rb", buffering=0) as file:
        sent = socket.sendfile(file, body.offset, body.count) if body.count else 0
    if sent != body.count:
        raise ConnectionError("the file is shorter than it was")
