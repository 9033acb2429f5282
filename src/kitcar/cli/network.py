"""The network flags that many verbs share, and the doors they open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitcar.cli.flag import Call, Flag, Kind
from kitcar.cli.session import Session
from kitcar.errors import InvalidError
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.registry.credentials import CredentialChain
    from kitcar.registry.repository import Repository
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


@dataclass(frozen=True, slots=True)
class Network:
    """How registries are reached in this run."""

    connection: Connection
    credentials: CredentialChain
    concurrency: int

    @classmethod
    def of(cls, session: Session, call: Call) -> Network:
        """What the flags and the environment say.

        Raises:
            InvalidError: a flag has no meaning.
        """
        from kitcar.registry.credentials import CredentialChain

        settings = session.settings
        return cls(
            connection=_connection(session, call),
            credentials=CredentialChain.from_environment(settings.environ, settings.root),
            concurrency=concurrency_of(call),
        )

    def repository(self, reference: Reference) -> Repository:
        """The repository of a reference in its registry."""
        from kitcar.registry.repository import Repository

        return Repository(reference, connection=self.connection, credentials=self.credentials)


def concurrency_of(call: Call) -> int:
    """How many layers travel at once.

    Raises:
        InvalidError: the flag has no meaning.
    """
    count = call.number("concurrency")
    if count < 1:
        raise InvalidError(f"invalid argument for concurrency ({count}): must be at least 1")
    return count


def _connection(session: Session, call: Call) -> Connection:
    from kitcar.registry.settings import Connection

    plain, verify, trusted = call.on("plain-http"), call.on("tls-verify"), call.texts("tls-cert")
    if trusted and plain:
        session.console.warn("Flag '--tls-cert' has no effect when --plain-http is specified")
    if trusted and not verify:
        session.console.warn("Flag '--tls-cert' has no effect when --tls-verify=false is specified")
    return Connection.from_environment(
        session.settings.environ,
        plain_http=plain,
        verify_tls=verify,
        ca_files=trusted if verify and not plain else (),
        client_cert=call.text("cert") or session.settings.client_cert or None,
        client_key=call.text("key") or session.settings.client_key or None,
        proxy=call.text("proxy") or None,
    )
