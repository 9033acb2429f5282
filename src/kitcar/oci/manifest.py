"""Manifests and indexes as parsed views over the bytes that were fetched (OCI image specification, manifest.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kitcar.errors import InvalidError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.encoding import encode

MAX_SIZE = 4 * 1024 * 1024
"""Bytes: what registries accept at most (distribution specification, Pushing Manifests)."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A view of an image manifest; `raw` is what was fetched and what is pushed, never written anew."""

    raw: bytes = field(repr=False)
    media_type: str
    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    subject: Descriptor | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Reads an OCI or Docker image manifest.

        Raises:
            InvalidError: it is not one; the message says which member is wrong.
        """
        document = _object(raw, "manifest")
        if document.get("schemaVersion") != 2:
            raise InvalidError("manifest: schemaVersion must be 2")
        layers = document.get("layers") or []
        if not isinstance(layers, list):
            raise InvalidError("manifest: layers must be a list")
        subject = document.get("subject")
        return cls(
            raw=raw,
            media_type=_text(document, "mediaType", "manifest") or media.MANIFEST,
            artifact_type=_text(document, "artifactType", "manifest"),
            config=Descriptor.decode(document.get("config"), "manifest: config"),
            layers=tuple(Descriptor.decode(layer, f"manifest: layer {n}") for n, layer in enumerate(layers)),
            annotations=_annotations(document, "manifest"),
            subject=Descriptor.decode(subject, "manifest: subject") if subject else None,
        )

    @classmethod
    def build(
        cls,
        config: Descriptor,
        layers: tuple[Descriptor, ...],
        *,
        artifact_type: str = "",
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | None = None,
    ) -> Manifest:
        """A new OCI image manifest, members in the order that kit writes them."""
        members: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.MANIFEST}
        if artifact_type:
            members["artifactType"] = artifact_type
        members["config"] = config.encode()
        members["layers"] = [layer.encode() for layer in layers]
        if subject:
            members["subject"] = subject.encode()
        if annotations:
            members["annotations"] = dict(sorted(annotations.items()))
        return cls.parse(encode(members))

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the raw bytes."""
        return Descriptor.of(self.media_type, self.raw)

    def document(self) -> dict[str, Any]:
        """The JSON object as it was written, members unknown here included."""
        return _object(self.raw, "manifest")


@dataclass(frozen=True, slots=True)
class Index:
    """A view of an image index over its raw bytes."""

    raw: bytes = field(repr=False)
    media_type: str
    artifact_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    subject: Descriptor | None = None

    @classmethod
    def parse(cls, raw: bytes) -> Index:
        """Reads an OCI index or Docker manifest list.

        Raises:
            InvalidError: it is not one.
        """
        document = _object(raw, "index")
        manifests = document.get("manifests")
        if not isinstance(manifests, list):
            raise InvalidError("index: manifests must be a list")
        subject = document.get("subject")
        return cls(
            raw=raw,
            media_type=_text(document, "mediaType", "index") or media.INDEX,
            artifact_type=_text(document, "artifactType", "index"),
            manifests=tuple(Descriptor.decode(item, f"index: manifest {n}") for n, item in enumerate(manifests)),
            annotations=_annotations(document, "index"),
            subject=Descriptor.decode(subject, "index: subject") if subject else None,
        )

    @classmethod
    def build(cls, manifests: tuple[Descriptor, ...], annotations: Mapping[str, str] | None = None) -> Index:
        """A new OCI index."""
        members: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.INDEX}
        members["manifests"] = [item.encode() for item in manifests]
        if annotations:
            members["annotations"] = dict(sorted(annotations.items()))
        return cls.parse(encode(members))

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the raw bytes."""
        return Descriptor.of(self.media_type, self.raw)


def successors(descriptor: Descriptor, raw: bytes) -> tuple[Descriptor, ...]:
    """What the manifest or index in `raw` points at: children in order, the subject not included.

    Raises:
        InvalidError: `raw` is not of the descriptor's media type.
    """
    if descriptor.media_type in media.INDEXES:
        return Index.parse(raw).manifests
    manifest = Manifest.parse(raw)
    return (manifest.config, *manifest.layers)


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidError(f"{what} is not a JSON object")
    return document


def _text(document: Mapping[str, Any], member: str, what: str) -> str:
    value = document.get(member) or ""
    if not isinstance(value, str):
        raise InvalidError(f"{what}: {member} must be a text")
    return value


def _annotations(document: Mapping[str, Any], what: str) -> dict[str, str]:
    value = document.get("annotations") or {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise InvalidError(f"{what}: annotations must map texts to texts")
    return value
