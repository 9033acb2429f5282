"""From a Kitfile and a directory to the layers that will be: all is checked before a byte is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kitcar.errors import InvalidError, KitcarError, NotFoundError
from kitcar.files.tree import Kind as EntryKind
from kitcar.files.tree import Tree, reading
from kitcar.modelkit.compression import Method
from kitcar.modelkit.dialect import FILE_METADATA, FILEPATH, LAYER_SUBTYPE, SUBTYPE_PROMPT, Compression, Kind, LayerType
from kitcar.modelkit.ignore import IGNORE_FILE, IgnoreRules
from kitcar.modelkit.kitfile import FILE_NAMES, KitEntry, Kitfile
from kitcar.modelkit.plan import LayerPlan, plan_raw, plan_tar

_REGULAR = ord("0")
_SUFFIXES: dict[Method, Compression] = {
    Method.NONE: "",
    Method.GZIP: "gzip",
    Method.GZIP_FASTEST: "gzip",
    Method.ZSTD: "zstd",
}


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """One layer to be: the entry it is for, its type, how it is compressed, and what goes in."""

    entry: KitEntry
    type: LayerType
    method: Method
    plan: LayerPlan

    @property
    def label(self) -> str:
        """kit's word for the layer."""
        return self.type.label

    @property
    def annotations(self) -> dict[str, str]:
        """What the layer's descriptor says beside digest and size."""
        found = {FILEPATH: self.plan.path}
        if self.entry.kind is Kind.PROMPT:
            found[LAYER_SUBTYPE] = SUBTYPE_PROMPT
        if self.type.form == "raw":
            found[FILE_METADATA] = _metadata(self.plan)
        return found

    def warnings(self) -> Iterator[str]:
        """What whoever packs should know about this layer."""
        plan = self.plan
        if plan.spared:
            yield f"{self.label} layer path {plan.path} is in {IGNORE_FILE}: packed all the same, as the Kitfile names it"
        elif plan.ignored:
            yield f"{self.label} layer path {plan.path} is in {IGNORE_FILE}: only what that takes back is packed"
        if not plan.content and any(entry.kind is EntryKind.FILE for entry in plan.entries):
            yield f"all files in {self.label} layer with path {plan.path} are empty"
        elif not plan.content:
            yield f"No files detected in {self.label} layer with path {plan.path}"


def assemble(
    kitfile: Kitfile, context: Path, *, method: Method = Method.NONE, claimed: tuple[str, ...] = ()
) -> tuple[PlannedLayer, ...]:
    """The layers of `kitfile` over the directory `context`, in the order of the manifest.

    `claimed` are clean paths that belong to somebody else, such as a kit this one refers to, and stay out of all layers.

    Raises:
        NotFoundError: the directory or a path of the Kitfile does not exist.
        UnsafePathError: a path leaves the directory, or something in it cannot be packed (a link out of it, a loop, a device).
        InvalidError: an entry names the Kitfile itself, an MCP bundle is none, or `.kitignore` is malformed.
        KitcarError: a directory or file cannot be read.
    """
    tree = Tree(context)
    rules = read_rules(tree)
    entries = kitfile.entries()
    paths = (*(entry.clean_path for entry in entries), *claimed)
    planned, missing = [], []
    for entry in entries:
        if not entry.remote:
            try:
                planned.append(_planned(tree, entry, rules, paths, method))
            except NotFoundError as error:
                missing.append((entry, error))
    if missing:
        raise _not_found(missing)
    return tuple(planned)


def read_rules(tree: Tree) -> IgnoreRules:
    """The ignore rules of a directory; those that always hold if it has no `.kitignore`.

    Raises:
        InvalidError: the file is malformed.
        KitcarError: it cannot be read.
    """
    try:
        with reading(IGNORE_FILE):
            content = Path(tree.absolute(IGNORE_FILE)).read_bytes()
    except NotFoundError:
        content = b""
    return IgnoreRules.parse(content)


def _planned(tree: Tree, entry: KitEntry, rules: IgnoreRules, paths: tuple[str, ...], method: Method) -> PlannedLayer:
    path = entry.clean_path
    if path in FILE_NAMES:
        raise InvalidError(
            f"{entry.label} names {path}, the Kitfile itself",
            hint="take the entry out: every kit carries its Kitfile in its config",
        )
    form = LayerType(entry.kind, "raw") if entry.kind is Kind.MCPB else LayerType(entry.kind, "tar", _SUFFIXES[method])
    try:
        if form.form == "raw":
            _check_bundle(tree, entry)
            return PlannedLayer(entry, form, Method.NONE, plan_raw(tree, path))
        return PlannedLayer(entry, form, method, plan_tar(tree, path, rules, paths))
    except NotFoundError as error:
        raise NotFoundError(
            f"error processing {form.label}: {error}", hint="paths in a Kitfile are relative to the packed directory"
        ) from error


def _not_found(missing: list[tuple[KitEntry, NotFoundError]]) -> NotFoundError:
    first, others = missing[0][1], ", ".join(entry.clean_path for entry, _ in missing[1:])
    return NotFoundError(f"{first}, nor do {others}", hint=first.hint) if others else first


def _check_bundle(tree: Tree, entry: KitEntry) -> None:
    """An MCP bundle is a ZIP archive with `manifest.json` at its root."""
    from zipfile import BadZipFile, ZipFile

    path = entry.clean_path
    tree.find(path)
    try:
        with reading(path), ZipFile(tree.absolute(path)) as archive:
            names = archive.namelist()
    except (BadZipFile, KitcarError) as error:
        raise InvalidError(
            f"invalid MCP bundle for mcpServer {entry.name}: MCP bundle {path} is not a valid ZIP archive",
            hint=str(error),
        ) from error
    if "manifest.json" not in names:
        raise InvalidError(
            f"invalid MCP bundle for mcpServer {entry.name}: "
            f"MCP bundle {path} does not contain a manifest.json at its root"
        )


def _metadata(plan: LayerPlan) -> str:
    """The file of a raw layer as ModelPack describes it, members as kit writes them."""
    entry = plan.entries[0]
    seconds, rest = divmod(entry.changed, 10**9)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    changed = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"
    members = {
        "name": entry.name,
        "mode": entry.mode & 0o777,
        "uid": 0,
        "gid": 0,
        "size": entry.size,
        "mtime": changed,
        "typeflag": _REGULAR,
    }
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))
