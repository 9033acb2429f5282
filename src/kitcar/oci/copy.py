"""One graph copy for push, pull, mirror, save and load: children before parents, the tag last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from kitcar.errors import CancelledError, KitcarError, NotFoundError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import successors
from kitcar.oci.parallel import run_all
from kitcar.oci.progress import Event, Listener, Step, silent
from kitcar.oci.storage import BytesContent, Content, Mounter, Reader, ReadTarget, StoredContent, Target
from kitcar.oci.verify import fetch_all

DEFAULT_CONCURRENCY = 5


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How a graph is copied; `mount_from` names a repository of the target's registry that may hold a blob already."""

    concurrency: int = DEFAULT_CONCURRENCY
    listener: Listener = silent
    mount_from: Callable[[Descriptor], str | None] = lambda _: None


DEFAULT_OPTIONS = CopyOptions()


def copy(
    source: ReadTarget,
    target: Target,
    root: Descriptor,
    *,
    tags: tuple[str, ...] = (),
    options: CopyOptions = DEFAULT_OPTIONS,
) -> None:
    """Copies the artifact `root` and all under it, then lets `tags` name it in the target.

    What the target has is not sent again, also where it has the manifest and lacks a blob. One failure stops the rest; a
    manifest is stored only after everything under it, so an interrupted copy shows nothing and can be repeated.

    Raises:
        IntegrityError: content is not what its descriptor promises.
        NotFoundError: the source lacks something.
        TransportError, RegistryError: either side failed.
    """
    manifests, blobs = _survey(source, root)
    run_all(
        [lambda stop, blob=blob: _copy_blob(source, target, blob, options, stop) for blob in blobs],  # type: ignore[misc]
        options.concurrency,
        name="kitcar-copy",
    )
    for descriptor, raw in reversed(manifests):
        _copy_manifest(target, descriptor, raw, options.listener)
    for tag in tags:
        tag_stored(target, root, manifests[0][1] if manifests else b"", tag)


def tag_stored(target: Target, descriptor: Descriptor, raw: bytes, tag: str) -> None:
    """Lets `tag` name a manifest that was in the target a moment ago; if somebody removed it since, it is stored again.

    Raises:
        NotFoundError: what it names was removed as well.
        TransportError, RegistryError: the target failed.
    """
    try:
        target.tag(descriptor, tag)
    except NotFoundError:
        if not raw:
            raise
        target.push(descriptor, BytesContent(raw))
        target.tag(descriptor, tag)


def _survey(source: ReadTarget, root: Descriptor) -> tuple[list[tuple[Descriptor, bytes]], list[Descriptor]]:
    """All manifests, parents first, with their bytes; and all blobs once, the largest first."""
    manifests: list[tuple[Descriptor, bytes]] = []
    blobs: dict[Descriptor, None] = {}
    seen: set[Descriptor] = set()
    waiting = [root.plain()]
    while waiting:
        descriptor = waiting.pop(0)
        if descriptor in seen:
            continue
        seen.add(descriptor)
        if not media.is_manifest(descriptor.media_type):
            blobs[descriptor] = None
            continue
        raw = fetch_all(source, descriptor)
        manifests.append((descriptor, raw))
        waiting += [child.plain() for child in successors(descriptor, raw)]
    return manifests, sorted(blobs, key=lambda blob: -blob.size)


def _copy_blob(
    source: ReadTarget, target: Target, blob: Descriptor, options: CopyOptions, stop: threading.Event
) -> None:
    key, tell = str(blob.digest), options.listener
    if target.exists(blob):
        tell(Event(Step.EXISTS, key, size=blob.size))
        return
    origin = options.mount_from(blob)
    if origin and isinstance(target, Mounter) and target.mount(blob, origin):
        tell(Event(Step.MOUNTED, key, size=blob.size, detail=origin))
        return
    tell(Event(Step.STARTED, key, size=blob.size))
    try:
        target.push(blob, _WatchedContent(StoredContent(source, blob), key, tell, stop))
    except KitcarError as error:
        tell(Event(Step.FAILED, key, size=blob.size, detail=str(error)))
        raise
    tell(Event(Step.DONE, key, size=blob.size))


def _copy_manifest(target: Target, descriptor: Descriptor, raw: bytes, tell: Listener) -> None:
    if target.exists(descriptor):
        tell(Event(Step.EXISTS, str(descriptor.digest), size=descriptor.size))
        return
    target.push(descriptor, BytesContent(raw))
    tell(Event(Step.DONE, str(descriptor.digest), size=descriptor.size))


class _WatchedContent:
    """Content that tells how far it was read and ends when the copy is given up."""

    def __init__(self, content: Content, key: str, listener: Listener, stop: threading.Event) -> None:
        self._content, self._key, self._listener, self._stop = content, key, listener, stop

    def open(self, offset: int = 0) -> Reader:
        return _WatchedReader(self._content.open(offset), self._key, self._listener, self._stop)


class _WatchedReader:
    def __init__(self, reader: Reader, key: str, listener: Listener, stop: threading.Event) -> None:
        self._reader, self._key, self._listener, self._stop = reader, key, listener, stop

    def readinto(self, buffer: memoryview, /) -> int:
        if self._stop.is_set():
            raise CancelledError("given up because a sibling failed")
        count = self._reader.readinto(buffer)
        if count:
            self._listener(Event(Step.ADVANCED, self._key, count=count))
        return count

    def close(self) -> None:
        self._reader.close()
