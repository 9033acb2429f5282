"""`kitcar init`: a first Kitfile for a directory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.cli.fault import failing
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.errors import ExistsError, InvalidError, KitcarError, UnsupportedError
from kitcar.flags.flag import Call, Flag, Kind

if TYPE_CHECKING:
    from kitcar.modelkit.kitfile import Package

_MODE = 0o644
_STDOUT = "-"
_FLAGS = (
    Flag("name", "Name of the modelkit"),
    Flag("desc", "What the modelkit is, in a sentence"),
    Flag("author", "Who made it"),
    Flag("force", "Replace a Kitfile that is there", Kind.SWITCH, short="f"),
    Flag("remote", "Look at a Hugging Face repository; not supported yet", Kind.SWITCH),
    Flag("ref", "Branch or tag of the remote repository", default="main"),
    Flag("token", "Token for the remote repository"),
    Flag("output", "Where to write the Kitfile; - is standard output (default: into the directory)", short="o"),
    Flag(
        "depth",
        "How many levels of directories are looked at file by file; all of them if negative",
        Kind.NUMBER,
        default=0,
    ),
)
_USAGE = Usage(
    "[flags] PATH",
    "Write a Kitfile for the files of a directory",
    """
    Looks at the names of a directory's files and writes a Kitfile that says which of them are model, data, documents,
    prompts and code. A directory below is one entry if all in it is of one kind. What cannot be told is code.

    On a terminal, name, description and author are asked for where they are not given.
    """,
    """
    # For this directory
    kitcar init .

    # With a name, replacing what is there
    kitcar init ./iris --name iris --desc "Which iris is it" --force

    # Only to look at it
    kitcar init ./iris -o -
    """,
)


@verb("init", _USAGE, flags=_FLAGS, takes=exactly(1))
def command(session: Session, call: Call) -> None:
    """Writes the Kitfile."""
    from kitcar.modelkit.init.generate import init

    directory = Path(call.arguments[0])
    with failing("Invalid arguments"):
        _check(call)
        package = _package(session, call)
    output = call.text("output") or str(directory / "Kitfile")
    with failing("Error processing directory"):
        kitfile = init(directory, package=package, depth=call.number("depth"))
    for warning in kitfile.warnings:
        session.console.warn(warning)
    text = kitfile.to_yaml()
    shown = text.decode("utf-8", "surrogateescape")
    if output == _STDOUT:
        session.console.write(shown)
        return
    write_new(Path(output), text, replace=call.on("force"))
    session.console.info(f"Generated Kitfile:\n\n{shown}")
    session.console.info(f"Saved to path '{output}'")


def write_new(path: Path, content: bytes, *, replace: bool) -> None:
    """Writes a whole file or none, and leaves an existing one alone unless `replace` says otherwise.

    Raises:
        ExistsError: there is a file.
        KitcarError: it cannot be written.
    """
    if path.exists() and not replace:
        raise ExistsError(f"Kitfile already exists at {path}. Use '--force' to overwrite")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), _MODE)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise KitcarError(f"Failed to write Kitfile: {path}: {error.strerror}") from error


def _check(call: Call) -> None:
    if call.on("remote"):
        raise UnsupportedError(
            "remote repositories are not supported by this version of kitcar",
            hint="download the repository, then run init on it",
        )
    for name in ("ref", "token"):
        if name in call.given:
            raise InvalidError(f"--{name} requires --remote")


def _package(session: Session, call: Call) -> Package:
    from kitcar.modelkit.kitfile import Package

    name, description, author = call.text("name"), call.text("desc"), call.text("author")
    if session.stdin.isatty():
        name = name or session.ask("Enter a name for the ModelKit: ")
        description = description or session.ask("Enter a short description for the ModelKit: ")
        author = author or session.ask("Enter an author for the ModelKit: ")
    return Package(name=name, description=description, authors=(author,) if author else ())
