"""A part's files while they are not shown: staged beside their place, compared with what is there, moved when verified."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from kitcar.errors import ExistsError, UnsafePathError
from kitcar.files.directories import Directories, link_error, refuse_obstacle
from kitcar.files.journal import Journal, write_at
from kitcar.files.paths import join, parent, shown

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REOPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1024 * 1024
TREE = "tree"


class Existing(enum.Enum):
    """What becomes of a file that exists with other content; the same content is always fine."""

    FAIL = "fail"
    REPLACE = "replace"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Terms:
    """How files are written: `umask` is the process's, `durable` lasts through a power cut, `fds` bounds open directories."""

    existing: Existing = Existing.FAIL
    umask: int = 0o022
    durable: bool = False
    fds: int = 32


@dataclass(slots=True)
class _Current:
    """The file being written, or (`borrowed`) compared with what is at its place; `on_disk` bytes of it are there."""

    descriptor: int
    path: str
    mode: int
    on_disk: int
    borrowed: bool
    position: int = 0


class Draft:
    """The unfinished files of one part; for one thread.

    Call `directory` or `begin`, `write` …, `end` for each entry, then `publish` once all bytes are verified. In a `resumed`
    draft files that an earlier run left are taken up: `held` gives the bytes of the current file that are on disk.
    """

    def __init__(self, stage: int, target: int, terms: Terms, *, resumed: bool) -> None:
        self._terms, self._resumed = terms, resumed
        self.journal = Journal(stage)
        with contextlib.suppress(FileExistsError):
            os.mkdir(TREE, 0o700, dir_fd=stage)
        root = os.open(TREE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stage)
        self._tree = Directories(root, terms.fds)
        self._target = Directories(target, terms.fds)
        self._absent: str | None = None
        self._file: _Current | None = None
        self._restricted: dict[str, int] = {}
        self.files = 0
        """Files that were begun."""
        self.kept = 0
        """Files that exist with other content and stay (`Existing.KEEP`)."""
        self.speculated = False
        """Whether bytes were taken from disk that only the digest of the whole part can confirm."""

    def directory(self, path: str, mode: int) -> None:
        """Takes a directory.

        Raises:
            UnsafePathError: a link is at its place, or above it.
            ExistsError: something is there that is no directory.
        """
        if path == ".":
            return
        self._target.find(path)
        above, name = self._tree.make(parent(path)), path.rpartition("/")[2]
        final = mode & ~self._terms.umask
        try:
            os.mkdir(name, mode | 0o700, dir_fd=above)
        except FileExistsError:
            if self._tree.find(path) is not None:
                os.chmod(name, final | 0o700, dir_fd=above)
        if final & 0o700 != 0o700:
            self._restricted[path] = final

    def begin(self, path: str, mode: int, size: int) -> None:
        """Takes a file of `size` bytes (-1: not known); `write` and `end` follow.

        Raises:
            ExistsError: something else is at its place, and may not be replaced.
            UnsafePathError: a link is at its place or above it, or the part has the file twice.
        """
        self.files += 1
        if self._resumed and self._take_up(path, mode, size):
            return
        found = self._at_target(path)
        if found is None:
            self._file = self._create(path, mode)
            return
        above, state = found
        if self._differs(state, path, size):
            self._file = self._supersede(path, mode)
            return
        try:
            descriptor = os.open(path.rpartition("/")[2], _READ, dir_fd=above)
        except PermissionError:
            self._file = self._supersede(path, mode)
            return
        self._file = _Current(descriptor, path, mode, state.st_size, borrowed=True)

    def write(self, view: memoryview) -> None:
        """Takes the file's next bytes.

        Raises:
            ExistsError: they differ from the file that is there and may not be replaced.
        """
        file = self._file
        if file is None:
            return
        if not file.borrowed:
            write_at(file.descriptor, view, file.position)
        elif os.pread(file.descriptor, len(view), file.position) != bytes(view):
            self._file = None
            self._file = self._diverge(file, view)
            return
        file.position += len(view)

    def end(self) -> None:
        """Ends the file.

        Raises:
            ExistsError: the file that is there is longer and may not be replaced.
        """
        file, self._file = self._file, None
        if file is not None and file.borrowed and file.position < file.on_disk:
            file = self._diverge(file, memoryview(b""))
        if file is not None:
            os.close(file.descriptor)

    @property
    def reusable(self) -> int:
        """Bytes of the current file, after those it was given, that are on disk already and may be right."""
        return max(0, self._file.on_disk - self._file.position) if self._file else 0

    def held(self) -> Iterator[memoryview]:
        """The `reusable` bytes, which then count as given; each view is valid until the next."""
        file = self._file
        if file is None:
            return
        buffer = memoryview(bytearray(min(_PIECE, max(1, file.on_disk - file.position))))
        while file.position < file.on_disk:
            room = min(len(buffer), file.on_disk - file.position)
            count = os.preadv(file.descriptor, [buffer[:room]], file.position)
            if not count:
                break
            file.position += count
            self.speculated = True
            yield buffer[:count]

    def replaying(self) -> Iterator[bytes]:
        """The headers that an earlier run wrote to its journal, for the caller to take again."""
        for record in self.journal.records():
            self.speculated = True
            yield record

    def publish(self) -> None:
        """Moves everything to its place: a directory that is not there yet as a whole, files one by one elsewhere.

        Raises:
            ExistsError, UnsafePathError: something came there in the meantime that may not be replaced.
        """
        restricted = {path: mode for path, mode in self._restricted.items() if self._target.find(path) is None}
        self._target.close()
        self._merge(self._tree.root, self._target.root, ".")
        for path in sorted(restricted, reverse=True):
            found = self._target.find(path)
            if found is not None:
                os.fchmod(found, restricted[path])

    def close(self) -> None:
        """Closes what is open; staged files stay for a later run."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file.descriptor)
        self.journal.close()
        self._tree.close()
        self._target.close()
        os.close(self._tree.root)

    def _take_up(self, path: str, mode: int, size: int) -> bool:
        """Whether an earlier run's unfinished file was opened, to be written on."""
        above, name = self._tree.find(parent(path)), path.rpartition("/")[2]
        if above is None:
            return False
        try:
            descriptor = os.open(name, _REOPEN, dir_fd=above)
        except FileNotFoundError:
            return False
        except PermissionError:
            os.unlink(name, dir_fd=above)
            return False
        on_disk = os.fstat(descriptor).st_size
        if on_disk > size:
            os.ftruncate(descriptor, 0)
            on_disk = 0
        self._file = _Current(descriptor, path, mode, on_disk, borrowed=False)
        return True

    def _at_target(self, path: str) -> tuple[int, os.stat_result] | None:
        """What is at the file's place: its directory and state; a link's state is the link's own."""
        directory, _, name = path.rpartition("/")
        if self._absent == directory:
            return None
        above = self._target.find(directory or ".")
        if above is None:
            self._absent = directory
            return None
        try:
            return above, os.stat(name, dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _differs(self, state: os.stat_result, path: str, size: int) -> bool:
        """Whether what is there is surely other than a file of `size` bytes; raises where that must not be."""
        existing, kind = self._terms.existing, state.st_mode
        if stat.S_ISLNK(kind):
            raise link_error(path)
        if stat.S_ISREG(kind) and size in (-1, state.st_size):
            return False
        if existing is Existing.FAIL:
            raise exists_error(path)
        if existing is Existing.REPLACE and not stat.S_ISREG(kind):
            raise not_regular_error(path)
        return True

    def _create(self, path: str, mode: int) -> _Current:
        above, name = self._tree.make(parent(path)), path.rpartition("/")[2]
        try:
            descriptor = os.open(name, _CREATE, mode, dir_fd=above)
        except FileExistsError:
            if not self._resumed:
                raise UnsafePathError(f"'{shown(path)}' is in its layer twice") from None
            # The earlier run made it after it last wrote its journal.
            os.unlink(name, dir_fd=above)
            descriptor = os.open(name, _CREATE, mode, dir_fd=above)
        return _Current(descriptor, path, mode, 0, borrowed=False)

    def _supersede(self, path: str, mode: int) -> _Current | None:
        """A new file for the one that differs, None if that one stays; raises if neither may be."""
        existing = self._terms.existing
        if existing is Existing.FAIL:
            raise exists_error(path)
        if existing is Existing.REPLACE:
            return self._create(path, mode)
        self.kept += 1
        return None

    def _diverge(self, file: _Current, view: memoryview) -> _Current | None:
        """Takes `view`, in which the borrowed file shows to differ from the one that arrives."""
        fresh = None
        try:
            fresh = self._supersede(file.path, file.mode)
            if fresh is None:
                return None
            while fresh.position < file.position:
                piece = os.pread(file.descriptor, min(_PIECE, file.position - fresh.position), fresh.position)
                if not piece:
                    raise ExistsError(f"path '{shown(file.path)}' changed while it was compared")
                write_at(fresh.descriptor, memoryview(piece), fresh.position)
                fresh.position += len(piece)
            write_at(fresh.descriptor, view, fresh.position)
            fresh.position += len(view)
            return fresh
        except BaseException:
            if fresh is not None:
                os.close(fresh.descriptor)
            raise
        finally:
            os.close(file.descriptor)

    def _merge(self, source: int, target: int, path: str) -> None:
        with os.scandir(source) as listing:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
        for name, is_directory in entries:
            here = join(path, name)
            try:
                state = os.stat(name, dir_fd=target, follow_symlinks=False)
            except FileNotFoundError:
                self._place(source, target, here, is_directory=is_directory)
                continue
            if is_directory:
                self._merge_directory(source, target, name, here)
            else:
                self._merge_file(source, target, here, state)

    def _place(self, source: int, target: int, path: str, *, is_directory: bool) -> None:
        """Moves what is staged; where another file system is mounted below the destination, file by file."""
        name = path.rpartition("/")[2]
        try:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            if not is_directory:
                _copy(source, target, name)
                return
            mode = stat.S_IMODE(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode)
            os.mkdir(name, mode, dir_fd=target)
            self._merge_directory(source, target, name, path)

    def _merge_directory(self, source: int, target: int, name: str, path: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        below = os.open(name, flags, dir_fd=source)
        try:
            try:
                there = os.open(name, flags, dir_fd=target)
            except OSError as error:
                refuse_obstacle(target, name, path, error)
                raise
            try:
                self._merge(below, there, path)
            finally:
                os.close(there)
        finally:
            os.close(below)

    def _merge_file(self, source: int, target: int, path: str, state: os.stat_result) -> None:
        name = path.rpartition("/")[2]
        if stat.S_ISLNK(state.st_mode):
            raise link_error(path)
        existing = self._terms.existing
        if existing is Existing.KEEP:
            self.kept += 1
        elif not stat.S_ISREG(state.st_mode):
            raise not_regular_error(path)
        elif existing is Existing.REPLACE:
            self._place(source, target, path, is_directory=False)
        elif not _same(source, target, name):
            raise exists_error(path)


def exists_error(path: str) -> ExistsError:
    """What is raised for a file that exists and may not be replaced; the sentence is kit's."""
    return ExistsError(
        f"path '{shown(path)}' already exists",
        hint="it has other content; overwrite it (--overwrite), keep it (--ignore-existing), or unpack elsewhere",
    )


def not_regular_error(path: str) -> ExistsError:
    """What is raised for something that is never replaced; the sentence is kit's."""
    return ExistsError(
        f"path '{shown(path)}' already exists and is not a regular file", hint="move it away, or unpack elsewhere"
    )


def _copy(source: int, target: int, name: str) -> None:
    """Copies a file between directories of two file systems; it is shown whole."""
    unfinished = f".kitcar-{secrets.token_hex(8)}"
    ours = os.open(name, _READ, dir_fd=source)
    try:
        mode = stat.S_IMODE(os.fstat(ours).st_mode)
        theirs = os.open(unfinished, _CREATE, mode, dir_fd=target)
        try:
            at = 0
            while piece := os.pread(ours, _PIECE, at):
                write_at(theirs, memoryview(piece), at)
                at += len(piece)
            os.fchmod(theirs, mode)
        finally:
            os.close(theirs)
        os.rename(unfinished, name, src_dir_fd=target, dst_dir_fd=target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=target)
        raise
    finally:
        os.close(ours)


def _same(source: int, target: int, name: str) -> bool:
    """Whether two directories hold files of the same content under `name`."""
    ours = os.open(name, _READ, dir_fd=source)
    try:
        theirs = os.open(name, _READ, dir_fd=target)
        try:
            at = 0
            while (piece := os.pread(ours, _PIECE, at)) == os.pread(theirs, _PIECE, at):
                if not piece:
                    return True
                at += len(piece)
            return False
        finally:
            os.close(theirs)
    finally:
        os.close(ours)
