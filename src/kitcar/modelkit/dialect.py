"""The two dialects of a model artifact, KitOps ModelKit and CNCF ModelPack: media types, artifact types, annotations."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kitcar.errors import InvalidError
from kitcar.oci.manifest import Manifest

MODELKIT_ARTIFACT = "application/vnd.kitops.modelkit.manifest.v1+json"
MODELKIT_CONFIG = "application/vnd.kitops.modelkit.config.v1+json"
MODELPACK_ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
MODELPACK_CONFIG = "application/vnd.cncf.model.config.v1+json"

CLI_VERSION = "ml.kitops.modelkit.cli-version"
KITFILE = "ml.kitops.modelkit.kitfile"
LAYER_SUBTYPE = "ml.kitops.modelkit.layer-subtype"
SUBTYPE_PROMPT = "prompt"
FILEPATH = "org.cncf.model.filepath"
FILE_METADATA = "org.cncf.model.file.metadata+json"

Form = Literal["tar", "raw"]
Compression = Literal["", "gzip", "zstd"]


class Kind(enum.Enum):
    """What a layer holds, by the section of the Kitfile that names it; the value is kit's word in messages."""

    MODEL = "model"
    MODELPART = "modelpart"
    CODE = "code"
    DATASET = "dataset"
    DOCS = "docs"
    PROMPT = "prompt"
    MCPB = "mcpb"


class Dialect(enum.Enum):
    """How an artifact is written."""

    MODELKIT = "modelkit"
    MODELPACK = "modelpack"

    @property
    def artifact_type(self) -> str:
        """The manifest's artifact type."""
        return MODELKIT_ARTIFACT if self is Dialect.MODELKIT else MODELPACK_ARTIFACT

    @property
    def config_type(self) -> str:
        """The config's media type."""
        return MODELKIT_CONFIG if self is Dialect.MODELKIT else MODELPACK_CONFIG


_WORDS: Mapping[Dialect, Mapping[Kind, str]] = {
    Dialect.MODELKIT: {
        Kind.MODEL: "model",
        Kind.MODELPART: "modelpart",
        Kind.CODE: "code",
        Kind.DATASET: "dataset",
        Kind.DOCS: "docs",
        Kind.PROMPT: "code",
        Kind.MCPB: "mcpb",
    },
    Dialect.MODELPACK: {
        Kind.MODEL: "weight",
        Kind.MODELPART: "weight.config",
        Kind.CODE: "code",
        Kind.DATASET: "dataset",
        Kind.DOCS: "doc",
        Kind.PROMPT: "code",
    },
}
_PREFIXES = {Dialect.MODELKIT: "application/vnd.kitops.modelkit", Dialect.MODELPACK: "application/vnd.cncf.model"}
_SHAPE = re.compile(r"(?P<word>\w+(?:\.\w+)?)\.v1\.(?P<form>tar|raw)(?:\+(?P<compression>gzip|zstd))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class LayerType:
    """What a layer's media type (and, for prompts, its subtype annotation) says; `parse` and `media_type` are inverses."""

    kind: Kind
    form: Form = "tar"
    compression: Compression = ""
    dialect: Dialect = Dialect.MODELKIT

    @classmethod
    def parse(cls, media_type: str, annotations: Mapping[str, str] | None = None) -> LayerType | None:
        """Reads a layer's media type; None if no dialect has it."""
        for dialect, prefix in _PREFIXES.items():
            found = _SHAPE.fullmatch(media_type.removeprefix(f"{prefix}."))
            if not found or not media_type.startswith(f"{prefix}."):
                continue
            kind = next((kind for kind, word in _WORDS[dialect].items() if word == found["word"]), None)
            form: Form = "raw" if found["form"] == "raw" else "tar"
            compression = found["compression"] or ""
            if kind is None or (dialect is Dialect.MODELPACK and form == "raw" and compression):
                return None
            if kind is Kind.CODE and (annotations or {}).get(LAYER_SUBTYPE) == SUBTYPE_PROMPT:
                kind = Kind.PROMPT
            return cls(kind, form, compression, dialect)  # type: ignore[arg-type]
        return None

    @property
    def media_type(self) -> str:
        """The layer's media type.

        Raises:
            InvalidError: the dialect has no such layer.
        """
        word = _WORDS[self.dialect].get(self.kind)
        if word is None:
            raise InvalidError("mcpServers are not supported when packing in modelpack format")
        if self.dialect is Dialect.MODELPACK and self.form == "raw" and self.compression:
            raise InvalidError("compression for raw layers is not supported for ModelPack")
        return f"{_PREFIXES[self.dialect]}.{word}.v1.{self.form}" + (f"+{self.compression}" if self.compression else "")

    @property
    def label(self) -> str:
        """kit's word for the layer in its messages: a prompt is a code layer there."""
        return _WORDS[self.dialect].get(self.kind, self.kind.value)


def dialect_of(manifest: Manifest) -> Dialect:
    """Which dialect a manifest is written in; kits of before kit 1.8 are told by their config alone.

    Raises:
        InvalidError: the manifest is of no ModelKit and no ModelPack.
    """
    for dialect in Dialect:
        if manifest.artifact_type == dialect.artifact_type or manifest.config.media_type == dialect.config_type:
            return dialect
    raise InvalidError(
        "manifest is not a Model manifest: "
        f"artifactType is {manifest.artifact_type}, config mediaType is {manifest.config.media_type}",
        hint="the reference names an artifact that is neither a ModelKit nor a ModelPack",
    )
