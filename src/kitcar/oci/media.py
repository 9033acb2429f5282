"""Media types of OCI and of Docker's older form (OCI image specification, media-types.md)."""

from __future__ import annotations

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCTETS = "application/octet-stream"

MANIFESTS = (MANIFEST, DOCKER_MANIFEST, ARTIFACT)
INDEXES = (INDEX, DOCKER_INDEX)

CREATED = "org.opencontainers.image.created"
REF_NAME = "org.opencontainers.image.ref.name"
TITLE = "org.opencontainers.image.title"


def is_manifest(media_type: str) -> bool:
    """Whether a registry keeps this type under `manifests/`, not under `blobs/`."""
    return media_type in MANIFESTS or media_type in INDEXES
