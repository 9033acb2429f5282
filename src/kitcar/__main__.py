"""The `kitcar` command. `kitcar version` is answered here, before anything heavy is imported."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command line of this process; gives its exit code."""
    if sys.argv[1:] == ["version"]:
        from kitcar.cli.build import describe

        sys.stdout.write(describe())
        return 0
    from kitcar.cli.app import run
    from kitcar.cli.session import Surroundings

    return run(sys.argv[1:], Surroundings.of_process())


if __name__ == "__main__":
    sys.exit(main())
