"""A directory tree as it is now: each directory listed once, in Go's lexical order, links resolved and judged.

A link counts as what it points to, if that lies inside the tree, or among the blobs of the Hugging Face cache repository
whose snapshot the tree is (`<repository>/snapshots/<revision>/… -> <repository>/blobs/…`). Everything else that is neither
file nor directory is listed as refused, with the reason: who walks the tree decides whether it matters.
"""

from __future__ import annotations

import contextlib
import enum
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kitcar.errors import KitcarError, NotFoundError, UnsafePathError

ROOT = "."

_HUB_REPOSITORY = re.compile(r"(?:models|datasets|spaces)--.+")
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Kind(enum.Enum):
    """What an entry is, links followed."""

    FILE = "file"
    DIRECTORY = "directory"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the tree.

    `path` is relative to the root with `/` between components; bytes that are no UTF-8 are kept as surrogates
    (`os.fsencode` gives them back). `mode` has the permission, setuid, setgid and sticky bits; `changed` is the time of the
    last modification in ns. A refused entry has a `reason`.
    """

    path: str
    kind: Kind
    size: int = 0
    mode: int = 0
    changed: int = 0
    reason: str = ""

    @property
    def name(self) -> str:
        """The last component."""
        return self.path.rpartition("/")[2]


class Tree:
    """The directory `root` and what is below it; not for several threads at once."""

    def __init__(self, root: Path | str) -> None:
        """Takes the directory, which may itself be a link.

        Raises:
            NotFoundError: it does not exist.
            KitcarError: it is no directory, or cannot be read.
        """
        with reading(str(root)):
            real = os.path.realpath(root, strict=True)
            if not stat.S_ISDIR(Path(real).stat().st_mode):
                raise NotADirectoryError(20, os.strerror(20), str(root))
        self.root = real
        self._blobs = _hub_blobs(real)
        self._listed: dict[str, tuple[Entry, ...]] = {}
        # For each directory: where it really is, and where each linked directory on the way to it really is.
        self._reals: dict[str, tuple[str, ...]] = {ROOT: (real,)}

    def absolute(self, path: str) -> str:
        """Where to open `path` of this tree."""
        return self.root if path == ROOT else f"{self.root}/{path}"

    def find(self, path: str) -> Entry:
        """The entry at a clean relative path.

        Raises:
            NotFoundError: there is nothing.
            UnsafePathError: the path is absolute or climbs out of the tree, or a link on the way is refused.
            KitcarError: a directory on the way cannot be read.
        """
        if path.startswith("/") or ".." in path.split("/"):
            raise UnsafePathError(
                f"{path} is outside of the directory", hint="paths are relative to the directory and stay inside it"
            )
        entry = self._top()
        for part in () if path == ROOT else path.split("/"):
            entry = self._child(entry, part)
        return entry

    def children(self, directory: Entry) -> tuple[Entry, ...]:
        """What is in a directory, ordered by the bytes of the names.

        Raises:
            KitcarError: it cannot be read.
        """
        listed = self._listed.get(directory.path)
        if listed is None:
            entries = []
            with reading(directory.path), os.scandir(self.absolute(directory.path)) as found:
                for item in found:
                    # What is removed while it is listed was not there.
                    with contextlib.suppress(FileNotFoundError):
                        entries.append(self._entry(directory.path, item.name, item.stat(follow_symlinks=False)))
            listed = tuple(sorted(entries, key=lambda entry: os.fsencode(entry.path)))
            self._listed[directory.path] = listed
        return listed

    def _top(self) -> Entry:
        with reading(self.root):
            return _from_stat(ROOT, Path(self.root).stat())

    def _child(self, directory: Entry, name: str) -> Entry:
        path = name if directory.path == ROOT else f"{directory.path}/{name}"
        if directory.kind is not Kind.DIRECTORY:
            raise NotFoundError(f"path {path} does not exist")
        with reading(path):
            found = self._entry(directory.path, name, os.lstat(self.absolute(path)))
        if found.kind is Kind.REFUSED:
            raise UnsafePathError(
                found.reason, hint="replace it by what it stands for, or take it out of the directory"
            )
        return found

    def _entry(self, parent: str, name: str, found: os.stat_result) -> Entry:
        path = name if parent == ROOT else f"{parent}/{name}"
        above = self._reals[parent]
        if stat.S_ISLNK(found.st_mode):
            return self._linked(path, above)
        entry = _from_stat(path, found)
        if entry.kind is Kind.DIRECTORY:
            self._reals[path] = (*above[:-1], f"{above[-1]}/{name}")
        return entry

    def _linked(self, path: str, above: tuple[str, ...]) -> Entry:
        link = self.absolute(path)
        shown = f"{path} is a link to {Path(link).readlink()}"
        try:
            real = os.path.realpath(link, strict=True)
            found = Path(real).stat()
        except FileNotFoundError:
            return Entry(path, Kind.REFUSED, reason=f"{shown}, which does not exist")
        except OSError as error:
            return Entry(path, Kind.REFUSED, reason=f"{shown}: {error.strerror}")
        if not self._admits(real):
            return Entry(path, Kind.REFUSED, reason=f"{shown}, outside of the directory")
        if stat.S_ISDIR(found.st_mode):
            if any(_within(step, real) for step in above):
                return Entry(path, Kind.REFUSED, reason=f"{shown}, a directory that it is in itself")
            self._reals[path] = (*above, real)
        return _from_stat(path, found)

    def _admits(self, real: str) -> bool:
        return _within(real, self.root) or (self._blobs is not None and real.rpartition("/")[0] == self._blobs)


def unreadable(what: str, error: OSError) -> KitcarError:
    """What to raise in place of the operating system's error about a file that is read."""
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"path {what} does not exist")
    hint = "check who owns it and who may read it" if isinstance(error, PermissionError) else None
    return KitcarError(f"cannot read {what}: {(error.strerror or str(error)).lower()}", hint=hint)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Maps the operating system's errors about files that are read.

    Raises:
        NotFoundError: the file does not exist.
        KitcarError: it cannot be read; the reason is the system's.
    """
    try:
        yield
    except OSError as error:
        raise unreadable(what, error) from error


def _from_stat(path: str, found: os.stat_result) -> Entry:
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return Entry(path, Kind.FILE, found.st_size, stat.S_IMODE(mode), found.st_mtime_ns)
    if stat.S_ISDIR(mode):
        return Entry(path, Kind.DIRECTORY, 0, stat.S_IMODE(mode), found.st_mtime_ns)
    what = _SPECIAL.get(stat.S_IFMT(mode), "neither a file nor a directory")
    return Entry(path, Kind.REFUSED, reason=f"{path} is {what}")


def _hub_blobs(root: str) -> str | None:
    """The blobs directory of the Hugging Face cache repository in whose snapshot `root` is."""
    parts = root.split("/")
    for at in range(2, len(parts) - 1):
        if parts[at] == "snapshots" and _HUB_REPOSITORY.fullmatch(parts[at - 1]):
            return "/".join((*parts[:at], "blobs"))
    return None


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
