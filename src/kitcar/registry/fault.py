"""What went wrong on the way to a registry, or was refused by it, as an error with a hint. No secret of a URL is repeated."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kitcar.errors import AuthError, KitcarError, NotFoundError, RegistryError, TransportError
from kitcar.registry.retry import TRANSIENT_STATUSES, parse_retry_after

BROKEN_HINT = "check the network, or try again later"
_MESSAGE_LIMIT = 300
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})
_PLAIN_SERVER = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
)


def is_unreached(error: BaseException) -> bool:
    """Whether the other side never heard of a request: its name is not known, or nothing takes a connection there."""
    return any(
        isinstance(cause, (socket.gaierror, ConnectionRefusedError))
        or (isinstance(cause, OSError) and cause.errno in _NO_WAY)
        for cause in _causes(error)
    )


def transport_error(error: BaseException, url: str, proxy: str | None = None) -> KitcarError:
    """The error to raise where a request to `url` got no whole answer; errors of kitcar stay as they are.

    `proxy` is the URL of the proxy that the request went to, if it did.
    """
    if isinstance(error, KitcarError):
        return error
    host = urlsplit(url).netloc.rpartition("@")[2]
    causes = list(_causes(error))
    if is_unreached(error):
        return _unreached(causes, host, proxy)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls_error(cause, host)
    for cause in causes:
        if isinstance(cause, TimeoutError):
            return TransportError(f"{host} did not answer in time", hint=BROKEN_HINT)
        if isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, http.client.RemoteDisconnected):
            return TransportError(
                f"{host} does not answer with HTTP",
                hint="check the address; if the registry uses TLS, leave out --plain-http",
                transient=False,
            )
    return _other(causes, host)


def _unreached(causes: list[BaseException], host: str, proxy: str | None) -> TransportError:
    if proxy is not None:
        return TransportError(
            f"the proxy {urlsplit(proxy).netloc.rpartition('@')[2]} cannot be reached",
            hint="check --proxy, or HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        )
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return TransportError(
                f"the name {_name(host)} is not known",
                hint="check the registry's name and the network",
                transient=cause.errno == socket.EAI_AGAIN,
            )
        if isinstance(cause, ConnectionRefusedError):
            return TransportError(
                f"{host} refuses connections", hint="check the registry's address and port, and that it runs"
            )
    reason = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.errno in _NO_WAY), None)
    return TransportError(
        f"{host} cannot be reached: {_shown(reason or 'there is no way to it').lower()}",
        hint="check the registry's address and the network",
    )


def _other(causes: list[BaseException], host: str) -> TransportError:
    text = " ".join(str(cause) for cause in causes)
    if "Tunnel connection failed" in text:
        status = text.partition("Tunnel connection failed:")[2].split(".")[0].strip()[:60]
        return TransportError(
            f"the proxy does not connect to {host}: {status}",
            hint="check the proxy's address and credentials, or name the host in NO_PROXY",
        )
    if any("timed out" in str(cause) for cause in causes):
        return TransportError(f"{host} did not answer in time", hint=BROKEN_HINT)
    reason = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), "")
    if not reason and any(
        isinstance(cause, (http.client.RemoteDisconnected, http.client.IncompleteRead)) for cause in causes
    ):
        reason = "it was closed"
    more = f": {_shown(reason)}" if reason else ""
    return TransportError(f"the connection to {host} broke{more}", hint=BROKEN_HINT)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that it came from, also where urllib3 keeps them: in `reason` and among the arguments."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, BaseException) or item in seen:
            continue
        seen.append(item)
        yield item
        waiting += [getattr(item, "reason", None), getattr(item, "original_error", None), *item.args]
        waiting += [item.__cause__, item.__context__]


def _tls_error(error: ssl.SSLError, host: str) -> TransportError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return TransportError(
            f"the certificate of {host} cannot be verified: {_shown(error.verify_message)}",
            hint="add the authority's certificate with --tls-cert, or turn verification off with --tls-verify=false",
            transient=False,
        )
    text = f"{error.reason or ''} {error}".upper().replace(" ", "_")
    if any(mark in text for mark in _PLAIN_SERVER):
        return TransportError(
            f"{host} does not speak TLS", hint="if the registry serves plain HTTP, add --plain-http", transient=False
        )
    if "CERTIFICATE_REQUIRED" in text or "BAD_CERTIFICATE" in text or "HANDSHAKE_FAILURE" in text:
        return TransportError(
            f"{host} refuses the TLS connection: {_shown(error.reason or str(error))}",
            hint="the registry may want a client certificate: --cert and --key",
            transient=False,
        )
    cut = isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "EOF" in text
    return TransportError(
        f"the TLS connection to {host} broke: {_shown(error.reason or str(error))}", hint=BROKEN_HINT, transient=cut
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not what was asked for."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    host: str
    plain_http: bool = False

    @property
    def complaints(self) -> tuple[tuple[str, str], ...]:
        """Code and message of each error in the body (distribution specification, Error Codes)."""
        try:
            errors = json.loads(self.body).get("errors") or []
            return tuple((str(item.get("code", "")), str(item.get("message", ""))) for item in errors)
        except (ValueError, AttributeError, TypeError, RecursionError):
            return ()

    @property
    def code(self) -> str:
        """The first error's code."""
        return self.complaints[0][0] if self.complaints else ""

    def error(self, subject: str, *, authenticated: bool = False) -> KitcarError:
        """The error to raise when `subject` was asked for; `authenticated` if credentials went along."""
        said = f" ({self.said})" if self.said else ""
        if self.status in {401, 403}:
            return self._denial(subject, said, authenticated=authenticated)
        if self.status == 404:
            return NotFoundError(
                f"{subject} not found in {self.host}{said}",
                hint="check the name and tag, and that your account may see it",
            )
        transient = self.status in TRANSIENT_STATUSES
        words = "asks to slow down" if self.status == 429 else "failed" if self.status >= 500 else "refused"
        about = f" {subject}" if words == "refused" else f" ({subject})"
        return RegistryError(
            f"{self.host} {words}{about}: {self.status} {self.reason}{said}",
            status=self.status,
            code=self.code,
            hint=self._hint(),
            transient=transient,
            retry_after=parse_retry_after(self.headers.get("retry-after")) if transient else None,
        )

    def _denial(self, subject: str, said: str, *, authenticated: bool) -> AuthError:
        login = f"kitcar login {self.host}{' --plain-http' if self.plain_http else ''}"
        if self.status == 401 and not authenticated:
            words, hint = "wants credentials for", f"log in first: {login}"
        elif self.status == 401:
            words, hint = "does not accept the credentials for", f"log in again: {login}"
        else:
            words, hint = "denies access to", "check that it exists and what your account may do there"
        return AuthError(
            f"{self.host} {words} {subject}: {self.status} {self.reason}{said}",
            status=self.status,
            code=self.code,
            hint=hint,
        )

    def _hint(self) -> str | None:
        wait = parse_retry_after(self.headers.get("retry-after"))
        if self.status in TRANSIENT_STATUSES:
            return f"try again in {wait:.0f} seconds" if wait else "try again later"
        if self.status == 400 and self.plain_http and b"HTTPS server" in self.body:
            return "the registry uses TLS: leave out --plain-http"
        if self.status == 413:
            return "the registry, or a proxy before it, limits the size of an upload"
        if self.status == 405:
            return "the registry does not allow this operation"
        return None

    @property
    def said(self) -> str:
        """What the registry says about it, fit to be shown."""
        said = [f"{code}: {message}" if message else code for code, message in self.complaints]
        if not said and self.body and self.headers.get("content-type", "").startswith("text/plain"):
            said = [self.body.decode("utf-8", "replace")]
        return _shown("; ".join(said))


def _shown(text: str) -> str:
    """Foreign text made fit for a message: on one line, no control characters, not endless."""
    line = " ".join(text.split())
    line = "".join(char if char.isprintable() else "?" for char in line)
    return line if len(line) <= _MESSAGE_LIMIT else line[:_MESSAGE_LIMIT] + "…"


def _name(host: str) -> str:
    return host.rpartition(":")[0] or host
