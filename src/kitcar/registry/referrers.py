"""What refers to a manifest, and the tag that lists it where a registry does not (distribution specification, Listing
Referrers and Referrers Tag Schema)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from kitcar.errors import InvalidError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Index, Manifest

UNSUPPORTED = (400, 404, 405, 501)
"""Statuses by which registries say that they have no such API."""


def tag_for(digest: Digest) -> str:
    """The tag that stands in for the API."""
    return f"{digest.algorithm[:32]}-{digest.encoded[:64]}"


def filtered(descriptors: Iterable[Descriptor], artifact_type: str) -> tuple[Descriptor, ...]:
    """Those of one artifact type, or all if none is named; each once."""
    wanted = {item: item for item in descriptors if not artifact_type or item.artifact_type == artifact_type}
    return tuple(wanted.values())


def parse_list(raw: bytes, content_type: str) -> tuple[Descriptor, ...] | None:
    """The descriptors of an answer; None if it is no index, as from a server that answers everything with a page."""
    if content_type.split(";", maxsplit=1)[0].strip().lower() not in {media.INDEX, "application/json", ""}:
        return None
    try:
        return Index.parse(raw).manifests
    except InvalidError:
        return None


def describe(descriptor: Descriptor, raw: bytes) -> tuple[Descriptor | None, Descriptor]:
    """The subject of a manifest, if any, and the manifest as a list of referrers shows it.

    Raises:
        InvalidError: it is not a manifest.
    """
    if descriptor.media_type in media.INDEXES:
        index = Index.parse(raw)
        return index.subject, replace(descriptor, artifact_type=index.artifact_type, annotations=index.annotations)
    if descriptor.media_type not in {media.MANIFEST, media.DOCKER_MANIFEST}:
        return None, descriptor
    manifest = Manifest.parse(raw)
    kind = manifest.artifact_type or manifest.config.media_type
    return manifest.subject, replace(descriptor, artifact_type=kind, annotations=manifest.annotations)


def may_have_subject(raw: bytes) -> bool:
    """Whether a manifest names a subject at all."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and bool(document.get("subject"))


def with_referrer(listed: tuple[Descriptor, ...], added: Descriptor) -> Index | None:
    """The list with one more; None if it has it."""
    return None if added in listed else Index.build((*listed, added))


def without_referrer(listed: tuple[Descriptor, ...], removed: Descriptor) -> Index | None:
    """The list with one less; None if it does not have it."""
    rest = tuple(item for item in listed if item != removed)
    return Index.build(rest) if len(rest) < len(listed) else None
