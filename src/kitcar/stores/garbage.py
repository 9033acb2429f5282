"""What a store still needs, and the removal of what it does not; all under the store's exclusive lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitcar.errors import InvalidError, KitcarError, NotFoundError, UnsupportedError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import successors
from kitcar.stores.disk import disk_errors
from kitcar.stores.document import NEW_INDEX, Listing, read_listing

if TYPE_CHECKING:
    from kitcar.stores.layout import LayoutStore


def main_listing(store: LayoutStore) -> Listing:
    """`index.json`, which lists the manifests of all repositories; made anew from theirs if it is damaged.

    Raises:
        InvalidError: it is damaged, and so is the index of a repository.
    """
    try:
        return read_listing(store.root / "index.json") or NEW_INDEX
    except InvalidError:
        entries = [entry for listing in store.listings().values() for entry in listing.entries]
        made = NEW_INDEX.adding(*entries)
        store.write(store.root / "index.json", made.encode())
        return made


def collect(store: LayoutStore, removed: Descriptor) -> None:
    """Drops `removed`, a manifest that its repository lists no more, and all under it that nothing else needs.

    Raises:
        InvalidError: the index of a repository is damaged, so that what is needed is not known.
        KitcarError: the disk refuses.
    """
    if any(listing.entry(removed.digest) for listing in store.listings().values()):
        return
    path, main = store.root / "index.json", main_listing(store)
    store.write(path, main.without(removed.digest).encode())
    needed = _needed(store, main.without(removed.digest)) | store.leases.held()
    for digest in _graph(store, removed):
        if str(digest) not in needed:
            _unlink(store, digest)


def drop_blob(store: LayoutStore, blob: Descriptor) -> None:
    """Removes a blob that no manifest needs.

    Raises:
        NotFoundError: it is not here.
        UnsupportedError: a manifest needs it.
    """
    if store.size(blob.digest) is None:
        raise NotFoundError(f"{blob.digest} is not in the local store {store.root}")
    if str(blob.digest) in _needed(store, main_listing(store)):
        raise UnsupportedError(f"{blob.digest} is part of an artifact that is here", hint="remove the artifact itself")
    _unlink(store, blob.digest)


def _needed(store: LayoutStore, main: Listing) -> set[str]:
    """Every digest that some listed manifest names, those of kit's index included that no repository lists yet.

    Raises:
        KitcarError: a manifest is here and the disk does not give it, so that what it names is not known.
    """
    entries = {entry["digest"]: entry for listing in store.listings().values() for entry in listing.entries}
    entries |= {entry["digest"]: entry for entry in main.entries}
    digests: set[str] = set()
    for entry in entries.values():
        digests.update(str(digest) for digest in _graph(store, Descriptor.decode(entry)))
    return digests


def _graph(store: LayoutStore, root: Descriptor) -> set[Digest]:
    """`root` and all under it, as far as its manifests are here and right. Raises: see `_needed`."""
    found: set[Digest] = set()
    waiting = [root]
    while waiting:
        descriptor = waiting.pop()
        if descriptor.digest in found:
            continue
        found.add(descriptor.digest)
        if media.is_manifest(descriptor.media_type):
            path = store.path(descriptor.digest)
            try:
                with disk_errors("read", path):
                    data = path.read_bytes()
            except KitcarError as error:
                if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                    continue
                raise
            try:
                waiting += successors(descriptor, data)
            except KitcarError:
                continue
    return found


def _unlink(store: LayoutStore, digest: Digest) -> None:
    with disk_errors("remove", store.path(digest)):
        store.path(digest).unlink(missing_ok=True)
