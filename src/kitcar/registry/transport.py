"""The only HTTP client: requests, redirects, and bodies that go straight from the socket into the caller's buffer."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from kitcar.errors import IntegrityError, InvalidError, TransportError
from kitcar.registry.fault import BROKEN_HINT, is_unreached, transport_error
from kitcar.registry.settings import Connection, malformed_proxy

if TYPE_CHECKING:
    from kitcar.registry.wire import Answer, Pool

MAX_PIECE = 1024 * 1024
"""Bytes that one `readinto` gives at most: what a broken connection can lose, which is then asked for again."""

_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING = frozenset({307, 308})
_POOL_SIZE = 32
_DRAIN_LIMIT = 64 * 1024

Body = bytes | Iterable[bytes | memoryview] | None


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `timeout` is in seconds and replaces the settings' time for an answer to begin."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body = field(default=None, repr=False)
    timeout: float | None = None
    redirect: bool = True


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL: what credentials belong to (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def is_address(url: str) -> bool:
    """Whether a URL is one of HTTP, with a host that every reader of URLs takes for the same."""
    try:
        scheme, host, _ = origin(url)
    except ValueError:
        return False
    # urllib3 ends the host at a backslash, as browsers do; `urlsplit` does not, and drops what is between lines.
    doubtful = "\\" in urlsplit(url).netloc or any(char in url for char in "\t\r\n")
    return scheme in {"http", "https"} and bool(host) and not doubtful


def resolved(base: str, location: str) -> str:
    """The absolute form of a `Location`.

    Raises:
        TransportError: it is malformed, or no address of HTTP.
    """
    try:
        url = urljoin(base, location)
    except ValueError:
        url = ""
    if not is_address(url):
        raise TransportError(f"{_host(base)} points to an address of another kind than HTTP", transient=False)
    return url


class Response:
    """An answer whose body is still on the wire; close it, or read it to its end."""

    def __init__(self, answer: Answer, url: str) -> None:
        self.status = answer.status
        self.headers: Mapping[str, str] = answer.headers
        self.url = url
        self._answer = answer
        self._left: int | None = answer.body.length
        self._ended = answer.body.isclosed()
        if self._ended:
            answer.release()

    @property
    def reason(self) -> str:
        """The status in words."""
        return http.client.responses.get(self.status, "") or (self._answer.reason)

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come; None if the server did not say."""
        return self._left

    def readinto(self, buffer: memoryview, /) -> int:
        """Fills the start of `buffer` from the wire, without a copy between; 0 at the end.

        Raises:
            TransportError: the connection broke or stood still for too long.
        """
        if self._ended or not len(buffer):
            return 0
        try:
            count = self._answer.body.readinto(buffer[:MAX_PIECE])
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise transport_error(error, self.url) from error
        if self._left is not None:
            self._left -= count
        if not count and self._left:
            self.close()
            raise TransportError(
                f"{_host(self.url)} closed the connection {self._left} bytes before the end of an answer",
                hint=BROKEN_HINT,
            )
        if not count or self._left == 0:
            self._finish()
        return count

    def read(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            IntegrityError: it has more than `limit` bytes.
            TransportError: see `readinto`.
        """
        data = self.read_some(limit + 1)
        if len(data) > limit:
            raise IntegrityError(
                f"{_host(self.url)} answered with more than {limit} bytes",
                expected=f"at most {limit} bytes",
                actual="more",
            )
        return data

    def read_some(self, limit: int) -> bytes:
        """The body's first bytes, `limit` at most; the rest is given up.

        Raises:
            TransportError: see `readinto`.
        """
        pieces: list[bytes] = []
        left = limit
        while left:
            buffer = memoryview(bytearray(min(left, 64 * 1024)))
            count = self.readinto(buffer)
            if not count:
                break
            pieces.append(bytes(buffer[:count]))
            left -= count
        self.close()
        return b"".join(pieces)

    def close(self) -> None:
        """Gives the rest of the body up, and with it the connection; harmless when repeated."""
        if not self._ended:
            self._ended = True
            self._answer.abandon()

    def drain(self) -> None:
        """Reads a short rest so that the connection can serve again; gives a long one up."""
        if self._left is not None and self._left <= _DRAIN_LIMIT:
            try:
                self.read_some(_DRAIN_LIMIT)
            except TransportError:
                self.close()
        self.close()

    def _finish(self) -> None:
        self._ended = True
        self._answer.release()


class Transport:
    """Sends requests; safe for many threads. Connections are kept and used again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self._pools: dict[str | None, Pool] = {}
        self._answered: set[tuple[str, str, int]] = set()

    @property
    def connection(self) -> Connection:
        """The settings."""
        return self._connection

    def send(self, request: Request) -> Response:
        """The answer to `request`, whatever its status; redirects are followed, credentials not sent to another origin.

        Raises:
            TransportError: no answer came.
            InvalidError: the settings name a file or a proxy that cannot be used.
        """
        for _ in range(_MAX_REDIRECTS):
            response = self._send(request)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not request.redirect or not location:
                return response
            response.drain()
            following = _redirected(request, response.status, resolved(request.url, location))
            if following is None:
                return response
            request = following
        raise TransportError(f"{_host(request.url)} redirects in circles", transient=False)

    def close(self) -> None:
        """Closes the connections that are not in use."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def _send(self, request: Request) -> Response:
        from kitcar.registry.wire import FAULTS

        times = self._connection.timeouts
        proxy = self._connection.proxy_for(request.url)
        pool, server = self._pool(proxy), origin(request.url)
        headers = {"User-Agent": self._connection.user_agent, **request.headers}
        try:
            answer = pool.send(
                request.method, request.url, request.body, headers, times.connect, request.timeout or times.read
            )
        except FAULTS as error:
            failure = transport_error(error, request.url, proxy)
            if not self._connection.retry.unanswered and server not in self._answered and is_unreached(error):
                failure.transient = False
            raise failure from error
        self._answered.add(server)
        return Response(answer, request.url)

    def _pool(self, proxy: str | None) -> Pool:
        from kitcar.registry.wire import Pool

        with self._lock:
            if proxy not in self._pools:
                if self._context is None:
                    self._context = tls_context(self._connection)
                try:
                    self._pools[proxy] = Pool(self._context, proxy, self._connection.timeouts.idle)
                except ValueError:
                    raise malformed_proxy() from None
            return self._pools[proxy]


def tls_context(connection: Connection) -> ssl.SSLContext:
    """What TLS connections trust and show.

    Raises:
        InvalidError: a certificate file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=connection.ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("certificate authorities", connection.ca_bundle or "the system", error) from error
    if not connection.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in connection.ca_files:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("the certificate", path, error) from error
    if connection.client_cert:
        try:
            context.load_cert_chain(connection.client_cert, connection.client_key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("the client certificate", connection.client_cert, error) from error
    return context


def _no_password() -> str:
    raise OSError("the key is encrypted")


def _unusable(what: str, path: str, error: Exception) -> InvalidError:
    reason = (
        getattr(error, "strerror", None) if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    )
    detail = reason or ("no PEM certificate or key in it" if isinstance(error, ssl.SSLError) else str(error))
    return InvalidError(f"cannot use {what} {path}: {detail}", hint="name a readable file in PEM form")


def _redirected(request: Request, status: int, url: str) -> Request | None:
    """What follows a redirect; None where it cannot be followed."""
    replayable = request.body is None or isinstance(request.body, bytes)
    if request.method not in {"GET", "HEAD"} and (status not in _KEEPING or not replayable):
        return None
    headers = request.headers
    if origin(url) != origin(request.url):
        headers = {name: value for name, value in headers.items() if name.lower() not in {"authorization", "cookie"}}
    return replace(request, url=url, headers=headers)


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
