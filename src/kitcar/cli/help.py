"""`kitcar help [COMMAND …]`."""

from __future__ import annotations

import click

from kitcar.cli.session import Session
from kitcar.cli.verb import Arity, Usage, verb
from kitcar.flags.flag import Call


@verb("help", Usage("[command]", "Explain a command"), takes=Arity())
def command(session: Session, call: Call) -> None:
    """Prints the help of the command that the arguments name, from the root on.

    Raises:
        click.UsageError: there is no such command.
    """
    context = click.get_current_context().find_root()
    for name in call.arguments:
        group = context.command
        found = group.get_command(context, name) if isinstance(group, click.Group) else None
        if found is None:
            raise click.UsageError(f"unknown help topic {' '.join(call.arguments)!r}", context)
        context = click.Context(found, context, info_name=name)
    session.console.write(context.get_help() + "\n")
