"""The one door to urllib3: pooled connections, TLS and proxies, with the answer of `http.client` kept within reach.

docs/adr/0002-http-transport.md says why it stands on two hooks: `pool_classes_by_scheme` and `response_class`. Imported by
`transport`, and only once something is sent.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from urllib3 import PoolManager, ProxyManager, Timeout, make_headers
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

FAULTS: tuple[type[Exception], ...] = (HTTPError, http.client.HTTPException, OSError)
"""What sending a request can raise where the network or the server is at fault."""

_POOL_SIZE = 32
_PLAIN_PIECE = 1024 * 1024
_TLS_PIECE = 128 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has begun."""

    body: http.client.HTTPResponse
    _outer: BaseHTTPResponse

    @property
    def status(self) -> int:
        """The status code."""
        return self._outer.status

    @property
    def reason(self) -> str:
        """The status in the server's words."""
        return self._outer.reason or ""

    @property
    def headers(self) -> Mapping[str, str]:
        """The fields, found in any case; several of one name are joined by commas."""
        return self._outer.headers

    def release(self) -> None:
        """Gives the connection back to serve again; the body must have ended."""
        self._outer.release_conn()

    def abandon(self) -> None:
        """Closes the connection under the rest of the body."""
        self._outer.close()


class Pool:
    """Connections to any number of servers, directly or through one proxy; `idle` bounds the wait for a piece of a body."""

    def __init__(self, context: ssl.SSLContext, proxy: str | None, idle: float) -> None:
        self._pools: PoolManager
        if proxy is None:
            self._pools = PoolManager(maxsize=_POOL_SIZE, ssl_context=context)
        else:
            self._pools = ProxyManager(
                proxy,
                maxsize=_POOL_SIZE,
                ssl_context=context,
                proxy_ssl_context=context,
                proxy_headers=_proxy_headers(proxy),
            )
        self._pools.pool_classes_by_scheme = {
            "http": _pool_class(HTTPConnectionPool, _PlainConnection, idle),
            "https": _pool_class(HTTPSConnectionPool, _TlsConnection, idle),
        }

    def send(self, method: str, url: str, body: Any, headers: Mapping[str, str], connect: float, read: float) -> Answer:
        """Sends one request; may take `connect` and, for the answer to begin, `read` seconds.

        Raises:
            Exception: whatever urllib3, `http.client` or the body raise.
        """
        outer = self._pools.urlopen(
            method,
            url,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
            timeout=Timeout(connect=connect, read=read),
        )
        connection: Any = outer.connection
        return Answer(connection.take(), outer)

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self._pools.clear()


def _pool_class(pool: type, connection: type, idle: float) -> type:
    """A class of pools whose connections are of the class `connection` and know `idle`."""
    return type(pool.__name__, (pool,), {"ConnectionCls": type(connection.__name__, (connection,), {"idle": idle})})


def _proxy_headers(proxy: str) -> Mapping[str, str] | None:
    user = urlsplit(proxy)
    if not user.username:
        return None
    return make_headers(proxy_basic_auth=f"{unquote(user.username)}:{unquote(user.password or '')}")


class _Keeping:
    """Mixed into a connection of urllib3: keeps the answer of `http.client`, and bounds each wait instead of their sum."""

    sock: socket.socket | None
    auto_open: int
    idle: float
    _kept: tuple[http.client.HTTPResponse, socket.socket] | None = None

    def response_class(self, sock: socket.socket, *args: Any, **named: Any) -> http.client.HTTPResponse:
        """Makes the answer, as `http.client` asks of its `response_class`."""
        response = http.client.HTTPResponse(sock, *args, **named)
        self._kept = (response, sock)
        return response

    def take(self) -> http.client.HTTPResponse:
        """The answer that has just begun."""
        assert self._kept is not None
        (response, sock), self._kept = self._kept, None
        if sock.fileno() >= 0:
            sock.settimeout(self.idle)
        return response

    def send(self, data: Any) -> None:
        """Sends all of `data`.

        Raises:
            OSError: the connection ended or stood still.
            http.client.NotConnected: there is none, and none may be opened.
        """
        if self.sock is None:
            if not self.auto_open:
                raise http.client.NotConnected
            cast("HTTPConnection", self).connect()
        sock = self.sock
        assert sock is not None
        # urllib3 leaves the time to connect on it.
        sock.settimeout(self.idle)
        piece = _TLS_PIECE if isinstance(sock, ssl.SSLSocket) else _PLAIN_PIECE
        view = memoryview(data).cast("B")
        while view:
            view = view[sock.send(view[:piece]) :]


class _PlainConnection(_Keeping, HTTPConnection):  # type: ignore[misc]
    """A connection without TLS."""


class _TlsConnection(_Keeping, HTTPSConnection):  # type: ignore[misc]
    """A connection with TLS."""

    def connect(self) -> None:
        """Connects, and makes itself known to the server."""
        super().connect()
        if self.ssl_context is not None and self.ssl_context.verify_mode == ssl.CERT_NONE:
            # Not to verify was asked for; urllib3 would otherwise warn of every connection.
            self.is_verified = True
