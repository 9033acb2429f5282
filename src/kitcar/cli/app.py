"""The command line's frame: finds the verb, imports it alone, and turns errors into a message, a hint and an exit code.

A new verb is one line of `VERBS` and a module of its name that has a click command called `command`.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import click

from kitcar.cli import fault
from kitcar.cli.interrupt import CODE
from kitcar.cli.session import GlobalFlags, Session, Surroundings
from kitcar.flags.flag import Kind, usage_lines
from kitcar.flags.general import GLOBAL_FLAGS, HELP

VERBS: Mapping[str, str] = {
    "completion": "Print the script that completes commands in a shell",
    "help": "Explain a command",
    "info": "Show the Kitfile of a modelkit",
    "init": "Write a Kitfile for the files of a directory",
    "initializer": "Fetch models into directories, as KServe's storage initializer does",
    "inspect": "Show the manifest of a modelkit",
    "list": "List modelkits, here or in a registry",
    "login": "Log in to a registry",
    "logout": "Forget a registry's credentials",
    "pack": "Pack a directory into a modelkit",
    "pull": "Copy a modelkit from a registry to this machine",
    "push": "Copy a modelkit, or pack a directory, to a registry",
    "registry": "Serve a registry from a directory",
    "remove": "Remove a modelkit from this machine or from a registry",
    "run": "Run an InferenceService on this machine",
    "tag": "Give a modelkit another name",
    "unpack": "Write the files of a modelkit to a directory",
    "version": "Show this program's version",
}
HIDDEN = {"__complete": "complete"}

_NOBODY_READS = 128 + signal.SIGPIPE


class Family(click.Group):
    """A group whose commands are imported when they are used: `MODULE:command` by name."""

    def __init__(
        self, name: str, verbs: Mapping[str, str], *, prefix: str = "", short: str = "", long: str = ""
    ) -> None:
        super().__init__(
            name,
            params=[_option(flag) for flag in (*GLOBAL_FLAGS, HELP)],
            callback=_take_flags,
            help=long,
            short_help=short,
            no_args_is_help=False,
            invoke_without_command=True,
            add_help_option=False,
        )
        self.verbs, self.prefix, self.long, self.short = verbs, prefix, long, short

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click asks so
        """The names that help shows."""
        return sorted(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click asks so
        """Imports a verb's module and takes its `command`."""
        if cmd_name in self.verbs:
            module = f"kitcar.cli.{self.prefix}{cmd_name}"
        elif not self.prefix and cmd_name in HIDDEN:
            module = f"kitcar.cli.{HIDDEN[cmd_name]}"
        else:
            return None
        command: click.Command = importlib.import_module(module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the verb.

        Raises:
            click.NoSuchCommand: there is none of that name.
        """
        command = self.get_command(ctx, args[0])
        if command is None:
            raise click.UsageError(fault.unknown_command(args[0], ctx.command_path, self.verbs), ctx)
        return args[0], command, args[1:]

    def get_help(self, ctx: click.Context) -> str:
        """The list of commands."""
        long = f"\n\nDescription:\n  {self.long}" if self.long else ""
        return f"{self.short}{long}\n{self.get_usage(ctx)}"

    def get_usage(self, ctx: click.Context) -> str:
        """Commands and flags."""
        width = max(len(name) for name in self.verbs) + 2
        commands = "\n".join(f"  {name.ljust(width)}{self.verbs[name]}" for name in self.list_commands(ctx))
        flags = "\n".join(usage_lines((*GLOBAL_FLAGS, HELP)))
        return (
            f"\nUsage:\n  {ctx.command_path} [command]\n\nAvailable Commands:\n{commands}\n\nFlags:\n{flags}\n\n"
            f'Use "{ctx.command_path} [command] --help" for more information about a command.'
        )


def application() -> Family:
    """The whole command line as one click group."""
    return Family(
        "kitcar",
        VERBS,
        short="From a trained model to the server that answers with it",
        long="kitcar packs models into ModelKits, moves them through registries and puts them where servers read them.",
    )


def run(arguments: Sequence[str], around: Surroundings, command: Family | None = None) -> int:
    """Runs one command line of `command`, by default the whole application; gives the exit code.

    It is 0, 1 for a fault, 130 when interrupted and 141 when nobody reads what is printed.
    """
    session = Session.start(around)
    context: click.Context | None = None
    try:
        command = command or application()
        with command.make_context("kitcar", list(arguments), obj=session) as context:
            command.invoke(context)
        around.stdout.flush()
    except click.exceptions.Exit as end:
        return _flushed(around, end.exit_code)
    except BrokenPipeError:
        _silence(around)
        return _NOBODY_READS
    except (KeyboardInterrupt, click.Abort):
        return CODE
    except click.UsageError as error:
        fault.report_usage(session.console, error)
        return 1
    except Exception as error:  # noqa: BLE001  the edge: whatever it is, people get a sentence and an exit code
        console = context.obj.console if context is not None else session.console
        fault.report(console, error)
        return _flushed(around, 1)
    return 0


@click.pass_context
def _take_flags(ctx: click.Context, /, **given: Any) -> None:
    flags = GlobalFlags(
        given["config"] or "", given["log_level"] or "", given["progress"] or "", int(given["verbose"] or 0)
    )
    ctx.obj = ctx.find_root().obj = ctx.ensure_object(Session).with_flags(flags)
    if given["help"] or ctx.invoked_subcommand is None:
        ctx.ensure_object(Session).console.write(ctx.get_help() + "\n")
        ctx.exit()


def _option(flag: Any) -> click.Option:
    names = [f"--{flag.name}"] + ([f"-{flag.short}"] if flag.short else [])
    return click.Option(names, help=flag.help, count=flag.kind is Kind.COUNT, is_flag=flag.kind is Kind.SWITCH or None)


def _flushed(around: Surroundings, code: int) -> int:
    try:
        around.stdout.flush()
    except BrokenPipeError:
        _silence(around)
        return _NOBODY_READS
    return code


def _silence(around: Surroundings) -> None:
    """Lets the interpreter's last flush of a pipe nobody reads go nowhere."""
    try:
        descriptor = around.stdout.fileno()
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
