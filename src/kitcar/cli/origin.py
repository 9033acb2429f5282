"""Where in a registry a layer probably is already, so that it can be mounted and need not be sent."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kitcar.errors import KitcarError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import successors
from kitcar.oci.reference import Reference
from kitcar.oci.verify import fetch_all

if TYPE_CHECKING:
    from kitcar.stores.layout import LayoutStore


class Origins:
    """Repositories of one registry, by the blobs that local storage knows in them; read when first asked for."""

    def __init__(self, store: LayoutStore, destination: Reference) -> None:
        self._store, self._destination = store, destination
        self._known: dict[Digest, str] | None = None
        self._lock = threading.Lock()

    def repository(self, blob: Descriptor) -> str | None:
        """A repository of the registry, other than the destination, that is likely to hold the blob."""
        with self._lock:
            if self._known is None:
                self._known = self._read()
            return self._known.get(blob.digest)

    def _read(self) -> dict[Digest, str]:
        prefix = f"{self._destination.registry}/"
        known: dict[Digest, str] = {}
        for name in self._store.repositories():
            repository = name.removeprefix(prefix)
            if repository in {name, self._destination.repository}:
                continue
            local = self._store.repository(name)
            for manifest in local.manifests():
                try:
                    known.update(
                        (child.digest, repository) for child in successors(manifest, fetch_all(local, manifest))
                    )
                except KitcarError:
                    continue
        return known
