"""Room on the disk, asked before it is spent."""

from __future__ import annotations

import os

from kitcar.errors import KitcarError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def require(directory: int, needed: int, where: str) -> None:
    """Makes sure that the file system of the open `directory` has `needed` bytes left.

    Raises:
        KitcarError: it has not.
    """
    state = os.fstatvfs(directory)
    free = state.f_bavail * state.f_frsize
    # Some network file systems tell nothing (0 blocks in all); a write will show what they have.
    if state.f_blocks and needed > free:
        raise KitcarError(
            f"{where} has {size_text(free)} left, and {size_text(needed)} are needed",
            hint="make room, or choose another directory",
        )


def size_text(size: float) -> str:
    """A number of bytes for people, as `3.4 GiB`."""
    unit = 0
    size = min(size, 1 << 80)  # more is no size, and too much for a float
    while size >= 1024 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} B" if not unit else f"{size:.1f} {_UNITS[unit]}"


def used(path: str, directory: int) -> int:
    """Bytes of all regular files at or below `path`; links are not followed, what cannot be read counts nothing."""
    try:
        entry = os.stat(path, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return 0
    if not _is_directory(entry.st_mode):
        return entry.st_size
    total = 0
    for _, _, names, opened in os.fwalk(path, dir_fd=directory, follow_symlinks=False, onerror=None):
        for name in names:
            try:
                total += os.stat(name, dir_fd=opened, follow_symlinks=False).st_size
            except OSError:
                continue
    return total


def _is_directory(mode: int) -> bool:
    return (mode & 0o170000) == 0o040000
