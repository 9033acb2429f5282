"""What `pack` and `push DIRECTORY` share: reading the Kitfile, options, and the lines about what was stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kitcar import __version__
from kitcar.cli.progress import shown
from kitcar.cli.session import Session
from kitcar.errors import InvalidError, KitcarError, NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from kitcar.modelkit.compression import Method
    from kitcar.modelkit.kitfile import Kitfile
    from kitcar.modelkit.pack import Packed, PackTarget

VERSION = f"{__version__}+kitcar"
"""What manifests record as the version of the packing tool: ours, in the form of semantic versions."""


def read_kitfile(session: Session, context: Path, file: str) -> Kitfile:
    """The Kitfile of a directory, or `file`: `-` is standard input, a relative path is looked for in the directory first.

    Raises:
        InvalidError: it is malformed.
        NotFoundError: there is none.
    """
    from kitcar.modelkit.kitfile import Kitfile

    if file == "-":
        if session.stdin.isatty():
            raise InvalidError("No input file specified and no data piped", hint="pipe a Kitfile to standard input")
        return Kitfile.parse(session.stdin.read(), "standard input")
    path = kitfile_path(context, file)
    try:
        return Kitfile.parse(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise NotFoundError(
            f"no Kitfile at {path}", hint="--file is looked for in the directory, then in the current one"
        ) from error
    except OSError as error:
        raise KitcarError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="check who owns it and who may read it",
        ) from error


def kitfile_path(context: Path, file: str) -> Path:
    """Where the Kitfile is: the one that was named, else the one in the directory.

    Raises:
        NotFoundError: the directory has none.
    """
    from kitcar.modelkit.kitfile import find_kitfile

    if not file:
        return find_kitfile(context)
    return next((path for path in (context / file, Path(file).absolute()) if path.is_file()), context / file)


def pack_into(
    session: Session, kitfile: Kitfile, context: Path, target: PackTarget, *, method: Method, tags: tuple[str, ...]
) -> Packed:
    """Packs with this session's progress, time and version; says what the Kitfile should be warned about.

    Raises:
        KitcarError: see `modelkit.pack.pack`.
    """
    from kitcar.modelkit.pack import PackOptions, pack

    if kitfile.model and any(entry.remote for entry in kitfile.entries() if entry.kind.value == "model"):
        raise UnsupportedError(
            f"model path {kitfile.model.path} refers to another ModelKit, which kitcar does not pack yet",
            hint="unpack that ModelKit here and name its file as the model's path",
        )
    for warning in kitfile.warnings:
        session.console.warn(warning)
    created, pinned = creation_time(session.settings.environ)
    style = "none" if session.progress == "plain" else session.progress
    with shown(session.console, style, name=lambda event: event.key) as listener:
        options = PackOptions(
            compression=method, listener=listener, created=created, pinned=pinned, version=VERSION, tags=tags
        )
        packed = pack(kitfile, context, target, options)
    for warning in packed.warnings[len(kitfile.warnings) :]:
        session.console.warn(warning)
    return packed


def creation_time(environ: Mapping[str, str]) -> tuple[datetime, bool]:
    """The time a manifest records, and whether SOURCE_DATE_EPOCH asked for it.

    Raises:
        InvalidError: the variable is no number of seconds.
    """
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return datetime.now(UTC), False
    try:
        return datetime.fromtimestamp(int(text), UTC), True
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidError(f"invalid SOURCE_DATE_EPOCH {text!r}", hint="seconds since 1970, as a number") from error


def say_stored(session: Session, packed: Packed, *, new: str = "Saved", old: str = "Already saved") -> None:
    """A line for each layer, in the order of the manifest."""
    for layer in packed.layers:
        session.console.info(f"{new if layer.new else old} {layer.label} layer: {layer.descriptor.digest}")
