"""`kitcar logout`: forgets what `login` kept."""

from __future__ import annotations

from kitcar.cli.fault import failing
from kitcar.cli.login import registry_of
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.flags.flag import Call


@verb(
    "logout",
    Usage(
        "[flags] REGISTRY",
        "Forget a registry's credentials",
        "Removes what `login` keeps for a registry from KITOPS_HOME. Docker's own credentials are left alone.",
        """
        kitcar logout registry.example.com
        """,
    ),
    takes=exactly(1),
)
def command(session: Session, call: Call) -> None:
    """Logs out."""
    from kitcar.registry.credentials import CredentialStore

    with failing("Invalid arguments"):
        registry = registry_of(call.arguments[0])
    CredentialStore(session.settings.credentials).erase(registry)
    session.console.info(f"Successfully logged out from {registry}")
