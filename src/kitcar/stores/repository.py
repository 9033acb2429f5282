"""One repository of the local storage: which manifests it lists and what its tags name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.errors import InvalidError, NotFoundError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import MAX_SIZE, successors
from kitcar.oci.reference import check_tag
from kitcar.oci.storage import Content, Reader, Stream
from kitcar.oci.verify import VerifyingReader
from kitcar.stores.disk import disk_errors
from kitcar.stores.document import (
    NEW_REPOSITORY,
    Listing,
    encode_tags,
    entry_of,
    index_name,
    read_listing,
    read_tags,
    tags_name,
)
from kitcar.stores.garbage import collect, drop_blob, main_listing
from kitcar.stores.referrer import referrer

if TYPE_CHECKING:
    from kitcar.stores.layout import LayoutStore


class LayoutRepository:
    """One `registry/repository` of a `LayoutStore`: manifests are this repository's own, blobs are shared by all."""

    def __init__(self, store: LayoutStore, name: str) -> None:
        self.store = store
        self.name = name
        self._index_path: Path = store.root / index_name(name)
        self._tags_path: Path = store.root / tags_name(name)

    def fetch(self, descriptor: Descriptor) -> Reader:
        """See `Fetcher.fetch`."""
        return self.fetch_range(descriptor, 0)

    def fetch_range(self, descriptor: Descriptor, offset: int) -> Reader:
        """See `RangeFetcher.fetch_range`."""
        if media.is_manifest(descriptor.media_type) and self._listing().entry(descriptor.digest) is None:
            raise self._unknown(descriptor.digest)
        return self.store.open(descriptor.digest, offset)

    def exists(self, descriptor: Descriptor) -> bool:
        """See `Storage.exists`: a manifest if this repository lists it, a blob if the store has it."""
        if media.is_manifest(descriptor.media_type):
            return self._listing().entry(descriptor.digest) is not None and self.store.intact(descriptor)
        return self.store.has(descriptor)

    def push(self, descriptor: Descriptor, content: Content) -> None:
        """See `Storage.push`. A manifest is taken only when all it names is here, so none is ever listed without.

        Raises:
            NotFoundError: a manifest names something that is not here.
            InvalidError: a manifest is malformed or too large.
            IntegrityError: the bytes are not what the descriptor promises.
            KitcarError: the disk is full or refuses.
        """
        if not media.is_manifest(descriptor.media_type):
            self.store.put(descriptor, content)
            return
        if descriptor.size > MAX_SIZE:
            raise InvalidError(f"manifest {descriptor.digest} has {descriptor.size} bytes; {MAX_SIZE} are allowed")
        data = VerifyingReader(content.open(), descriptor).read()
        children = successors(descriptor, data)
        self.store.prepare()
        with self.store.lock.exclusive():
            self._require(descriptor, children)
            self.store.put_locked(descriptor, data)
            main = main_listing(self.store)
            self._save(self.store.root / "index.json", main, main.adding(entry_of(descriptor)))
            listing = self._listing()
            self._save(self._index_path, listing, listing.adding(entry_of(descriptor)))
            self.store.leases.release([child.digest for child in children])
            # Until it is tagged: see `remove`.
            self.store.leases.hold(descriptor.digest, firmly=False)

    def ingest(self, stream: Stream) -> tuple[Digest, int]:
        """See `Ingester.ingest`."""
        stored = self.store.store(stream)
        return stored.digest, stored.size

    def resolve(self, reference: str) -> Descriptor:
        """See `Resolver.resolve`."""
        tags = read_tags(self._tags_path)
        entry = tags.get(reference) or next(
            (entry for entry in self._listing().entries if entry["digest"] == reference), None
        )
        if entry is None:
            raise NotFoundError(f"{reference} is not in the local repository {self.name}")
        return Descriptor.decode(entry).plain()

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """See `Target.tag`."""
        check_tag(tag)
        with self.store.lock.exclusive():
            entry = self._listing().entry(descriptor.digest)
            if entry is None:
                raise self._unknown(descriptor.digest)
            self._save_tags({**read_tags(self._tags_path), tag: Descriptor.decode(entry).plain().encode()})
            self.store.leases.release([descriptor.digest])

    def untag(self, tag: str) -> None:
        """Forgets `tag`; the manifest stays.

        Raises:
            NotFoundError: no such tag.
        """
        with self.store.lock.exclusive():
            tags = read_tags(self._tags_path)
            if tags.pop(tag, None) is None:
                raise NotFoundError(f"tag {tag} is not in the local repository {self.name}")
            self._save_tags(tags)

    def remove(self, tag: str) -> Descriptor:
        """Forgets `tag`, and with the last tag of a manifest the manifest too, as `delete` does; gives what it named.

        It is one step: a tag that another process gives the manifest meanwhile stays, and so does a manifest that another
        process has just stored and not tagged yet.

        Raises:
            NotFoundError: no such tag.
            KitcarError: the disk refuses.
        """
        with self.store.lock.exclusive():
            tags = read_tags(self._tags_path)
            entry = tags.pop(tag, None)
            if entry is None:
                raise NotFoundError(f"tag {tag} is not in the local repository {self.name}")
            descriptor = Descriptor.decode(entry).plain()
            named = any(other["digest"] == entry["digest"] for other in tags.values())
            if (
                named
                or str(descriptor.digest) in self.store.leases.held()
                or not self._listing().entry(descriptor.digest)
            ):
                self._save_tags(tags)
            else:
                self._delete_manifest(descriptor)
            return descriptor

    def tags(self) -> Iterator[str]:
        """See `TagLister.tags`."""
        tags = sorted(read_tags(self._tags_path))
        if not tags and read_listing(self._index_path) is None:
            raise NotFoundError(f"there is no local repository {self.name}")
        return iter(tags)

    def tags_of(self, descriptor: Descriptor) -> tuple[str, ...]:
        """The tags that name this manifest, sorted.

        Raises:
            InvalidError: the tags file is damaged.
        """
        tags = read_tags(self._tags_path)
        return tuple(sorted(tag for tag, entry in tags.items() if entry["digest"] == str(descriptor.digest)))

    def manifests(self) -> tuple[Descriptor, ...]:
        """All manifests this repository lists, the first pushed first.

        Raises:
            InvalidError: the index file is damaged.
        """
        return tuple(Descriptor.decode(entry) for entry in self._listing().entries)

    def referrers(self, subject: Descriptor, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """See `ReferrerLister.referrers`."""
        found = []
        for descriptor in self.manifests():
            try:
                raw = self.store.path(descriptor.digest).read_bytes()
            except OSError:
                continue
            item = referrer(descriptor, raw, subject)
            if item and (not artifact_type or item.artifact_type == artifact_type):
                found.append(item)
        return tuple(found)

    def delete(self, descriptor: Descriptor) -> None:
        """See `Deleter.delete`: with a manifest go its tags, and every blob that no manifest of any repository needs.

        Raises:
            NotFoundError: this repository does not list the manifest, or there is no such blob.
            UnsupportedError: a manifest needs the blob.
            KitcarError: the disk refuses.
        """
        with self.store.lock.exclusive():
            if not media.is_manifest(descriptor.media_type):
                drop_blob(self.store, descriptor)
                return
            self._delete_manifest(descriptor)

    def _delete_manifest(self, descriptor: Descriptor) -> None:
        """Only under the exclusive lock."""
        listing = self._listing()
        if listing.entry(descriptor.digest) is None:
            raise self._unknown(descriptor.digest)
        tags, gone = read_tags(self._tags_path), str(descriptor.digest)
        self._save_tags({tag: entry for tag, entry in tags.items() if entry["digest"] != gone})
        self._save(self._index_path, listing, listing.without(descriptor.digest), empty=False)
        collect(self.store, descriptor)

    def _listing(self) -> Listing:
        return read_listing(self._index_path) or NEW_REPOSITORY

    def _require(self, parent: Descriptor, children: tuple[Descriptor, ...]) -> None:
        listing = self._listing()
        for child in children:
            listed = not media.is_manifest(child.media_type) or listing.entry(child.digest) is not None
            if not child.urls and not (listed and self.store.size(child.digest) == child.size):
                raise NotFoundError(
                    f"manifest {parent.digest} names {child.digest}, which is not in the local store",
                    hint="push what a manifest names before the manifest; if it was removed meanwhile, push again",
                )

    def _save(self, path: Path, before: Listing, after: Listing, *, empty: bool = True) -> None:
        if after.entries == before.entries and path.exists():
            return
        if after.entries or empty:
            self.store.write(path, after.encode())
        else:
            _remove(path)

    def _save_tags(self, tags: dict[str, dict[str, object]]) -> None:
        if tags:
            self.store.write(self._tags_path, encode_tags(tags))
        else:
            _remove(self._tags_path)

    def _unknown(self, digest: Digest) -> NotFoundError:
        return NotFoundError(f"manifest {digest} is not in the local repository {self.name}")


def _remove(path: Path) -> None:
    with disk_errors("remove", path):
        path.unlink(missing_ok=True)
