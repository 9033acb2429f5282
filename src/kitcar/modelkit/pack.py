"""A directory becomes a ModelKit in a target, a local store or a registry alike: each file is read, hashed and stored once.

Layers travel side by side; config, manifest and tags follow when all are there, so that what failed is never shown.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from kitcar.errors import CancelledError, KitcarError
from kitcar.modelkit.assemble import PlannedLayer, assemble
from kitcar.modelkit.compression import Method
from kitcar.modelkit.dialect import CLI_VERSION, Dialect
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.previous import Previous, find_previous
from kitcar.modelkit.stream import LayerStream
from kitcar.oci import media
from kitcar.oci.copy import tag_stored
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.parallel import run_all
from kitcar.oci.progress import Event, Listener, Step, silent
from kitcar.oci.storage import BytesContent, Ingester, Target

DEFAULT_CONCURRENCY = 5


class PackTarget(Target, Ingester, Protocol):
    """A target that takes layers before their digest is known."""


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How a kit is packed.

    Args:
        compression: of tar layers.
        concurrency: layers at once.
        listener: told about layers; `key` is the entry's path, `name` kit's word for the layer, `count` is in uncompressed
            bytes, and `detail` of the last event is the digest.
        created: the time the manifest records; none if None.
        pinned: `created` was asked for. Otherwise it is just the present time, and a kit under the first tag that differs in
            nothing else stays as it is, so that packing again what has not changed makes nothing new.
        version: what the manifest records as the version of the tool.
        tags: name the manifest in the end.
        claimed: clean paths that belong to a kit this one refers to; no layer holds them.
    """

    compression: Method = Method.NONE
    concurrency: int = DEFAULT_CONCURRENCY
    listener: Listener = silent
    created: datetime | None = None
    pinned: bool = False
    version: str = ""
    tags: tuple[str, ...] = ()
    claimed: tuple[str, ...] = ()


DEFAULT_OPTIONS = PackOptions()


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer in the target; `new` is False if the target had it before."""

    planned: PlannedLayer
    descriptor: Descriptor
    diff_id: Digest
    new: bool

    @property
    def label(self) -> str:
        """kit's word for the layer."""
        return self.planned.label


@dataclass(frozen=True, slots=True)
class Packed:
    """A kit in the target: `kitfile` carries the digests, `warnings` is what should be told about it."""

    descriptor: Descriptor
    manifest: Manifest
    kitfile: Kitfile
    layers: tuple[PackedLayer, ...]
    config_new: bool
    manifest_new: bool
    warnings: tuple[str, ...]


def pack(kitfile: Kitfile, context: Path, target: PackTarget, options: PackOptions = DEFAULT_OPTIONS) -> Packed:
    """Packs what `kitfile` names in the directory `context` into `target` as a ModelKit, and tags it.

    Layers and config are byte for byte kit's, unless compressed. Paths are judged before anything is stored. A path that
    `.kitignore` names too is packed, with a warning. Links are packed as what they point to inside of the directory.

    Raises:
        NotFoundError: the directory or a path of the Kitfile does not exist.
        UnsafePathError: a path leaves the directory, or something in it cannot be packed (a link out of it, a loop, a device).
        InvalidError: an entry, an MCP bundle, `.kitignore` or a tag is malformed.
        IntegrityError: a file was changed while it was packed.
        KitcarError: a file cannot be read, or the disk is full.
        TransportError, RegistryError: the target failed.
    """
    planned = assemble(kitfile, context, method=options.compression, claimed=options.claimed)
    previous = find_previous(target, options.tags)
    layers = _store_layers(planned, target, previous, options)
    marked = kitfile.with_layers(
        {
            (layer.planned.entry.kind, layer.planned.entry.index): (layer.descriptor.digest, layer.diff_id)
            for layer in layers
        }
    )
    config, config_new = _put(target, Dialect.MODELKIT.config_type, marked.to_json())
    manifest = _manifest(config, layers, previous, options)
    descriptor, manifest_new = _put(target, manifest.media_type, manifest.raw)
    for tag in options.tags:
        tag_stored(target, descriptor, manifest.raw, tag)
    warnings = (*kitfile.warnings, *_warnings(kitfile, planned))
    return Packed(descriptor, manifest, marked, layers, config_new, manifest_new, warnings)


def _store_layers(
    planned: tuple[PlannedLayer, ...], target: PackTarget, previous: Previous | None, options: PackOptions
) -> tuple[PackedLayer, ...]:
    stored: dict[int, PackedLayer] = {}

    def job(index: int) -> Callable[[threading.Event], None]:
        def store(stop: threading.Event) -> None:
            stored[index] = _store(planned[index], target, previous, options.listener, stop)

        return store

    # The largest first, so that none of them is left to run alone at the end.
    order = sorted(range(len(planned)), key=lambda index: -planned[index].plan.size)
    run_all([job(index) for index in order], options.concurrency, name="kitcar-pack")
    return tuple(stored[index] for index in range(len(planned)))


def _store(
    layer: PlannedLayer, target: PackTarget, previous: Previous | None, listener: Listener, stop: threading.Event
) -> PackedLayer:
    path, label, size = layer.plan.path, layer.label, layer.plan.size

    def watch(count: int) -> None:
        if stop.is_set():
            raise CancelledError("given up because a sibling failed")
        listener(Event(Step.ADVANCED, path, label, size, count))

    listener(Event(Step.STARTED, path, label, size))
    try:
        packed = _reuse(layer, target, previous, stop) or _ingest(layer, target, watch)
    except KitcarError as error:
        listener(Event(Step.FAILED, path, label, size, detail=str(error)))
        raise
    listener(Event(Step.DONE if packed.new else Step.EXISTS, path, label, size, detail=str(packed.descriptor.digest)))
    return packed


def _ingest(layer: PlannedLayer, target: PackTarget, watch: Callable[[int], None]) -> PackedLayer:
    stream = _Probe(LayerStream(layer.plan, layer.method, watch=watch), target)
    digest, size = target.ingest(stream)
    descriptor = Descriptor(layer.type.media_type, digest, size, layer.annotations)
    return PackedLayer(layer, descriptor, stream.inner.diff_id(), not stream.known)


def _reuse(
    layer: PlannedLayer, target: PackTarget, previous: Previous | None, stop: threading.Event
) -> PackedLayer | None:
    """The layer of the kit under the tag, if nothing was written since and packing makes the same bytes: made, not sent."""
    candidate = previous.candidate(layer) if previous else None
    if candidate is None or not target.exists(candidate.descriptor):
        return None
    stream = LayerStream(layer.plan, layer.method)
    for _ in stream.chunks():
        if stop.is_set():
            raise CancelledError("given up because a sibling failed")
    if stream.digest() != candidate.descriptor.digest:
        return None
    descriptor = replace(candidate.descriptor.plain(), annotations=layer.annotations)
    return PackedLayer(layer, descriptor, stream.diff_id(), new=False)


class _Probe:
    """A layer's stream that finds out, once it has ended and before it is stored, whether the target has the bytes."""

    def __init__(self, inner: LayerStream, target: PackTarget) -> None:
        self.inner, self._target = inner, target
        self.size = inner.size
        self.known = False

    def chunks(self, offset: int = 0) -> Iterator[memoryview]:
        """See `Stream.chunks`."""
        made = offset
        for chunk in self.inner.chunks(offset):
            made += len(chunk)
            yield chunk
        with contextlib.suppress(KitcarError):  # only a word to the user hangs on the answer
            self.known = self._target.exists(Descriptor(media.OCTETS, self.inner.digest(), made))

    def digest(self) -> Digest:
        """See `Stream.digest`."""
        return self.inner.digest()


def _put(target: Target, media_type: str, content: bytes) -> tuple[Descriptor, bool]:
    descriptor = Descriptor.of(media_type, content)
    if target.exists(descriptor):
        return descriptor, False
    target.push(descriptor, BytesContent(content))
    return descriptor, True


def _manifest(
    config: Descriptor, layers: tuple[PackedLayer, ...], previous: Previous | None, options: PackOptions
) -> Manifest:
    def built(created: str) -> Manifest:
        annotations = {CLI_VERSION: options.version, media.CREATED: created}
        return Manifest.build(
            config,
            tuple(layer.descriptor for layer in layers),
            artifact_type=Dialect.MODELKIT.artifact_type,
            annotations={key: value for key, value in annotations.items() if value},
        )

    if previous and not options.pinned:
        again = built(previous.manifest.annotations.get(media.CREATED, ""))
        if again.raw == previous.manifest.raw:
            return again
    created = options.created
    return built(f"{created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if created else "")


def _warnings(kitfile: Kitfile, planned: tuple[PlannedLayer, ...]) -> Iterator[str]:
    for layer in planned:
        yield from layer.warnings()
    for dataset in kitfile.datasets:
        if dataset.remote_path.startswith("s3://"):
            yield f"remote dataset {dataset.path} is recorded as it is: {dataset.remote_path} was not looked at"
