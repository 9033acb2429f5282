"""`python -m kitcar.initializer SRC DEST [SRC DEST …]`."""

from __future__ import annotations

import sys

from kitcar.initializer.entry import initialize, main

if __name__ == "__main__":
    sys.exit(main(initialize))
