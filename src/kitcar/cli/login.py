"""`kitcar login`: credentials that a registry accepts, kept for later commands."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from kitcar.cli.fault import failing
from kitcar.cli.network import Network
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.errors import AuthError, InvalidError
from kitcar.flags.flag import Call, Flag, Kind
from kitcar.flags.network import NETWORK_FLAGS
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.registry.credentials import Credential

_UNAUTHORIZED = 401
_WRONG = "check the name and the password; some registries take a token in its place"
_NAMELESS = "a password alone is taken for an identity token: if it is none, give the name with -u"
_USERNAME = Flag("username", "Name to log in with", short="u")
_PASSWORD = Flag(
    "password", "Password or token; others on this machine can see it, so prefer --password-stdin", short="p"
)
_STDIN = Flag("password-stdin", "Read the password from standard input", Kind.SWITCH)
_USAGE = Usage(
    "[flags] REGISTRY",
    "Log in to a registry",
    """
    Asks a registry whether it accepts a name and a password, and keeps them in KITOPS_HOME for later commands, of kit
    too. Without a name, the password is an identity token that is exchanged for others. What is not given is asked for.
    """,
    """
    # Log in with a token from a file
    kitcar login registry.example.com -u robot --password-stdin < token
    """,
)


@verb("login", _USAGE, flags=(_USERNAME, _PASSWORD, _STDIN, *NETWORK_FLAGS), takes=exactly(1))
def command(session: Session, call: Call) -> None:
    """Logs in."""
    from kitcar.registry.credentials import CredentialChain, CredentialStore, FixedCredential
    from kitcar.registry.repository import Repository

    with failing("Invalid arguments"):
        registry = registry_of(call.arguments[0])
        credential = _credential(session, call)
        network = Network.of(session, call)
    with failing(f"Failed to validate the credentials for {registry}"):
        probe = Repository(
            Reference(registry, "_"),
            connection=network.connection,
            credentials=CredentialChain([FixedCredential(credential)]),
        )
        try:
            probe.ping()
        except AuthError as error:
            if error.status == _UNAUTHORIZED:
                error.hint = _WRONG if credential.username else _NAMELESS
            raise
    CredentialStore(session.settings.credentials).save(registry, credential)
    session.console.info("Log in successful")


def registry_of(text: str) -> str:
    """The registry an argument names.

    Raises:
        InvalidError: it is not HOST or HOST:PORT.
    """
    name = text.removesuffix("/")
    if not name or "/" in name or "@" in name:
        raise InvalidError(
            f"invalid registry {text!r}", hint="a registry is HOST or HOST:PORT, without scheme and path"
        )
    return (
        name
        if name == "localhost"
        else Reference.parse(f"{name}/check").registry
        if "." in name or ":" in name
        else name
    )


def _credential(session: Session, call: Call) -> Credential:
    from kitcar.registry.credentials import Credential

    username, password = call.text(_USERNAME.name), call.text(_PASSWORD.name)
    if username and password:
        session.console.info("Warning: Using --password via CLI is insecure. Consider using --password-stdin instead")
    if call.on(_STDIN.name):
        if password:
            raise InvalidError("cannot use both --password and --password-stdin")
        password = session.stdin.read().decode("utf-8", "surrogateescape").strip()
        if not password:
            raise InvalidError("failed to read password from stdin: got empty string")
    if password:
        return Credential(username, password) if username else Credential(identity_token=password)
    if not session.stdin.isatty():
        raise InvalidError(
            "attempting to read input from non-terminal", hint="pipe the password to --password-stdin, and name -u"
        )
    return Credential(username or session.ask("Username: "), getpass.getpass("Password: "))
