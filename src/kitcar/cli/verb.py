"""A verb of the command line: a click command that parses flags as `flag` says and lays its help out as kit does."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from kitcar.cli.interrupt import prompt_interrupts
from kitcar.cli.session import GlobalFlags, Session
from kitcar.flags.flag import Call, Flag, FlagError, parse, usage_lines
from kitcar.flags.general import GLOBAL_FLAGS, HELP

Body = Callable[[Session, Call], None]


@dataclass(frozen=True, slots=True)
class Arity:
    """How many arguments a verb takes; `check` may know better."""

    least: int = 0
    most: int | None = None
    check: Callable[[Call], str | None] = field(default=lambda _: None)

    def fault(self, call: Call) -> str | None:
        """What is wrong with the number of arguments, or None."""
        count = len(call.arguments)
        if self.least == self.most != count:
            return f"accepts {self.least} arg(s), received {count}"
        if self.most is not None and not self.least <= count <= self.most:
            between = f"between {self.least} and {self.most}" if self.least else f"at most {self.most}"
            return f"accepts {between} arg(s), received {count}"
        if self.most is None and count < self.least:
            return f"requires at least {self.least} arg(s), only received {count}"
        return self.check(call)


def exactly(count: int) -> Arity:
    """So many arguments, no fewer and no more."""
    return Arity(count, count)


@dataclass(frozen=True, slots=True)
class Usage:
    """What help says of a verb: its line behind the command's name, and texts whose indent is dropped."""

    line: str
    short: str
    long: str = ""
    examples: str = ""


class Verb(click.Command):
    """A command with kit's flags and help; its body gets the session and the parsed call."""

    def __init__(
        self, name: str, body: Body, usage: Usage, flags: Sequence[Flag], arity: Arity, *, patient: bool = False
    ) -> None:
        super().__init__(name, help=usage.long, short_help=usage.short, add_help_option=False)
        self.usage, self.flags, self.arity, self.body, self.patient = usage, tuple(flags), arity, body, patient

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses with `flag.parse`; prints help when asked for.

        Raises:
            click.UsageError: the flags or the number of arguments are wrong.
        """
        try:
            call = parse((*self.flags, HELP, *GLOBAL_FLAGS), args)
        except FlagError as error:
            raise click.UsageError(str(error), ctx) from error
        if call.on("help"):
            session = ctx.find_object(Session)
            text = self.get_help(ctx) + "\n"
            session.console.write(text) if session else click.echo(text, nl=False)
            ctx.exit()
        if fault := self.arity.fault(call):
            raise click.UsageError(fault, ctx)
        ctx.params["call"] = call
        return []

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the body under the flags given before and behind the verb."""
        call: Call = ctx.params["call"]
        root = ctx.find_root()
        root.obj = ctx.ensure_object(Session).with_flags(
            GlobalFlags(call.text("config"), call.text("log-level"), call.text("progress"), call.number("verbose"))
        )
        if self.patient:
            return self.body(root.obj, call)
        with prompt_interrupts(root.obj.console.err):
            return self.body(root.obj, call)

    def get_help(self, ctx: click.Context) -> str:
        """The whole help."""
        long = f"\n\nDescription:\n{_indented(self.usage.long)}\n" if self.usage.long else "\n"
        return self.usage.short + long + self.get_usage(ctx)

    def get_usage(self, ctx: click.Context) -> str:
        """Usage, examples and flags: what is also shown below a wrong command line."""
        examples = f"\n\nExamples:\n{_indented(self.usage.examples)}" if self.usage.examples else ""
        flags = "\n".join(usage_lines((*self.flags, HELP)))
        shared = "\n".join(usage_lines(GLOBAL_FLAGS))
        line = f"{ctx.command_path} {self.usage.line}".rstrip()
        return f"\nUsage:\n  {line}{examples}\n\nFlags:\n{flags}\n\nGlobal Flags:\n{shared}"


def verb(
    name: str, usage: Usage, *, flags: Sequence[Flag] = (), takes: Arity, patient: bool = False
) -> Callable[[Body], Verb]:
    """Makes a function of a session and a call into a command; a `patient` one ends only when it has tidied up."""

    def wrap(body: Body) -> Verb:
        return Verb(name, body, usage, flags, takes, patient=patient)

    return wrap


def _indented(text: str) -> str:
    lines = textwrap.dedent(text).strip("\n").splitlines()
    return "\n".join(f"  {line}".rstrip() for line in lines)
