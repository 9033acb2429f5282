"""Directories below an open one, reached step by step without following a link, and kept open as long as there is room."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import OrderedDict

from kitcar.errors import ExistsError, UnsafePathError
from kitcar.files.paths import parent, shown

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """Open directories by clean path below `root`, at most `limit` of them; for one thread."""

    def __init__(self, root: int, limit: int = 32) -> None:
        self.root = root
        self._limit = max(4, limit)
        self._open: OrderedDict[str, int] = OrderedDict()

    def find(self, path: str) -> int | None:
        """The directory at `path`, None if there is nothing; valid until the next call.

        Raises:
            UnsafePathError: a link stands in the way.
            ExistsError: something else that is no directory does.
        """
        return self._reach(path, create=False)

    def make(self, path: str) -> int:
        """The directory at `path`, made with the directories above it where missing; valid until the next call.

        Raises:
            UnsafePathError, ExistsError: see `find`.
        """
        found = self._reach(path, create=True)
        assert found is not None
        return found

    def close(self) -> None:
        """Closes all but the root."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _reach(self, path: str, *, create: bool) -> int | None:
        if path == ".":
            return self.root
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        # Paths are at most paths.MAX_DEPTH deep.
        above = self._reach(parent(path), create=create)
        if above is None:
            return None
        name = path.rpartition("/")[2]
        opened = self._step(above, name, path, create=create)
        if opened is not None:
            self._open[path] = opened
            if len(self._open) > self._limit:
                os.close(self._open.popitem(last=False)[1])
        return opened

    def _step(self, above: int, name: str, path: str, *, create: bool) -> int | None:
        try:
            return os.open(name, _FLAGS, dir_fd=above)
        except FileNotFoundError:
            if not create:
                return None
        except OSError as error:
            refuse_obstacle(above, name, path, error)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=above)
        return self._step(above, name, path, create=False)


def refuse_obstacle(above: int, name: str, path: str, error: OSError) -> None:
    """Says what stands at `name` in place of a directory; `error` again if that is not the trouble.

    Raises:
        UnsafePathError: a link.
        ExistsError: another kind of file.
        OSError: `error`.
    """
    try:
        mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
    except OSError:
        raise error from None
    if stat.S_ISLNK(mode):
        raise link_error(path) from error
    if not stat.S_ISDIR(mode):
        raise ExistsError(
            f"path '{shown(path)}' already exists and is not a directory", hint="move it away, or unpack elsewhere"
        ) from error
    raise error


def link_error(path: str) -> UnsafePathError:
    """What is raised for a link in the destination, wherever it points."""
    return UnsafePathError(
        f"path '{shown(path)}' is a symbolic link, and nothing is written through links",
        hint="remove the link, or unpack into another directory",
    )
