"""The next page of a list: the `Link` header (RFC 8288)."""

from __future__ import annotations

import re

_LINK = re.compile(r"<([^<>]*)>((?:[ \t]*;[ \t]*[^;,\"]+(?:=?\"[^\"]*\")?)*)")
_NEXT = re.compile(r";[ \t]*rel[ \t]*=[ \t]*(?:\"(?:[^\"]* )?next(?: [^\"]*)?\"|next(?![^;,\s]))", re.IGNORECASE)


def following(header: str) -> str:
    """The address of the next page, or the empty text."""
    return next((match[1].strip() for match in _LINK.finditer(header) if _NEXT.search(match[2])), "")
