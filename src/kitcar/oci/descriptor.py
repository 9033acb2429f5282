"""Descriptors (OCI image specification, descriptor.md)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kitcar.errors import InvalidError
from kitcar.oci.digest import Digest

_NO_ANNOTATIONS: Mapping[str, str] = {}
_MAX_SIZE = (1 << 63) - 1
"""Bytes: the specification's int64."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What some content is: media type, digest and size in bytes; equality and hash look at these three alone."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, compare=False)
    artifact_type: str = field(default="", compare=False)
    urls: tuple[str, ...] = field(default=(), compare=False)
    data: bytes | None = field(default=None, compare=False)
    platform: Mapping[str, Any] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, media_type: str, content: bytes, annotations: Mapping[str, str] = _NO_ANNOTATIONS) -> Descriptor:
        """The descriptor of `content`."""
        return cls(media_type, Digest.of(content), len(content), dict(annotations))

    @classmethod
    def decode(cls, value: Any, where: str = "descriptor") -> Descriptor:
        """Reads the JSON object form; unknown members are dropped.

        Raises:
            InvalidError: a required member is missing or has the wrong type; the message names `where`.
        """
        if not isinstance(value, Mapping):
            raise InvalidError(f"{where}: a JSON object was expected")
        size, annotations, urls = value.get("size"), value.get("annotations"), value.get("urls")
        kind = value.get("artifactType")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_SIZE:
            raise InvalidError(f"{where}: size must be a number of bytes, not {size!r:.40}")
        try:
            return cls(
                media_type=_string(value.get("mediaType"), f"{where}: mediaType"),
                digest=Digest.parse(_string(value.get("digest"), f"{where}: digest")),
                size=size,
                annotations=_strings(annotations, f"{where}: annotations"),
                artifact_type=_string(kind, f"{where}: artifactType") if kind else "",
                urls=tuple(urls) if isinstance(urls, list) else (),
                data=base64.b64decode(value["data"], validate=True) if value.get("data") else None,
                platform=value.get("platform"),
            )
        except (TypeError, ValueError) as error:
            raise InvalidError(f"{where}: data is not base64") from error

    def encode(self) -> dict[str, Any]:
        """The JSON object form, members in the specification's order, annotations sorted."""
        members: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            members["urls"] = list(self.urls)
        if self.annotations:
            members["annotations"] = dict(sorted(self.annotations.items()))
        if self.data is not None:
            members["data"] = base64.b64encode(self.data).decode()
        if self.platform is not None:
            members["platform"] = self.platform
        if self.artifact_type:
            members["artifactType"] = self.artifact_type
        return members

    def plain(self) -> Descriptor:
        """Media type, digest and size alone."""
        return Descriptor(self.media_type, self.digest, self.size)

    def annotate(self, **annotations: str) -> Descriptor:
        """A copy with `annotations` added."""
        return replace(self, annotations={**self.annotations, **annotations})


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidError(f"{where} must be a text, not {value!r}")
    return value


def _strings(value: Any, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise InvalidError(f"{where} must map texts to texts")
    return dict(value)
