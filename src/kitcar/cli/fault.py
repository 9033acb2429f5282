"""What people read when something fails: one sentence, the faults of a document, one hint, and a traceback on `-vv`."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Iterator

import click

from kitcar.cli.output import Console, Level
from kitcar.errors import IntegrityError, InvalidError, KitcarError, RegistryError

_NEAR = 2


@contextlib.contextmanager
def failing(what: str) -> Iterator[None]:
    """Puts `what` before the message of an error that leaves the block.

    Raises:
        KitcarError: of the same class with the longer message.
    """
    try:
        yield
    except KitcarError as error:
        raise _prefixed(error, f"{what}: {error.message}") from error


def _prefixed(error: KitcarError, message: str) -> KitcarError:
    match error:
        case InvalidError():
            return InvalidError(message, faults=error.faults, hint=error.hint)
        case IntegrityError():
            return IntegrityError(
                message, expected=error.expected, actual=error.actual, hint=error.hint, transient=error.transient
            )
        case RegistryError():
            return type(error)(
                message,
                status=error.status,
                code=error.code,
                hint=error.hint,
                transient=error.transient,
                retry_after=error.retry_after,
            )
    return type(error)(message, hint=error.hint, transient=error.transient)


def report(console: Console, error: BaseException) -> None:
    """Writes an error to the console."""
    message, hint = _words(error)
    console.error(message)
    if isinstance(error, InvalidError):
        for item in error.untold:
            console.note(f"  * {item}")
    if hint:
        console.note(f"Hint: {hint}")
    if console.level <= Level.TRACE:
        with console.lock:
            traceback.print_exception(error, file=console.err)


def report_usage(console: Console, error: click.UsageError) -> None:
    """Writes what is wrong with a command line, and how it should look."""
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        message = f"unknown flag: {error.option_name}"
    with console.lock:
        console.err.write(f"Error: {message}\n")
        if error.ctx is not None and not message.startswith("unknown command"):
            console.err.write(error.ctx.get_usage() + "\n\n")
        console.err.flush()


def unknown_command(name: str, path: str, known: Iterable[str]) -> str:
    """The message for a command that does not exist, with those that look like it."""
    near = [item for item in sorted(known) if item.startswith(name.lower()) or _distance(name.lower(), item) <= _NEAR]
    suggestion = "\n\nDid you mean this?\n" + "".join(f"\t{item}\n" for item in near) if near else ""
    return f'unknown command "{name}" for "{path}"{suggestion}\nRun \'{path} --help\' for usage.'


def _words(error: BaseException) -> tuple[str, str | None]:
    if isinstance(error, KitcarError):
        return error.message, error.hint
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"{(error.strerror or str(error)).lower()}{where and ':'}{where}", None
    kind = type(error).__name__
    return f"internal error: {kind}: {error}", "this is a fault of kitcar: run again with -vv and report what it shows"


def _distance(one: str, other: str) -> int:
    """Edits between two words (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
