"""A ModelKit or ModelPack as a source: its Kitfile and its layers, from a local store or straight from a registry."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kitcar.errors import UnsafePathError
from kitcar.files.paths import Scope, below, clean, shown
from kitcar.modelkit.dialect import Kind
from kitcar.modelkit.kit import Kit, Layer
from kitcar.modelkit.kitfile import KITFILE_NAME, KitEntry
from kitcar.modelkit.present import holds_raw, holds_tar
from kitcar.modelkit.select import Selection
from kitcar.oci.digest import Digest
from kitcar.oci.storage import BytesReader, Fetcher, Reader, StoredContent
from kitcar.sources.source import Check, Layout, Part, SingleFile, TarLayer

EVERYTHING = Selection()

_ORDER = (Kind.MODEL, Kind.MODELPART, Kind.DATASET, Kind.CODE, Kind.DOCS, Kind.PROMPT, Kind.MCPB)
"""The order in which kit 1.15 unpacks; layers are stored in another."""

_NAMED = {Kind.MODEL, Kind.MODELPART, Kind.DATASET, Kind.PROMPT, Kind.MCPB}


class KitSource:
    """The selected entries of a kit as parts; what lies elsewhere (another kit, a bucket) is not among them."""

    def __init__(self, source: Fetcher, kit: Kit, selection: Selection = EVERYTHING) -> None:
        self._source, self._kit, self._selection = source, kit, selection

    def parts(self) -> tuple[Part, ...]:
        """See `Source.parts`.

        Raises:
            InvalidError, IntegrityError: manifest and Kitfile do not fit.
            UnsafePathError: an entry's path leaves the directory.
        """
        layers = self._kit.layers()
        paths = {layer.path for layer in layers}
        # A Kitfile that was made up from a foreign ModelPack's layers was never part of it.
        with_kitfile = self._selection.kitfile and not self._kit.generated
        if with_kitfile:
            paths.add(KITFILE_NAME)
        wanted = [layer for layer in layers if self._selection.matches(layer.entry)]
        wanted.sort(key=lambda layer: _ORDER.index(layer.entry.kind))
        ordered = sorted(paths)
        parts: list[Part] = [KitPart.of(self._source, layer, ordered) for layer in wanted]
        if with_kitfile:
            parts.insert(0, KitfilePart(self._kit.kitfile.to_yaml()))
        return tuple(parts)


@dataclass(frozen=True, slots=True)
class KitPart:
    """A layer."""

    source: Fetcher
    layer: Layer
    layout: Layout
    others: tuple[str, ...]

    @classmethod
    def of(cls, source: Fetcher, layer: Layer, paths: Sequence[str]) -> KitPart:
        """The part for a layer of a kit that puts things at these clean and sorted `paths`, its own among them.

        Raises:
            UnsafePathError: the layer's path leaves the directory.
        """
        path = clean(layer.path)
        others = _below(path, paths)
        layout: Layout
        if layer.type.form == "raw":
            if path == ".":
                raise UnsafePathError(f"a raw layer cannot be written to '{shown(layer.entry.path)}', a directory")
            mode = 0o644 if layer.mode is None else layer.mode
            layout = SingleFile(path, mode, layer.type.compression, layer.diff_id, layer.content_size)
        else:
            layout = TarLayer(Scope(path, others), clean(layer.base), layer.type.compression, layer.diff_id)
        return cls(source, layer, layout, others)

    @property
    def key(self) -> str:
        """See `Part.key`."""
        return f"{self.layer.descriptor.digest} {self.layout!r}"

    @property
    def name(self) -> str:
        """See `Part.name`."""
        return shown(self.layer.entry.path)

    @property
    def size(self) -> int:
        """See `Part.size`."""
        return self.layer.descriptor.size

    @property
    def digest(self) -> Digest:
        """See `Part.digest`."""
        return self.layer.descriptor.digest

    def open(self, offset: int = 0) -> Reader:
        """See `Part.open`."""
        return StoredContent(self.source, self.layer.descriptor).open(offset)

    def present(self, root: Path, check: Check) -> bool:
        """See `Part.present`."""
        layout, plain = self.layout, not self.layout.compression
        diff_id = self.layer.diff_id or (self.digest if plain else None)
        if diff_id is None:
            return False
        if isinstance(layout, SingleFile):
            size = self.size if plain else layout.content_size
            return holds_raw(root, layout.path, diff_id, size=size, check=check)
        if layout.base != ".":
            return False
        size = self.size if plain else None
        return holds_tar(root, layout.scope.path, diff_id, size=size, others=self.others, check=check)

    def announcement(self, root: Path, *, found: bool) -> str:  # noqa: ARG002 - kit says the same for both
        """See `Part.announcement`; the line is kit's."""
        return _line(self.layer.entry)


@dataclass(frozen=True, slots=True)
class KitfilePart:
    """The Kitfile, in the form that kit writes."""

    content: bytes

    @property
    def key(self) -> str:
        """See `Part.key`."""
        return f"{KITFILE_NAME} {self.digest}"

    @property
    def name(self) -> str:
        """See `Part.name`."""
        return KITFILE_NAME

    @property
    def size(self) -> int:
        """See `Part.size`."""
        return len(self.content)

    @property
    def digest(self) -> Digest:
        """See `Part.digest`."""
        return Digest.of(self.content)

    @property
    def layout(self) -> Layout:
        """See `Part.layout`."""
        return SingleFile(KITFILE_NAME)

    def open(self, offset: int = 0) -> Reader:
        """See `Part.open`."""
        return BytesReader(memoryview(self.content)[offset:])

    def present(self, root: Path, check: Check) -> bool:
        """See `Part.present`."""
        check()
        try:
            descriptor = os.open(root / KITFILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return os.read(descriptor, len(self.content) + 1) == self.content
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def announcement(self, root: Path, *, found: bool) -> str:
        """See `Part.announcement`; the lines are kit's."""
        return f"{'Found existing Kitfile at' if found else 'Unpacking config to'} {shown(str(root / KITFILE_NAME))}"


def _below(directory: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Those of the sorted `paths` that lie below `directory`: they stand side by side, and there may be very many."""
    if directory == ".":
        return tuple(path for path in paths if path != ".")
    start = bisect.bisect_left(paths, f"{directory}/")
    rest = map(paths.__getitem__, range(start, len(paths)))
    return tuple(itertools.takewhile(lambda path: below(path, directory), rest))


def _line(entry: KitEntry) -> str:
    what = "MCP server" if entry.kind is Kind.MCPB else entry.kind.value
    name = f" {shown(entry.name)}" if entry.name and entry.kind in _NAMED else ""
    return f"Unpacking {what}{name} to {shown(entry.path)}"
