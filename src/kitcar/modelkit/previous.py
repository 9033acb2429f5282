"""What lay under the tag before: packing again keeps what has not changed, down to the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kitcar.errors import KitcarError
from kitcar.modelkit.assemble import PlannedLayer
from kitcar.modelkit.compression import Method
from kitcar.modelkit.kit import Layer, read_kit
from kitcar.oci import media
from kitcar.oci.manifest import Manifest
from kitcar.oci.storage import ReadTarget


@dataclass(frozen=True, slots=True)
class Previous:
    """The kit a tag named: its manifest, its layers by path, and when it was made (ns, 0 if it does not say)."""

    manifest: Manifest
    layers: Mapping[str, Layer]
    created: int

    def candidate(self, planned: PlannedLayer) -> Layer | None:
        """The layer that `planned` probably is again: same path, type and size, and no file was written since.

        Probably is enough, since its bytes are compared; a wrong guess costs a second read.
        """
        layer = self.layers.get(planned.plan.path)
        if layer is None or layer.diff_id is None or layer.type != planned.type:
            return None
        if planned.method is Method.NONE and layer.descriptor.size != planned.plan.size:
            return None
        written = max((entry.changed for entry in planned.plan.entries), default=0)
        return layer if written < self.created else None


def find_previous(target: ReadTarget, tags: tuple[str, ...]) -> Previous | None:
    """The kit that the first tag names; None if there is no tag, or no kit that can be read."""
    if not tags:
        return None
    try:
        kit = read_kit(target, target.resolve(tags[0]))
        layers = kit.layers()
    except KitcarError:
        # Whatever was there is replaced in any case; if the target itself fails, storing will tell.
        return None
    return Previous(kit.manifest, {layer.path: layer for layer in layers}, _created(kit.manifest))


def _created(manifest: Manifest) -> int:
    try:
        return int(datetime.fromisoformat(manifest.annotations[media.CREATED]).timestamp()) * 10**9
    except (KeyError, ValueError):
        return 0
