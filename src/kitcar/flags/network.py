"""The flags that say how registries are reached, and what they and the environment ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kitcar.errors import InvalidError
from kitcar.flags.flag import Call, Flag, Kind

if TYPE_CHECKING:
    from kitcar.registry.settings import Connection

_CONCURRENCY = 5
"""As kit, and `oci.copy`, which is not imported for verbs that copy nothing."""

NETWORK_FLAGS = (
    Flag("plain-http", "Speak HTTP to registries, not HTTPS", Kind.SWITCH),
    Flag("tls-verify", "Check the certificates of registries", Kind.SWITCH, default=True),
    Flag("tls-cert", "File of certificates to trust as well (may be repeated)", Kind.LIST),
    Flag("cert", "File of the client certificate to show to registries (or KITOPS_CLIENT_CERT)"),
    Flag("key", "File of the client certificate's key (or KITOPS_CLIENT_KEY)"),
    Flag("concurrency", "How many layers travel at once", Kind.NUMBER, default=_CONCURRENCY),
    Flag("proxy", "Proxy for all connections, in place of those the environment names"),
)


def connection_of(call: Call, environ: Mapping[str, str], warn: Callable[[str], None]) -> Connection:
    """How registries are reached: the flags, then the environment; `warn` hears of flags without effect.

    Raises:
        InvalidError: a variable has no meaning.
    """
    from kitcar.registry.settings import Connection

    plain, verify, trusted = call.on("plain-http"), call.on("tls-verify"), call.texts("tls-cert")
    if trusted and plain:
        warn("Flag '--tls-cert' has no effect when --plain-http is specified")
    if trusted and not verify:
        warn("Flag '--tls-cert' has no effect when --tls-verify=false is specified")
    named = {"client_cert": call.text("cert"), "client_key": call.text("key"), "proxy": call.text("proxy")}
    return Connection.from_environment(
        environ,
        plain_http=plain,
        verify_tls=verify,
        ca_files=trusted if verify and not plain else (),
        **{name: value for name, value in named.items() if value},
    )


def concurrency_of(call: Call) -> int:
    """How many layers travel at once.

    Raises:
        InvalidError: the flag has no meaning.
    """
    count = call.number("concurrency")
    if count < 1:
        raise InvalidError(f"invalid argument for concurrency ({count}): must be at least 1")
    return count
