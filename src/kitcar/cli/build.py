"""What this build is: its version, and the commit and time that `git archive` fills in.

Imported on the way to `kitcar version`, so it imports nothing that takes time.
"""

from __future__ import annotations

import sys

from kitcar import __version__

COMMIT = "$Format:%H$"
BUILT = "$Format:%cI$"


def describe() -> str:
    """The lines `kitcar version` prints, in kit's order, with Python in the place of Go."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"Version: {__version__}\nCommit: {_known(COMMIT)}\nBuilt: {_known(BUILT)}\nPython version: {python}\n"


def _known(text: str) -> str:
    return "unknown" if text.startswith("$") else text
