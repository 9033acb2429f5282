"""Which endpoint of the distribution specification a path names."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from kitcar.errors import KitcarError, RegistryError
from kitcar.oci.digest import Digest
from kitcar.oci.reference import DEFAULT_REGISTRY, Reference

_MAX_FILE_NAME = 255
_SUFFIX_LENGTH = len("-index.json")


class Endpoint(enum.Enum):
    """The endpoints, as the specification groups them."""

    BASE = "base"
    CATALOG = "catalog"
    TAGS = "tags"
    MANIFEST = "manifest"
    BLOB = "blob"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    REFERRERS = "referrers"


_PATTERNS = (
    (Endpoint.BASE, re.compile(r"/v2/?")),
    (Endpoint.CATALOG, re.compile(r"/v2/_catalog")),
    (Endpoint.TAGS, re.compile(r"/v2/(?P<name>.+)/tags/list")),
    (Endpoint.UPLOADS, re.compile(r"/v2/(?P<name>.+)/blobs/uploads/?")),
    (Endpoint.UPLOAD, re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<item>[^/]+)")),
    (Endpoint.MANIFEST, re.compile(r"/v2/(?P<name>.+)/manifests/(?P<item>[^/]+)")),
    (Endpoint.BLOB, re.compile(r"/v2/(?P<name>.+)/blobs/(?P<item>[^/]+)")),
    (Endpoint.REFERRERS, re.compile(r"/v2/(?P<name>.+)/referrers/(?P<item>[^/]+)")),
)


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint with the repository and the tag, digest or upload it is asked for."""

    endpoint: Endpoint
    name: str = ""
    item: str = ""

    @classmethod
    def parse(cls, path: str) -> Route:
        """Reads a path.

        Raises:
            RegistryError: it names no endpoint, or the name of the repository is malformed.
        """
        for endpoint, pattern in _PATTERNS:
            if match := pattern.fullmatch(path):
                parts = match.groupdict()
                name = _checked(parts["name"]) if "name" in parts else ""
                return cls(endpoint, name, parts.get("item", ""))
        raise RegistryError(f"{path} is no endpoint of a registry", status=404, code="NAME_UNKNOWN")

    def digest(self) -> Digest:
        """The item, which must be a digest.

        Raises:
            RegistryError: it is none.
        """
        return parse_digest(self.item)


def parse_digest(text: str) -> Digest:
    """A digest from a request.

    Raises:
        RegistryError: it is none, or of an algorithm that is not supported.
    """
    try:
        return Digest.parse(text)
    except KitcarError as error:
        raise RegistryError(str(error), status=400, code="DIGEST_INVALID") from error


def stored_name(name: str) -> str:
    """What the repository is called in the layout: as if no registry had been named, so `kit list` shows it as it is."""
    return f"{DEFAULT_REGISTRY}/{name}"


def served_name(stored: str) -> str | None:
    """The inverse of `stored_name`; None for what was stored from another registry, which is not served."""
    prefix = f"{DEFAULT_REGISTRY}/"
    return stored.removeprefix(prefix) if stored.startswith(prefix) else None


def _checked(name: str) -> str:
    encoded = -(-len(stored_name(name)) // 3) * 4
    try:
        # The registry's name only keeps the first component of `name` from being taken for one.
        repository = Reference.parse(f"registry.invalid/{name}").repository
    except KitcarError as error:
        raise RegistryError(f"invalid repository name {name!r}", status=400, code="NAME_INVALID") from error
    if repository != name or encoded + _SUFFIX_LENGTH > _MAX_FILE_NAME:
        raise RegistryError(f"invalid or too long repository name {name!r}", status=400, code="NAME_INVALID")
    return name
