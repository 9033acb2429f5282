"""What kind of place a path of a Kitfile names: a local file, another ModelKit, an object in S3, or something unknown."""

from __future__ import annotations

import enum
import re

from kitcar.errors import InvalidError, KitcarError
from kitcar.oci.reference import Reference

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)


class Place(enum.Enum):
    """Where a path points."""

    LOCAL = "local"
    REFERENCE = "reference"
    S3 = "s3"


def is_reference(path: str) -> bool:
    """Whether `path` reads as the reference of a ModelKit: it has a tag or digest, and parses."""
    if ":" not in path and "@" not in path:
        return False
    try:
        Reference.parse_tags(path.split(",", 1)[0])
    except KitcarError:
        return False
    return True


def place_of(path: str) -> Place:
    """Where `path` points; what is no URL is a local path, as for kit.

    Raises:
        InvalidError: it is a URL of a scheme that no Kitfile may use.
    """
    if is_reference(path):
        return Place.REFERENCE
    head = path.partition("#")[0]
    if any(char < " " or char == "\x7f" for char in path):
        return Place.LOCAL
    found = _SCHEME.match(head)
    scheme = found[1].lower() if found else ""
    if scheme == "s3":
        return Place.S3
    if scheme in {"http", "https"}:
        raise InvalidError(f"HTTP urls are not supported in paths ({path})")
    if scheme or (head.startswith("//") and head[2:3] not in {"", "/"}):
        raise InvalidError(f"unrecognized URL in path: {path}")
    return Place.LOCAL
