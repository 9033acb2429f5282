"""The Kitfile: every section as a frozen value, read from YAML or from a ModelKit's config, written back as kit writes.

The rules are kit's (`pkg/artifact/kitfile.md` in its sources and what kit 1.15 does); unknown YAML keys are errors with line
and column, unknown JSON members of a config are accepted.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kitcar.errors import KitcarError, NotFoundError
from kitcar.modelkit.dialect import Kind
from kitcar.oci.digest import Digest

MANIFEST_VERSION = "1.0.0"
KITFILE_NAME = "Kitfile"
FILE_NAMES = (KITFILE_NAME, "kitfile", ".kitfile")


@dataclass(frozen=True, slots=True)
class Package:
    """What the kit as a whole is."""

    name: str = ""
    version: str = ""
    description: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelPart:
    """A file or directory that belongs to the model."""

    name: str = ""
    path: str = ""
    license: str = ""
    type: str = ""
    digest: Digest | None = None
    diff_id: Digest | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """The model; `path` is a local path or the reference of another ModelKit."""

    name: str = ""
    path: str = ""
    license: str = ""
    framework: str = ""
    format: str = ""
    version: str = ""
    description: str = ""
    parts: tuple[ModelPart, ...] = ()
    parameters: Any = None
    digest: Digest | None = None
    diff_id: Digest | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """Source code."""

    path: str = ""
    description: str = ""
    license: str = ""
    digest: Digest | None = None
    diff_id: Digest | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data; with `remote_path` it stays where that points (S3, or another ModelKit) and has no layer."""

    name: str = ""
    path: str = ""
    remote_path: str = ""
    remote_hash: str = ""
    description: str = ""
    license: str = ""
    parameters: Any = None
    digest: Digest | None = None
    diff_id: Digest | None = None


@dataclass(frozen=True, slots=True)
class Docs:
    """Documentation."""

    path: str = ""
    description: str = ""
    digest: Digest | None = None
    diff_id: Digest | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file, or a directory of an agent's skill."""

    name: str = ""
    path: str = ""
    description: str = ""
    digest: Digest | None = None
    diff_id: Digest | None = None


@dataclass(frozen=True, slots=True)
class McpServer:
    """An MCP server as one `.mcpb` bundle."""

    name: str = ""
    path: str = ""
    description: str = ""
    digest: Digest | None = None
    diff_id: Digest | None = None


Entry = Model | ModelPart | Code | Dataset | Docs | Prompt | McpServer


@dataclass(frozen=True, slots=True)
class KitEntry:
    """One entry of the Kitfile that names content; `remote` ones have no layer of their own.

    `path` is as written, `clean_path` without `./`, doubled and final slashes (`.` for the whole context).
    """

    kind: Kind
    index: int
    name: str
    path: str
    clean_path: str
    digest: Digest | None = None
    diff_id: Digest | None = None
    remote: bool = False

    @property
    def label(self) -> str:
        """The entry as kit's messages name it: `model iris`, `docs layer 0`."""
        if self.kind in {Kind.MODEL, Kind.MODELPART}:
            return f"{self.kind.value} {self.name or self.path}"
        word = "mcpServer" if self.kind is Kind.MCPB else self.kind.value
        return f"{word} layer {self.index}"


@dataclass(frozen=True, slots=True)
class Kitfile:
    """A whole Kitfile; `warnings` are what kit would have said about it while reading."""

    manifest_version: str = MANIFEST_VERSION
    package: Package = Package()
    model: Model | None = None
    code: tuple[Code, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    docs: tuple[Docs, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, text: bytes, where: str = "Kitfile") -> Kitfile:
        """Reads and validates the YAML form.

        Raises:
            InvalidError: the text is no Kitfile; `faults` has everything that is wrong, with line, column and hint.
        """
        from kitcar.modelkit.kitfile.decode import parse_yaml

        return parse_yaml(text, where)

    @classmethod
    def from_json(cls, raw: bytes | str, where: str = "config") -> Kitfile:
        """Reads the JSON form, a ModelKit's config. Unknown members are dropped, nothing is validated beyond types.

        Raises:
            InvalidError: it is not JSON, or a member has the wrong type.
        """
        from kitcar.modelkit.kitfile.document import decode_json

        return decode_json(raw, where)

    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON schema of the YAML form, for editors; paths and duplicates are beyond it."""
        from kitcar.modelkit.kitfile.schema import schema

        return schema()

    def to_yaml(self) -> bytes:
        """The YAML form, byte for byte as kit writes it; digests are left out."""
        from kitcar.modelkit.kitfile.emit import write

        return write(self.document(digests=False))

    def to_json(self) -> bytes:
        """The JSON form, byte for byte as kit writes it: the config blob of a ModelKit."""
        from kitcar.modelkit.kitfile.document import encode_json

        return encode_json(self)

    def document(self, *, digests: bool = True) -> dict[str, Any]:
        """The Kitfile as nested mappings in kit's member order, empty members left out."""
        from kitcar.modelkit.kitfile.document import document

        return document(self, digests=digests)

    def entries(self) -> tuple[KitEntry, ...]:
        """All that names content, in the order of layers: model, parts, code, datasets, docs, prompts, MCP servers."""
        from kitcar.modelkit.kitfile.path import is_reference

        entries: list[KitEntry] = []
        if self.model and self.model.path:
            entries.append(_entry(Kind.MODEL, 0, self.model, remote=is_reference(self.model.path)))
        if self.model:
            entries += [_entry(Kind.MODELPART, n, part) for n, part in enumerate(self.model.parts)]
        entries += [_entry(Kind.CODE, n, code) for n, code in enumerate(self.code)]
        entries += [
            _entry(Kind.DATASET, n, data, remote=bool(data.remote_path)) for n, data in enumerate(self.datasets)
        ]
        entries += [_entry(Kind.DOCS, n, docs) for n, docs in enumerate(self.docs)]
        entries += [_entry(Kind.PROMPT, n, prompt) for n, prompt in enumerate(self.prompts)]
        entries += [_entry(Kind.MCPB, n, server) for n, server in enumerate(self.mcp_servers)]
        return tuple(entries)

    def with_layers(self, layers: Mapping[tuple[Kind, int], tuple[Digest, Digest]]) -> Kitfile:
        """A copy whose entries carry the digest and diffId of their layers, by kind and index."""

        def mark(kind: Kind, items: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(_marked(item, layers.get((kind, index))) for index, item in enumerate(items))

        model = self.model
        if model:
            model = replace(_marked(model, layers.get((Kind.MODEL, 0))), parts=mark(Kind.MODELPART, model.parts))
        return replace(
            self,
            model=model,
            code=mark(Kind.CODE, self.code),
            datasets=mark(Kind.DATASET, self.datasets),
            docs=mark(Kind.DOCS, self.docs),
            prompts=mark(Kind.PROMPT, self.prompts),
            mcp_servers=mark(Kind.MCPB, self.mcp_servers),
        )


def find_kitfile(directory: Path) -> Path:
    """The Kitfile of a directory, under any of the names kit takes.

    Raises:
        NotFoundError: there is none.
        KitcarError: the directory cannot be looked into.
    """
    for name in FILE_NAMES:
        try:
            if (path := directory / name).is_file():
                return path
        except OSError as error:
            raise KitcarError(
                f"cannot look into {directory}: {(error.strerror or str(error)).lower()}",
                hint="check who owns it and who may read it",
            ) from error
    raise NotFoundError(
        f"No Kitfile found in {directory}. Consider using the -f flag to specify its path",
        hint=f"`kitcar init {directory}` writes one" if directory.is_dir() else f"{directory} is no directory",
    )


def clean_path(path: str) -> str:
    """`path` without `./`, inner `..`, doubled and final slashes; the empty path is the context itself, `.`."""
    cleaned = posixpath.normpath(path or ".")
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


def _entry(kind: Kind, index: int, entry: Entry, *, remote: bool = False) -> KitEntry:
    path = entry.path
    name = "" if isinstance(entry, Code | Docs) else entry.name
    cleaned = path if remote and kind is Kind.MODEL else clean_path(path)
    return KitEntry(kind, index, name, path, cleaned, entry.digest, entry.diff_id, remote)


def _marked(entry: Any, layer: tuple[Digest, Digest] | None) -> Any:
    return replace(entry, digest=layer[0], diff_id=layer[1]) if layer else entry
