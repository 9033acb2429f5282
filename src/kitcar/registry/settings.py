"""How registries are reached: frozen settings that the edges fill from flags and environment."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from kitcar import __version__
from kitcar.errors import InvalidError
from kitcar.registry.retry import RetryPolicy

_LONGEST = 86_400.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, for an answer to begin, between two pieces of a body, for an upload to be put in place."""

    connect: float = 15.0
    read: float = 60.0
    idle: float = 60.0
    commit: float = 900.0


@dataclass(frozen=True, slots=True)
class Connection:
    """How a registry is reached.

    `ca_files` are trusted beside the system's authorities, `ca_bundle` in their place. `proxy` serves every host;
    `http_proxy` and `https_proxy` those that `no_proxy` does not name and that are not on this machine.
    """

    plain_http: bool = False
    verify_tls: bool = True
    ca_files: tuple[str, ...] = ()
    ca_bundle: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: str | None = field(default=None, repr=False)
    http_proxy: str | None = field(default=None, repr=False)
    https_proxy: str | None = field(default=None, repr=False)
    no_proxy: tuple[str, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    user_agent: str = f"kitcar/{__version__}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **overrides: Any) -> Connection:
        """The settings that `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` (in either case) and `SSL_CERT_FILE` ask for, and kit's
        `KITOPS_CLIENT_CERT` and `KITOPS_CLIENT_KEY`.

        `KITCAR_TIMEOUT` is how many seconds a connection may stand still, `KITCAR_RETRIES` how often what failed for a
        passing reason is tried again. `overrides` are fields of this class; they win.

        Raises:
            InvalidError: one of the latter two is no such number.
        """
        found = cls(
            http_proxy=_variable(environ, "HTTP_PROXY") or None,
            https_proxy=_variable(environ, "HTTPS_PROXY") or None,
            no_proxy=tuple(item.strip() for item in _variable(environ, "NO_PROXY").split(",") if item.strip()),
            ca_bundle=environ.get("SSL_CERT_FILE") or None,
            client_cert=environ.get("KITOPS_CLIENT_CERT") or None,
            client_key=environ.get("KITOPS_CLIENT_KEY") or None,
            timeouts=_timeouts(environ),
            retry=RetryPolicy.from_environment(environ),
        )
        return replace(found, **overrides)

    def hasty(self) -> Connection:
        """These settings for somebody who waits: a host that has never answered is not asked again."""
        return replace(self, retry=replace(self.retry, unanswered=False))

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "http" if self.plain_http else "https"

    def proxy_for(self, url: str) -> str | None:
        """The proxy's URL for a request to `url`; None to go there directly.

        Raises:
            InvalidError: the proxy that would serve it is no HTTP proxy.
        """
        parts = urlsplit(url)
        if self.proxy:
            return _proxy_url(self.proxy)
        chosen = self.https_proxy if parts.scheme == "https" else self.http_proxy
        if not chosen or self._is_direct(parts):
            return None
        return _proxy_url(chosen)

    def _is_direct(self, url: SplitResult) -> bool:
        host = (url.hostname or "").rstrip(".")
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        port = url.port or _DEFAULT_PORTS.get(url.scheme, 0)
        return any(_is_exempt(host, address, port, rule.lower()) for rule in self.no_proxy)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.lower()) or ""


def _timeouts(environ: Mapping[str, str]) -> Timeouts:
    text = environ.get("KITCAR_TIMEOUT", "")
    if not text:
        return Timeouts()
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST:
        raise InvalidError(
            f"KITCAR_TIMEOUT is {text!r}", hint="give a number of seconds above 0, as in KITCAR_TIMEOUT=60"
        )
    return Timeouts(connect=min(seconds, Timeouts().connect), read=seconds, idle=seconds)


def _proxy_url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise malformed_proxy() from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidError(
            f"a proxy with the scheme {parts.scheme!r} is not supported", hint="name an http:// or https:// proxy"
        )
    return url


def malformed_proxy() -> InvalidError:
    """What is raised for a proxy whose address cannot be read; it may hold a password, so it is not repeated."""
    return InvalidError(
        "the address of the proxy is malformed", hint="check --proxy, or HTTPS_PROXY and HTTP_PROXY: http://HOST:PORT"
    )


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_exempt(host: str, address: _Address | None, port: int, rule: str) -> bool:
    """Whether one `NO_PROXY` item names the host: `*`, a network, an address, a domain and all below it; with a port or not."""
    if rule == "*":
        return True
    if "/" in rule:
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and _address(rule) is None:
        if int(number) != port:
            return False
        rule = name
    rule = rule.strip("[]")
    if address is not None:
        return _address(rule) == address
    domain = rule.removeprefix("*").removeprefix(".")
    return bool(domain) and (host.endswith(f".{domain}") or (host == domain and not rule.startswith((".", "*"))))
