"""The doors that the network flags open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitcar.cli.session import Session
from kitcar.flags.flag import Call
from kitcar.flags.network import concurrency_of, connection_of
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.registry.credentials import CredentialChain
    from kitcar.registry.repository import Repository
    from kitcar.registry.settings import Connection


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
            InvalidError: a flag or variable has no meaning.
        """
        from kitcar.registry.credentials import CredentialChain

        settings = session.settings
        connection = connection_of(call, settings.environ, session.console.warn)
        return cls(
            connection=connection if settings.environ.get("KITCAR_RETRIES") else connection.hasty(),
            credentials=CredentialChain.from_environment(settings.environ, settings.root),
            concurrency=concurrency_of(call),
        )

    def repository(self, reference: Reference) -> Repository:
        """The repository of a reference in its registry."""
        from kitcar.registry.repository import Repository

        return Repository(reference, connection=self.connection, credentials=self.credentials)
