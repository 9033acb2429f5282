"""Where kit keeps what it keeps: local storage (in `storage`) and credentials (`credentials.json`)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def kit_home(environ: Mapping[str, str], platform: str = sys.platform) -> Path | None:
    """The directory that `KITOPS_HOME` names, else kit's in the user's home; None where nothing says where that is."""
    if named := environ.get("KITOPS_HOME"):
        return Path(named).absolute()
    user = environ.get("HOME")
    if platform == "darwin":
        return Path(user, "Library", "Caches", "kitops") if user else None
    if data := environ.get("XDG_DATA_HOME"):
        return Path(data, "kitops").absolute()
    return Path(user, ".local", "share", "kitops") if user else None
