"""Reading a kit, and which layer of its manifest belongs to which entry of its Kitfile.

An artifact is taken whole or not at all: a layer nobody names, an entry without its layer, a layer of the wrong kind, place
or diffId is an error here, before a byte of it is fetched.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kitcar.errors import Fault, IntegrityError, InvalidError
from kitcar.modelkit import dialect as words
from kitcar.modelkit.dialect import Dialect, Kind, LayerType, dialect_of
from kitcar.modelkit.kit import Kit, Layer
from kitcar.modelkit.kitfile import Code, Dataset, Docs, KitEntry, Kitfile, Model, ModelPart, clean_path
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.storage import ReadTarget
from kitcar.oci.verify import fetch_all

_PERMISSIONS = 0o777


def read(source: ReadTarget, descriptor: Descriptor) -> Kit:
    """See `kit.read_kit`."""
    if descriptor.media_type in media.INDEXES:
        raise InvalidError(
            f"{descriptor.digest} is an index of several artifacts, not a ModelKit", hint="name one of them"
        )
    manifest = Manifest.parse(fetch_all(source, descriptor))
    dialect = dialect_of(manifest)
    if dialect is Dialect.MODELKIT:
        if manifest.config.media_type != words.MODELKIT_CONFIG:
            raise InvalidError("configuration descriptor does not describe a Kitfile")
        kitfile = Kitfile.from_json(fetch_all(source, manifest.config))
        return Kit(descriptor, manifest, kitfile, dialect)
    diff_ids = _pack_diff_ids(source, manifest)
    if text := manifest.annotations.get(words.KITFILE):
        return Kit(descriptor, manifest, Kitfile.from_json(text, "Kitfile annotation"), dialect, diff_ids=diff_ids)
    return Kit(descriptor, manifest, generate(manifest, diff_ids), dialect, generated=True, diff_ids=diff_ids)


def generate(manifest: Manifest, diff_ids: tuple[Digest, ...] | None) -> Kitfile:
    """A Kitfile with a path for every layer of a ModelPack that carries none; the first weights are the model.

    Raises:
        InvalidError: a layer does not say its path, or is of a type ModelPack does not know.
    """
    model: Model | None = None
    parts: list[ModelPart] = []
    code: list[Code] = []
    datasets: list[Dataset] = []
    docs: list[Docs] = []
    for number, descriptor in enumerate(manifest.layers):
        path = descriptor.annotations.get(words.FILEPATH)
        if not path:
            raise InvalidError(f"unknown file path for layer: no {words.FILEPATH} annotation ({descriptor.digest})")
        kind = _known(descriptor).kind
        mark = {"path": path, "digest": descriptor.digest, "diff_id": diff_ids[number] if diff_ids else None}
        if kind is Kind.MODEL and model is None:
            model = Model(**mark)  # type: ignore[arg-type]
        elif kind in {Kind.MODEL, Kind.MODELPART}:
            parts.append(ModelPart(**mark))  # type: ignore[arg-type]
        elif kind is Kind.DATASET:
            datasets.append(Dataset(**mark))  # type: ignore[arg-type]
        elif kind is Kind.DOCS:
            docs.append(Docs(**mark))  # type: ignore[arg-type]
        else:
            code.append(Code(**mark))  # type: ignore[arg-type]
    whole = replace(model or Model(), parts=tuple(parts))
    return Kitfile(model=whole, code=tuple(code), datasets=tuple(datasets), docs=tuple(docs))


def match(kit: Kit) -> tuple[Layer, ...]:
    """See `Kit.layers`."""
    entries = [entry for entry in kit.kitfile.entries() if not entry.remote]
    marked = [entry for entry in entries if entry.digest]
    matcher = _Matcher(kit)
    if not marked:
        matcher.by_position(entries)
    elif len(marked) == len(entries):
        matcher.by_digest(entries)
    else:
        bare = next(entry for entry in entries if not entry.digest)
        raise InvalidError(f"invalid digests in layerinfo in Kitfile: {bare.label} has none, others have")
    return matcher.result()


@dataclass(slots=True)
class _Matcher:
    """Gives every entry its layer and collects what does not fit."""

    kit: Kit
    layers: list[Layer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    waiting: list[tuple[int, Descriptor, LayerType]] = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = []
        for number, descriptor in enumerate(self.kit.manifest.layers):
            if self.kit.dialect is Dialect.MODELPACK and descriptor.media_type == words.MODELKIT_CONFIG:
                continue  # a Kitfile that travels as a layer
            found = LayerType.parse(descriptor.media_type, descriptor.annotations)
            if found is None:
                self.problems.append(f"layer {descriptor.digest} has the unknown media type {descriptor.media_type}")
            else:
                self.waiting.append((number, descriptor, found))

    def by_digest(self, entries: Iterable[KitEntry]) -> None:
        held: dict[Digest, list[tuple[int, Descriptor, LayerType]]] = {}
        for item in self.waiting:
            held.setdefault(item[1].digest, []).append(item)
        for entry in entries:
            same = held.get(entry.digest, []) if entry.digest else []
            if not same:
                self.problems.append(f"digest {entry.digest} not found in manifest ({entry.label})")
                continue
            # Raw layers of equal files have one digest; their paths tell them apart.
            mine = (n for n, (_, layer, _) in enumerate(same) if _filepath(layer) == entry.clean_path)
            self._take(entry, *same.pop(next(mine, 0)), base=".")
        self.waiting = sorted((item for items in held.values() for item in items), key=lambda item: item[0])

    def by_position(self, entries: Iterable[KitEntry]) -> None:
        """Kits of before kit 0.5: the n-th layer of a kind is the n-th entry, its names relative to the entry's parent."""
        for entry in entries:
            found = next((item for item in self.waiting if _fits(entry.kind, item[2], self.kit.dialect, item[1])), None)
            if found is None:
                self.problems.append(f"no layer for {entry.label}: the manifest has too few of that kind")
                continue
            self.waiting.remove(found)
            self._take(entry, *found, base=posixpath.dirname(entry.clean_path) or ".")

    def result(self) -> tuple[Layer, ...]:
        self.problems += [
            f"layer {descriptor.digest} ({found.label}) is not named in the Kitfile"
            for _, descriptor, found in self.waiting
        ]
        if self.problems:
            start = f"manifest and Kitfile of {self.kit.descriptor.digest} do not fit: "
            lines = [f"\n  * {problem}" for problem in self.problems]
            raise InvalidError(
                start + (self.problems[0] if len(lines) == 1 else "".join(lines)),
                faults=tuple(Fault(problem) for problem in self.problems),
                hint="the artifact was damaged or made by a faulty tool; have it packed again",
            )
        return tuple(self.layers)

    def _take(self, entry: KitEntry, number: int, descriptor: Descriptor, found: LayerType, *, base: str) -> None:
        if not _fits(entry.kind, found, self.kit.dialect, descriptor):
            self.problems.append(f"{entry.label} names layer {descriptor.digest}, which is of type {found.label}")
        path = descriptor.annotations.get(words.FILEPATH, "")
        if not path and found.form == "raw":
            self.problems.append(f"failed to unpack raw layer: no {words.FILEPATH} annotation ({descriptor.digest})")
        elif path and clean_path(path) != entry.clean_path:
            self.problems.append(f"layer {descriptor.digest} says it is {path!r}, {entry.label} says {entry.path!r}")
        if _outside(entry.clean_path):
            self.problems.append(f"paths must be within context directory (path {entry.path!r} in {entry.label})")
        mode, size = self._metadata(descriptor) if found.form == "raw" else (None, None)
        diff_id = self._diff_id(entry, number, descriptor, found)
        self.layers.append(Layer(descriptor, found, entry, diff_id, entry.clean_path, base, mode, size))

    def _metadata(self, descriptor: Descriptor) -> tuple[int | None, int | None]:
        text = descriptor.annotations.get(words.FILE_METADATA)
        if not text:
            return None, None
        try:
            mode, size = _file_metadata(json.loads(text))
        except (ValueError, RecursionError, TypeError) as error:
            self.problems.append(
                f"error reading {words.FILE_METADATA} annotation on layer {descriptor.digest}: {error}"
            )
            return None, None
        return mode, size

    def _diff_id(self, entry: KitEntry, number: int, descriptor: Descriptor, found: LayerType) -> Digest | None:
        listed = self.kit.diff_ids[number] if self.kit.diff_ids else None
        diff_id = entry.diff_id or listed
        if listed and entry.diff_id and listed not in {entry.diff_id, Digest.of(str(entry.diff_id).encode())}:
            # kit 1.11 and before list the digest of the diffId's text in a ModelPack's config.
            raise _contradiction(entry, "the ModelPack config", expected=str(entry.diff_id), actual=str(listed))
        same_kind = diff_id and diff_id.algorithm == descriptor.digest.algorithm
        if same_kind and not found.compression and diff_id != descriptor.digest:
            raise _contradiction(entry, "the manifest", expected=str(descriptor.digest), actual=str(diff_id))
        return diff_id


def _contradiction(entry: KitEntry, other: str, *, expected: str, actual: str) -> IntegrityError:
    return IntegrityError(
        f"the diffId of {entry.label} contradicts {other}: {actual} instead of {expected}",
        expected=expected,
        actual=actual,
        hint="the artifact was damaged or made by a faulty tool; have it packed again",
    )


def _fits(kind: Kind, found: LayerType, dialect: Dialect, descriptor: Descriptor) -> bool:
    if found.kind is kind:
        return found.dialect is dialect
    if found.dialect is not dialect:
        return False
    if dialect is Dialect.MODELPACK and kind is Kind.MODELPART:
        return found.kind is Kind.MODEL  # several weight layers
    return kind is Kind.PROMPT and found.kind is Kind.CODE and not descriptor.annotations


def _filepath(descriptor: Descriptor) -> str:
    return clean_path(descriptor.annotations.get(words.FILEPATH, ""))


def _outside(path: str) -> bool:
    return path == ".." or path.startswith(("/", "../")) or "\0" in path


def _file_metadata(value: Any) -> tuple[int | None, int | None]:
    if not isinstance(value, Mapping):
        raise TypeError("an object was expected")
    mode, size = value.get("mode", 0o644), value.get("size")
    if not isinstance(mode, int) or (size is not None and (not isinstance(size, int) or size < 0)):
        raise TypeError("mode and size must be numbers")
    return mode & _PERMISSIONS, size


def _known(descriptor: Descriptor) -> LayerType:
    found = LayerType.parse(descriptor.media_type)
    if found is None or found.dialect is not Dialect.MODELPACK:
        raise InvalidError(f"failed to parse media type: unrecognized media type {descriptor.media_type}")
    return found


def _pack_diff_ids(source: ReadTarget, manifest: Manifest) -> tuple[Digest, ...] | None:
    """The diffIds of a ModelPack's config; None where there is no such config."""
    if manifest.config.media_type != words.MODELPACK_CONFIG:
        return None
    return diff_ids_of(fetch_all(source, manifest.config), manifest)


def diff_ids_of(config: bytes, manifest: Manifest) -> tuple[Digest, ...]:
    """The diffIds that the config of a ModelPack lists, one for each layer.

    Raises:
        InvalidError: they cannot be read, or are not as many as layers.
    """
    try:
        listed = json.loads(config)["modelfs"]["diffIds"] or []
        diff_ids = tuple(Digest.parse(item) for item in listed)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise InvalidError("failed to parse modelpack config: it has no readable modelfs.diffIds") from error
    if len(diff_ids) != len(manifest.layers):
        raise InvalidError(
            "invalid ModelPack config: number of layers does not match DiffIDs "
            f"({len(manifest.layers)} layers, {len(diff_ids)} diffIds)"
        )
    return diff_ids
