"""A ModelKit or ModelPack as it lies in a store: manifest and Kitfile together, and which layer is which entry's."""

from __future__ import annotations

from dataclasses import dataclass

from kitcar.modelkit.dialect import CLI_VERSION, Dialect, LayerType
from kitcar.modelkit.kitfile import KitEntry, Kitfile
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.storage import ReadTarget


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer and the Kitfile entry it belongs to.

    `path` is the cleaned path the layer may write to (with the directories above it), relative to the destination. A tar
    layer's names are relative to `base` (`.`, but the entry's parent directory in kits without digests, of before kit 0.5).
    `mode` and `content_size` are what a raw layer's metadata promises of its one file.
    """

    descriptor: Descriptor
    type: LayerType
    entry: KitEntry
    diff_id: Digest | None
    path: str
    base: str = "."
    mode: int | None = None
    content_size: int | None = None


@dataclass(frozen=True, slots=True)
class Kit:
    """An artifact that was read; `generated` says that its Kitfile was made from the layers of a foreign ModelPack."""

    descriptor: Descriptor
    manifest: Manifest
    kitfile: Kitfile
    dialect: Dialect
    generated: bool = False
    diff_ids: tuple[Digest, ...] | None = None

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.manifest.layers)

    @property
    def version(self) -> str:
        """The version of the tool that packed it, `unknown` if that did not say."""
        return self.manifest.annotations.get(CLI_VERSION) or "unknown"

    def layers(self) -> tuple[Layer, ...]:
        """Every layer with its entry, in the order of `Kitfile.entries`.

        Raises:
            InvalidError: manifest and Kitfile do not fit; `faults` has all that is wrong.
            IntegrityError: a digest and a diffId contradict each other.
        """
        from kitcar.modelkit.kit_layers import match

        return match(self)


def read_kit(source: ReadTarget, descriptor: Descriptor) -> Kit:
    """Reads the kit a resolved descriptor names: manifest and config, both verified; no layer.

    Raises:
        InvalidError: it is no kit, or its config is malformed.
        IntegrityError: bytes are not what their descriptor promises.
        NotFoundError: the manifest or config is not there.
    """
    from kitcar.modelkit.kit_layers import read

    return read(source, descriptor)
