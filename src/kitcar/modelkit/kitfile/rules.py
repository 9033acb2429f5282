"""What makes a Kitfile valid, beyond its form: kit's rules about paths, names and remote data, in kit's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kitcar.errors import InvalidError
from kitcar.modelkit.dialect import Kind
from kitcar.modelkit.kitfile.path import Place, place_of
from kitcar.modelkit.kitfile.values import MANIFEST_VERSION, Dataset, KitEntry, Kitfile, clean_path

Spot = tuple[str | int, ...]
"""Where in the document: `("docs", 0, "path")`."""

_SECTIONS = {
    Kind.MODEL: "model",
    Kind.CODE: "code",
    Kind.DATASET: "datasets",
    Kind.DOCS: "docs",
    Kind.PROMPT: "prompts",
    Kind.MCPB: "mcpServers",
}
_WORDS = {Kind.MODELPART: "model part", Kind.DOCS: "doc", Kind.MCPB: "mcpServer"}
_PART_TYPE = re.compile(r"\w[\w.-]*", re.ASCII)
_MAX_PART_TYPE = 64
_LOCAL_ONLY = "only local paths are permitted"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule."""

    spot: Spot
    message: str
    hint: str | None = None


def validate(kitfile: Kitfile, ignored: frozenset[Spot] = frozenset()) -> list[Finding]:
    """All broken rules; entries whose path could not be read (`ignored`) are left out of those about paths."""
    entries = [entry for entry in _entries(kitfile) if (*spot_of(entry), "path") not in ignored]
    findings = [finding for entry in entries for finding in _path(entry)]
    findings += _part_types(kitfile)
    findings += [finding for n, dataset in enumerate(kitfile.datasets) for finding in _remote(n, dataset)]
    findings += _server_names(kitfile)
    findings += _duplicates(entries)
    findings += [finding for entry in entries for finding in _inside_remote(entry, kitfile)]
    return findings


def warnings(kitfile: Kitfile) -> tuple[str, ...]:
    """What is accepted, but not as it may have been meant; kit's texts."""
    found = []
    if kitfile.manifest_version != MANIFEST_VERSION:
        version = kitfile.manifest_version
        found.append(f"Unrecognized manifestVersion {version}: treating Kitfile as {MANIFEST_VERSION}")
    found += [
        f"remoteHash is ignored for ModelKit references in datasets ({dataset.path})"
        for dataset in kitfile.datasets
        if dataset.remote_path and dataset.remote_hash and _place(dataset.remote_path) is Place.REFERENCE
    ]
    return tuple(found)


def spot_of(entry: KitEntry) -> Spot:
    """Where in the document an entry stands."""
    if entry.kind is Kind.MODEL:
        return ("model",)
    return ("model", "parts", entry.index) if entry.kind is Kind.MODELPART else (_SECTIONS[entry.kind], entry.index)


def _entries(kitfile: Kitfile) -> tuple[KitEntry, ...]:
    """Those of the Kitfile, and a model without a path, which stands for the whole context here."""
    entries = kitfile.entries()
    if kitfile.model and not kitfile.model.path:
        return (KitEntry(Kind.MODEL, 0, kitfile.model.name, "", "."), *entries)
    return entries


def _path(entry: KitEntry) -> Iterator[Finding]:
    spot = (*spot_of(entry), "path")
    word = _WORDS.get(entry.kind, entry.kind.value)
    start = "invalid path for model" if entry.kind is Kind.MODEL else f"invalid path for {word} ({entry.path})"
    try:
        place = place_of(entry.path)
    except InvalidError as error:
        yield Finding(spot, f"{start}: {error}", _LOCAL_ONLY)
        return
    if entry.kind is Kind.MODEL and place not in {Place.LOCAL, Place.REFERENCE}:
        yield Finding(spot, f"{start}: only local paths and ModelKit references are permitted")
    elif entry.kind is not Kind.MODEL and place is not Place.LOCAL:
        hint = "a local file whose name looks like that is written ./NAME" if place is Place.REFERENCE else None
        yield Finding(spot, f"{start}: {_LOCAL_ONLY}", hint)
    elif entry.kind is Kind.MCPB and not entry.path.endswith(".mcpb"):
        yield Finding(spot, f"{start}: path must point to a single .mcpb file")
    if place is Place.LOCAL:
        yield from _inside_context(entry, spot)


def _inside_context(entry: KitEntry, spot: Spot) -> Iterator[Finding]:
    hint = "write it relative to the directory of the Kitfile"
    if entry.clean_path.startswith("/"):
        label = f"(path {entry.clean_path} in {entry.label})"
        yield Finding(spot, f"absolute paths are not supported in a Kitfile {label}", hint)
    elif entry.clean_path == ".." or entry.clean_path.startswith("../"):
        yield Finding(spot, f"paths must be within context directory (path {entry.clean_path} in {entry.label})", hint)
    elif "\0" in entry.path:
        yield Finding(spot, f"a path cannot hold a NUL character ({entry.label})")


def _part_types(kitfile: Kitfile) -> Iterator[Finding]:
    for number, part in enumerate(kitfile.model.parts if kitfile.model else ()):
        spot = ("model", "parts", number, "type")
        if part.type and not _PART_TYPE.fullmatch(part.type):
            rule = "(must be alphanumeric with dots, dashes, and underscores)"
            yield Finding(spot, f"modelpart {part.name} has invalid type {rule}")
        if len(part.type.encode()) > _MAX_PART_TYPE:
            yield Finding(
                spot, f"modelpart {part.name} type is too long (must be fewer than {_MAX_PART_TYPE} characters)"
            )


def _remote(number: int, dataset: Dataset) -> Iterator[Finding]:
    spot = ("datasets", number, "remotePath")
    if not dataset.remote_path:
        if dataset.remote_hash:
            message = "remote hash is only applicable when remotePath is set"
            yield Finding(("datasets", number, "remoteHash"), message)
        return
    place = _place(dataset.remote_path)
    if place is Place.S3 and not dataset.remote_hash:
        message = f"remoteHash is required when remote dataset paths are used ({dataset.remote_path})"
        yield Finding(spot, message, "give the object's ETag")
    elif place not in {Place.S3, Place.REFERENCE}:
        message = "only S3 URLs and ModelKit references are supported for remote dataset paths"
        yield Finding(spot, f"{message} ({dataset.remote_path})")


def _server_names(kitfile: Kitfile) -> Iterator[Finding]:
    names: set[str] = set()
    for number, server in enumerate(kitfile.mcp_servers):
        spot = ("mcpServers", number, "name")
        if not server.name:
            yield Finding(spot, f"mcpServer with path {server.path} must have a name")
        elif server.name in names:
            yield Finding(spot, f"duplicate mcpServer name {server.name}: names must be unique")
        names.add(server.name)


def _duplicates(entries: list[KitEntry]) -> Iterator[Finding]:
    users: dict[str, list[KitEntry]] = {}
    for entry in entries:
        users.setdefault(clean_path(entry.path), []).append(entry)
    for path, same in users.items():
        if len(same) > 1:
            first = ", ".join(entry.label for entry in same[:-1])
            message = f"{first} and {same[-1].label} use the same path {path}"
            yield Finding((*spot_of(same[-1]), "path"), message, "one file belongs to one layer")


def _inside_remote(entry: KitEntry, kitfile: Kitfile) -> Iterator[Finding]:
    """Whether an entry lies where a referenced ModelKit's data will be unpacked."""
    path = clean_path(entry.path)
    for dataset in kitfile.datasets:
        if not dataset.remote_path or _place(dataset.remote_path) is not Place.REFERENCE:
            continue
        root = clean_path(dataset.path)
        if root != path and (path.startswith(f"{root}/") or (root == "." and not path.startswith(("/", "../")))):
            message = f"{entry.label} uses a path ({path}) that is within the path for a remote dataset"
            yield Finding((*spot_of(entry), "path"), message)


def _place(path: str) -> Place | None:
    try:
        return place_of(path)
    except InvalidError:
        return None
