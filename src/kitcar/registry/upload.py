"""Rules of uploads, without I/O (distribution specification, Pushing Blobs): which form a host takes, in which pieces, and
what it says of an upload's state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from kitcar.oci.digest import Digest

MIB = 1024 * 1024
SINGLE_LIMIT = 4 * MIB
"""Bytes up to which a blob of known digest is sent with the request that ends the upload."""

PIECE = 64 * MIB
"""Bytes of a piece where a host refuses the whole at once."""

_MONOLITHIC = re.compile(r"ghcr\.io|.*\.pkg\.dev|(?:.*\.)?gcr\.io|.*\.amazonaws\.com(?:\.cn)?")
_RANGE = re.compile(r"(?:bytes=)?(\d{1,18})-(\d{1,18})")


def takes_whole_only(registry: str) -> bool:
    """Whether a host takes a blob only in one request, with its digest: GitHub, Google and Amazon."""
    host = registry.rpartition(":")[0] or registry
    return _MONOLITHIC.fullmatch(host.lower()) is not None


@dataclass(frozen=True, slots=True)
class State:
    """How far an upload has come: where it goes on, how many bytes the registry holds, the smallest piece it takes."""

    location: str
    received: int = 0
    minimum: int = 0

    def piece(self, size: int | None, limit: int | None) -> int | None:
        """Bytes of the next piece of a blob of `size` bytes, `limit` being the largest allowed; None where unknown."""
        left = None if size is None else size - self.received
        if limit is None:
            return left
        allowed = max(limit, self.minimum)
        return allowed if left is None else min(left, allowed)


def received(range_header: str | None) -> int | None:
    """The bytes that an upload's `Range: 0-N` says are held; None where it says nothing certain.

    `0-0` is what registries say of one byte, and of none.
    """
    match = _RANGE.fullmatch((range_header or "").strip())
    if match is None or int(match[1]) != 0 or int(match[2]) == 0:
        return None
    return int(match[2]) + 1


def minimum(header: str | None) -> int:
    """The bytes that `OCI-Chunk-Min-Length` asks for, 0 if nothing sensible."""
    text = (header or "").strip()
    return min(int(text), 1024 * MIB) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def closing(location: str, digest: Digest) -> str:
    """The address of the request that ends an upload."""
    parts = urlsplit(location)
    # The state some registries keep in the query must come back to the byte, so nothing in it is encoded anew.
    kept = "&".join(item for item in parts.query.split("&") if item and not item.startswith("digest="))
    added = urlencode({"digest": str(digest)}, safe=":")
    return parts._replace(query=f"{kept}&{added}" if kept else added).geturl()
