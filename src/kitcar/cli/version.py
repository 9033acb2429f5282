"""`kitcar version`: also answered without this module when nothing else is asked (see `__main__`)."""

from __future__ import annotations

from kitcar.cli.build import describe
from kitcar.cli.session import Session
from kitcar.cli.verb import Arity, Usage, verb
from kitcar.flags.flag import Call, Flag, Kind

_NOTICES = Flag("show-update-notifications", "Switch kit's own update notices on or off", Kind.SWITCH)
_MARKER = "disable-update-notifications"


@verb(
    "version",
    Usage(
        "[flags]",
        "Show this program's version",
        """
        Prints the version, the commit and time it was built from, and the version of Python.

        kitcar never looks for updates. The flag is kit's, and is kept for those who share one KITOPS_HOME with kit:
        it switches the notices of kit.
        """,
    ),
    flags=(_NOTICES,),
    takes=Arity(),
)
def command(session: Session, call: Call) -> None:
    """Prints the version, or sets the mark that silences kit."""
    if _NOTICES.name not in call.given:
        session.console.write(describe())
        return
    marker = session.settings.root / _MARKER
    if call.on(_NOTICES.name):
        marker.unlink(missing_ok=True)
    else:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
