"""Content in memory: one repository, for tests and for what is small."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from kitcar.errors import NotFoundError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.reference import check_tag
from kitcar.oci.storage import BytesReader, Content, Reader, Stream
from kitcar.oci.verify import VerifyingReader
from kitcar.stores.referrer import referrer


class MemoryStore:
    """One repository in memory, safe for threads; has every ability of `oci.storage` but mounting."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._content: dict[Digest, bytes] = {}
        self._manifests: dict[Digest, Descriptor] = {}
        self._tags: dict[str, Descriptor] = {}

    def fetch(self, descriptor: Descriptor) -> Reader:
        """See `Fetcher.fetch`."""
        return self.fetch_range(descriptor, 0)

    def fetch_range(self, descriptor: Descriptor, offset: int) -> Reader:
        """See `RangeFetcher.fetch_range`."""
        try:
            return BytesReader(memoryview(self._content[descriptor.digest])[offset:])
        except KeyError:
            raise NotFoundError(f"{descriptor.digest} is not in memory") from None

    def exists(self, descriptor: Descriptor) -> bool:
        """See `Storage.exists`."""
        found = self._content.get(descriptor.digest)
        return found is not None and len(found) == descriptor.size

    def push(self, descriptor: Descriptor, content: Content) -> None:
        """See `Storage.push`."""
        if not self.exists(descriptor):
            data = VerifyingReader(content.open(), descriptor).read()
            with self._lock:
                self._content[descriptor.digest] = data
        if media.is_manifest(descriptor.media_type):
            with self._lock:
                self._manifests.setdefault(descriptor.digest, descriptor.plain())

    def ingest(self, stream: Stream) -> tuple[Digest, int]:
        """See `Ingester.ingest`."""
        data = b"".join(bytes(chunk) for chunk in stream.chunks())
        digest = stream.digest()
        with self._lock:
            self._content[digest] = data
        return digest, len(data)

    def resolve(self, reference: str) -> Descriptor:
        """See `Resolver.resolve`."""
        with self._lock:
            found = self._tags.get(reference) or next(
                (item for digest, item in self._manifests.items() if str(digest) == reference), None
            )
        if found is None:
            raise NotFoundError(f"{reference} is not in memory")
        return found

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """See `Target.tag`."""
        check_tag(tag)
        with self._lock:
            if descriptor.digest not in self._manifests:
                raise NotFoundError(f"manifest {descriptor.digest} is not in memory")
            self._tags[tag] = self._manifests[descriptor.digest]

    def untag(self, tag: str) -> None:
        """Forgets `tag`; the manifest stays.

        Raises:
            NotFoundError: no such tag.
        """
        with self._lock:
            if self._tags.pop(tag, None) is None:
                raise NotFoundError(f"tag {tag} is not in memory")

    def tags(self) -> Iterator[str]:
        """See `TagLister.tags`."""
        with self._lock:
            return iter(sorted(self._tags))

    def referrers(self, subject: Descriptor, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """See `ReferrerLister.referrers`."""
        with self._lock:
            manifests = [(item, self._content[digest]) for digest, item in self._manifests.items()]
        found = (referrer(item, raw, subject) for item, raw in manifests)
        return tuple(item for item in found if item and (not artifact_type or item.artifact_type == artifact_type))

    def delete(self, descriptor: Descriptor) -> None:
        """See `Deleter.delete`."""
        with self._lock:
            if self._content.pop(descriptor.digest, None) is None:
                raise NotFoundError(f"{descriptor.digest} is not in memory")
            self._manifests.pop(descriptor.digest, None)
            for tag in [tag for tag, item in self._tags.items() if item.digest == descriptor.digest]:
                del self._tags[tag]
