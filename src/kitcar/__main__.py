"""The `kitcar` command. `kitcar version` is answered here, before anything heavy is imported."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command line of this process; gives its exit code."""
    if sys.getfilesystemencoding() != "utf-8" and sys.flags.utf8_mode == 0:
        _start_over_in_utf8()
    if sys.argv[1:] == ["version"] and _said_version():
        return 0
    from kitcar.cli.app import run
    from kitcar.cli.session import Surroundings

    return run(sys.argv[1:], Surroundings.of_process())


def _said_version() -> bool:
    """Prints the version; whether somebody took it, or else what to do is found out with all means."""
    from kitcar.cli.build import describe

    try:
        sys.stdout.write(describe())
        sys.stdout.flush()
    except (AttributeError, OSError):
        return False
    return True


def _start_over_in_utf8() -> None:
    """Runs this process anew in Python's UTF-8 mode: names in ModelKits are UTF-8, whatever the locale says."""
    import os

    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - this very program


if __name__ == "__main__":
    sys.exit(main())
