"""Referrers: the entry a manifest has in the list of what refers to its subject."""

from __future__ import annotations

from kitcar.errors import InvalidError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import Index, Manifest


def referrer(descriptor: Descriptor, raw: bytes, subject: Descriptor) -> Descriptor | None:
    """The entry of a referrers list for the manifest in `raw`, if it refers to `subject` (distribution specification,
    Listing Referrers); None for what is no manifest.
    """
    try:
        parsed: Manifest | Index
        if descriptor.media_type in media.INDEXES:
            parsed, fallback = Index.parse(raw), ""
        else:
            parsed = manifest = Manifest.parse(raw)
            fallback = manifest.config.media_type
    except InvalidError:
        return None
    if parsed.subject is None or parsed.subject.digest != subject.digest:
        return None
    return Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        annotations={_unicode(name): _unicode(value) for name, value in parsed.annotations.items()},
        artifact_type=_unicode(str(parsed.artifact_type) or fallback),
    )


def _unicode(text: str) -> str:
    """`text` with a replacement character for each half of a pair, which JSON can escape and UTF-8 cannot hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
