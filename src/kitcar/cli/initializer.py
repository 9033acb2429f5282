"""`kitcar initializer`: the entrypoint of KServe's storage container, and of the init container."""

from __future__ import annotations

import click

from kitcar.cli.session import Session
from kitcar.cli.verb import Arity, Usage, verb
from kitcar.flags.flag import Call, Flag, Kind

_LOG_FORMAT = Flag(
    "log-format", "How lines are written (or KITCAR_LOG_FORMAT)", default="text", choices=("text", "json")
)
_TERMINATION_LOG = Flag("termination-log", "File that takes the reason of a failure (or KITCAR_TERMINATION_LOG)")
_INIT = Flag(
    "init", "Be the init container: told by MODELKIT_REF, UNPACK_PATH, UNPACK_FILTER, EXTRA_FLAGS", Kind.SWITCH
)


@verb(
    "initializer",
    Usage(
        "[flags] SRC DEST [SRC DEST ...]",
        "Fetch models into directories, as KServe's storage initializer does",
        """
        Fetches each source, a kit:// reference, into its destination: streamed, verified, and repeatable. What the
        destination holds already is kept where it is right and replaced where it is not.

        It is told more by variables, as the KitOps containers are: KIT_UNPACK_FLAGS (flags of unpack, with quotes),
        KIT_USER and KIT_PASSWORD, AWS_ROLE_ARN, GCP_WIF and GCP_GAR_LOCATION; without these, Docker's configuration
        has the credentials.

        The exit code is 0, 1 for a fault that stays, or 75 for one that may pass.
        """,
        """
        kitcar initializer kit://registry.example.com/team/iris:v1 /mnt/models
        """,
    ),
    flags=(_LOG_FORMAT, _TERMINATION_LOG, _INIT),
    takes=Arity(),
    patient=True,
)
def command(session: Session, call: Call) -> None:
    """Runs the entrypoint and leaves with its exit code."""
    from kitcar.initializer.entry import initialize, initialize_from_environment, stoppable

    given = [flag.name for flag in (_LOG_FORMAT, _TERMINATION_LOG) if flag.name in call.given]
    words = [f"--{name}={call.text(name)}" for name in given] + list(call.arguments)
    entry = initialize_from_environment if call.on(_INIT.name) else initialize
    out, err = session.console.out, session.console.err
    code = stoppable(lambda: entry(words, session.settings.environ, out, err), err)
    raise click.exceptions.Exit(code)
