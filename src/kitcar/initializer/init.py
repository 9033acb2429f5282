"""`python -m kitcar.initializer.init`: the init container, told what to do by its environment."""

from __future__ import annotations

import sys

from kitcar.initializer.entry import initialize_from_environment, main

if __name__ == "__main__":
    sys.exit(main(initialize_from_environment))
