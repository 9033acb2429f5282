"""`kitcar registry serve`: a directory as a registry, until it is stopped."""

from __future__ import annotations

from pathlib import Path

from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.flags.flag import Call, Flag, Kind

_ROOT = Flag("root", "Directory of the content (default: registry, beside local storage)")
_ADDRESS = Flag("address", "Address to listen on; port 0 takes a free one", default="127.0.0.1:5000")
_HTPASSWD = Flag(
    "htpasswd", "File of names and passwords, as htpasswd writes it; without it everybody may do everything"
)
_READ_ONLY = Flag("read-only", "Refuse every change", Kind.SWITCH)


@verb(
    "serve",
    Usage(
        "[flags]",
        "Serve a directory as a registry",
        """
        Serves the distribution API over a directory until it is stopped (Ctrl-C or SIGTERM): uploads, pulls, tags, referrers
        and deletes, for any client. There is no TLS and no replication; where more than one machine depends on it, a real
        registry takes over.

        The directory is a layout as local storage is, so that --root KITOPS_HOME/storage serves what is there.
        """,
        """
        # A registry for this machine
        kitcar registry serve

        # For others, who log in and may only read
        kitcar registry serve --address 0.0.0.0:5000 --htpasswd users --read-only
        """,
    ),
    flags=(_ROOT, _ADDRESS, _HTPASSWD, _READ_ONLY),
    takes=exactly(0),
    patient=True,
)
def command(session: Session, call: Call) -> None:
    """Serves."""
    from kitcar.server import ServerSettings, serve

    root = Path(call.text(_ROOT.name)).absolute() if call.text(_ROOT.name) else session.settings.root / "registry"
    htpasswd = Path(call.text(_HTPASSWD.name)) if call.text(_HTPASSWD.name) else None
    settings = ServerSettings(root, htpasswd=htpasswd, read_only=call.on(_READ_ONLY.name))

    def announce(line: str) -> None:
        session.console.info(line)
        session.console.out.flush()

    serve(settings.at(call.text(_ADDRESS.name)), announce)
