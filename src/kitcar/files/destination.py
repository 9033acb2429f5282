"""The only writer of model files: a directory that shows a part's files whole and verified, or not at all.

Unfinished files lie in `.kitcar-staging/` inside it, on the same file system, so that showing them is a rename. One process
at a time writes to a destination; the staging directory goes when nothing unfinished is left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from kitcar.errors import KitcarError
from kitcar.files import space
from kitcar.files.directories import Directories, link_error
from kitcar.files.draft import Draft, Terms
from kitcar.files.paths import RESERVED, parent, shown

_LOCK = "lock"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
_POLL = 0.1


class Destination:
    """A directory that parts are written to; a context manager that holds the directory's lock.

    Args:
        root: the directory, made if missing; it may itself be a link.
        terms: what becomes of existing files, and how files are written (the umask is found out here).
        wait: seconds to wait for another process that writes to `root`; None waits as long as it takes.
        waiting: called once if there is one.
    """

    def __init__(
        self,
        root: Path,
        terms: Terms | None = None,
        *,
        wait: float | None = None,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self.root = root
        self.waited = False
        """Whether another process wrote to the directory first."""
        self._terms = terms or Terms()
        self._wait, self._waiting = wait, waiting
        self._publishing = threading.Lock()

    def __enter__(self) -> Self:
        """Takes the lock.

        Raises:
            UnsafePathError: the staging directory is a link.
            KitcarError: the directory cannot be written to, or another process is at it for too long.
        """
        with mapped_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as opened:
                self._fd = _kept(opened, os.open(self.root, _DIRECTORY))
                self._lock(opened)
                self._terms = replace(self._terms, umask=self._find_umask())
                self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the staging directory if nothing unfinished is in it, and gives the lock up."""
        with contextlib.suppress(OSError):
            for name in self._left():
                if not space.used(name, self._stage):
                    self._remove(name)
            if not self._left():
                os.unlink(_LOCK, dir_fd=self._stage)
                os.rmdir(RESERVED, dir_fd=self._fd)
        self._opened.close()

    def sweep(self, keys: Collection[str]) -> None:
        """Removes what earlier runs left of parts that are none of `keys`."""
        wanted = {_folder(key) for key in keys}
        for name in self._left():
            if name not in wanted:
                self._remove(name)

    def staged(self, key: str) -> int:
        """Bytes that an earlier run left of a part."""
        return space.used(_folder(key), self._stage)

    def used(self, path: str) -> int:
        """Bytes of the files at or below the clean path `path`, as they are."""
        return space.used(path, self._fd)

    def has_file(self, path: str) -> bool:
        """Whether a regular file is at the clean path `path`.

        Raises:
            UnsafePathError, ExistsError: a link, or something that is no directory, stands above it.
        """
        directories = Directories(self._fd)
        try:
            above = directories.find(parent(path))
            if above is None:
                return False
            return stat.S_ISREG(os.stat(path.rpartition("/")[2], dir_fd=above, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False
        finally:
            directories.close()

    def require_space(self, needed: int) -> None:
        """Makes sure that `needed` bytes fit.

        Raises:
            KitcarError: they do not.
        """
        space.require(self._fd, needed, shown(str(self.root)))

    def draft(self, key: str) -> Draft:
        """The unfinished files of a part, empty or as an earlier run left them; close it when done."""
        name = _folder(key)
        resumed = False
        try:
            os.mkdir(name, 0o700, dir_fd=self._stage)
        except FileExistsError:
            resumed = True
        stage = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._stage)
        try:
            return Draft(stage, self._fd, self._terms, resumed=resumed)
        finally:
            os.close(stage)

    def discard(self, key: str) -> None:
        """Removes the unfinished files of a part."""
        self._remove(_folder(key))

    def publish(self, draft: Draft) -> None:
        """Shows the files of `draft`; one part at a time. See `Draft.publish`."""
        with self._publishing:
            if self._terms.durable:
                os.sync()
            draft.publish()
            if self._terms.durable:
                os.sync()

    def _left(self) -> list[str]:
        """What lies in the staging directory besides the lock."""
        with os.scandir(self._stage) as listing:
            return [entry.name for entry in listing if entry.name != _LOCK]

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(name, dir_fd=self._stage)

    def _lock(self, opened: contextlib.ExitStack) -> None:
        give_up = None if self._wait is None else time.monotonic() + self._wait
        while not self._try_lock(opened):
            if not self.waited:
                self.waited = True
                self._waiting()
            if give_up is not None and time.monotonic() >= give_up:
                raise KitcarError(
                    f"another process is writing to {shown(str(self.root))}",
                    hint="wait until it has finished, or choose another directory",
                    transient=True,
                )
            time.sleep(_POLL)

    def _try_lock(self, opened: contextlib.ExitStack) -> bool:
        with contextlib.suppress(FileExistsError):
            os.mkdir(RESERVED, 0o700, dir_fd=self._fd)
        with contextlib.ExitStack() as attempt:
            try:
                self._stage = _kept(attempt, os.open(RESERVED, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._fd))
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                lock = _kept(attempt, os.open(_LOCK, flags, 0o600, dir_fd=self._stage))
            except FileNotFoundError:
                return False
            except NotADirectoryError as error:
                raise link_error(RESERVED) from error
            # Who held the lock before may have removed the file, and the directory with it.
            if _flock(lock) and os.fstat(lock).st_nlink:
                opened.push(attempt.pop_all())
                return True
        return False

    def _find_umask(self) -> int:
        """The process's umask as the file system applies it; asking the process would mean to change it for a moment."""
        name = "umask"
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=self._stage)
        os.mkdir(name, 0o777, dir_fd=self._stage)
        try:
            return 0o777 & ~os.stat(name, dir_fd=self._stage).st_mode
        finally:
            os.rmdir(name, dir_fd=self._stage)


@contextlib.contextmanager
def mapped_errors(root: Path) -> Iterator[None]:
    """Lets what the operating system refuses in `root` leave as errors of kitcar.

    Raises:
        KitcarError: an `OSError` came; the hint says what to do about it.
    """
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "make room, and run the same command again",
            errno.EDQUOT: "make room, and run the same command again",
            errno.EROFS: "choose a directory that can be written to",
            errno.EACCES: "choose a directory that can be written to, or change its owner or mode",
            errno.EPERM: "choose a directory that can be written to, or change its owner or mode",
        }
        where = f" ('{shown(str(error.filename))}')" if error.filename and str(error.filename) != str(root) else ""
        reason = error.strerror or str(error)
        message = f"cannot write to {shown(str(root))}{where}: {reason[:1].lower()}{reason[1:]}"
        raise KitcarError(message, hint=hints.get(error.errno or 0)) from error


def _kept(opened: contextlib.ExitStack, descriptor: int) -> int:
    opened.callback(os.close, descriptor)
    return descriptor


def _flock(descriptor: int) -> bool:
    """Whether the lock was had; a file system that has no locks lets everybody in."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _folder(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
