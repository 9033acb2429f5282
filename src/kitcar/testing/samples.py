"""Small artifacts and streams for tests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.storage import BytesContent, BytesReader, Reader, Target

LAYER_TYPE = "application/vnd.kitcar.test.layer.v1"
CONFIG_TYPE = "application/vnd.kitcar.test.config.v1+json"
ARTIFACT_TYPE = "application/vnd.kitcar.test.v1"


def noise(size: int, seed: int = 0) -> bytes:
    """`size` bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - not for secrets


@dataclass(frozen=True, slots=True)
class Sample:
    """An artifact in memory: its manifest and the bytes of every blob it names."""

    manifest: Manifest
    blobs: Mapping[Descriptor, bytes]

    @property
    def descriptor(self) -> Descriptor:
        """The manifest's descriptor."""
        return self.manifest.descriptor

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The plain descriptors of the layers."""
        return tuple(layer.plain() for layer in self.manifest.layers)

    def push_blobs(self, target: Target) -> None:
        """Pushes config and layers."""
        for descriptor, data in self.blobs.items():
            target.push(descriptor, BytesContent(data))

    def push(self, target: Target, *tags: str) -> Descriptor:
        """Pushes everything and tags it; gives the manifest's descriptor."""
        self.push_blobs(target)
        target.push(self.descriptor, BytesContent(self.manifest.raw))
        for tag in tags:
            target.tag(self.descriptor, tag)
        return self.descriptor


def sample(
    *layers: bytes,
    config: bytes = b"{}",
    subject: Descriptor | None = None,
    artifact_type: str = ARTIFACT_TYPE,
    annotations: Mapping[str, str] | None = None,
) -> Sample:
    """An artifact with these layers."""
    described = [Descriptor.of(LAYER_TYPE, data) for data in layers]
    head = Descriptor.of(CONFIG_TYPE, config)
    manifest = Manifest.build(
        head, tuple(described), artifact_type=artifact_type, annotations=annotations, subject=subject
    )
    return Sample(manifest, {head: config, **dict(zip(described, layers, strict=True))})


def with_raw(original: Sample, raw: bytes) -> Sample:
    """The same artifact with its manifest spelled as `raw`."""
    return Sample(Manifest.parse(raw), original.blobs)


class ChunkStream:
    """A `Stream` over bytes in memory, in chunks of `chunk` bytes; counts how often it was started."""

    def __init__(self, data: bytes, *, chunk: int = 1 << 20, known: bool = True) -> None:
        self.size: int | None = len(data) if known else None
        self.starts = 0
        self._data = data
        self._chunk = chunk
        self._ended = False

    def chunks(self, offset: int = 0) -> Iterator[memoryview]:
        """See `Stream.chunks`."""
        self.starts += 1
        for start in range(offset, len(self._data), self._chunk):
            yield memoryview(self._data)[start : start + self._chunk]
        self._ended = True

    def digest(self) -> Digest:
        """See `Stream.digest`; an AssertionError before the end."""
        if not self._ended:
            raise AssertionError("the digest was asked for before the stream had ended")
        return Digest("sha256", hashlib.sha256(self._data).hexdigest())


class CountingContent:
    """Content in memory that remembers at which offsets it was opened."""

    def __init__(self, data: bytes) -> None:
        self.offsets: list[int] = []
        self._data = data

    def open(self, offset: int = 0) -> Reader:
        """See `Content.open`."""
        self.offsets.append(offset)
        return BytesReader(memoryview(self._data)[offset:])


class BrokenContent:
    """Content whose stream raises `error` after `after` bytes of `data`, as often as it is opened."""

    def __init__(self, data: bytes, after: int, error: Exception) -> None:
        self._data, self._after, self._error = data, after, error

    def open(self, offset: int = 0) -> Reader:
        """See `Content.open`."""
        return _BrokenReader(self._data[offset : self._after], self._error)


class _BrokenReader:
    def __init__(self, data: bytes, error: Exception) -> None:
        self._inner = BytesReader(data)
        self._error = error

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._inner.readinto(buffer)
        if not count:
            raise self._error
        return count

    def close(self) -> None:
        self._inner.close()
