"""Names that came from elsewhere, as safe paths below a directory. Pure functions of text; no file is looked at."""

from __future__ import annotations

from dataclasses import dataclass

from kitcar.errors import UnsafePathError

RESERVED = ".kitcar-staging"
"""The name of the directory that unfinished files lie in; nothing else may have it at the top of a destination."""

MAX_LENGTH = 4095
MAX_DEPTH = 128
"""Bytes and levels of a path; Linux takes no longer path at once, and no model is nested as deep."""

_DOTS = frozenset(("", ".", ".."))
_HOSTILE = "the artifact is malformed or hostile; nothing of it is used"


def clean(name: str) -> str:
    """The relative path a foreign name stands for, without `./`, doubled and final slashes; `.` for the directory itself.

    Raises:
        UnsafePathError: the name is empty, absolute, too long or too deep, holds `..` or a NUL, or is the reserved one.
    """
    if not name or name[0] == "/" or "\0" in name:
        raise UnsafePathError(f"'{shown(name)}' is not a relative path", hint=_HOSTILE)
    parts = name.split("/")
    if not _DOTS.isdisjoint(parts):
        if ".." in parts:
            raise UnsafePathError(f"'{shown(name)}' leaves its directory", hint=_HOSTILE)
        parts = [part for part in parts if part not in _DOTS]
    if len(parts) > MAX_DEPTH or _length(name) > MAX_LENGTH:
        raise UnsafePathError(f"'{shown(name[:64])}…' is too long or nested too deep", hint=_HOSTILE)
    # A file system may take upper and lower case for the same.
    if parts and parts[0][0] == "." and parts[0].casefold() == RESERVED:
        raise UnsafePathError(f"'{shown(name)}' is reserved for files that are not finished")
    return "/".join(parts) or "."


def _length(name: str) -> int:
    if name.isascii():
        return len(name)
    try:
        return len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as error:
        raise UnsafePathError(f"'{shown(name)}' is no text that a path can be", hint=_HOSTILE) from error


def join(base: str, path: str) -> str:
    """The clean path `path` below the clean path `base`."""
    if base == ".":
        return path
    return base if path == "." else f"{base}/{path}"


def parent(path: str) -> str:
    """The directory a clean path lies in, `.` for the top."""
    return path.rpartition("/")[0] or "."


def shown(name: str) -> str:
    """A name as it may stand in a message: control characters and broken encodings escaped, never sent to a terminal."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in name)


def below(path: str, directory: str) -> bool:
    """Whether a clean path lies below a clean directory, `.` included, by whole components."""
    return directory == "." or path.startswith(f"{directory}/")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a part may write: the file or tree at `path`, less what lies at or below the `others`; all clean paths."""

    path: str = "."
    others: tuple[str, ...] = ()

    def check_file(self, path: str) -> None:
        """Lets a file pass that is in scope.

        Raises:
            UnsafePathError: it lies outside, or where another part's files belong.
        """
        if path != self.path and not below(path, self.path):
            raise UnsafePathError(
                f"'{shown(path)}' lies outside '{shown(self.path)}', which is all its layer may write",
                hint="the layer does not hold what the Kitfile says; the artifact is malformed or hostile",
            )
        if self.others and (path in self.others or path.startswith(tuple(f"{other}/" for other in self.others))):
            raise UnsafePathError(
                f"'{shown(path)}' belongs to another entry than '{shown(self.path)}'",
                hint="two layers would write the same file; unpack one of them with a filter",
            )

    def check_directory(self, path: str) -> None:
        """Lets a directory pass that is in scope or above it.

        Raises:
            UnsafePathError: it lies outside.
        """
        if path == self.path or below(self.path, path):
            return
        if not below(path, self.path):
            raise UnsafePathError(
                f"directory '{shown(path)}' lies outside '{shown(self.path)}', which is all its layer may write",
                hint="the layer does not hold what the Kitfile says; the artifact is malformed or hostile",
            )
