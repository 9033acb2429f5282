"""What a file is by its name alone: the tables of `kit init`."""

from __future__ import annotations

import enum
import re

_MODEL_SUFFIXES = (
    *(".safetensors", ".pkl", ".joblib"),
    *(".pth", ".pt", ".mar", ".pt2", ".ptl"),
    *(".pb", ".ckpt", ".tflite", ".tfrecords"),
    *(".npy", ".npz"),
    *(".keras", ".h5", ".caffemodel", ".pmml", ".coreml"),
    *(".gguf", ".ggml", ".ggmf", ".llamafile", ".onnx"),
)
_MODEL_PATTERN = re.compile(r"[^/]*pytorch_model[^/]*\.bin", re.DOTALL)
_METADATA_SUFFIXES = (".json", ".yaml", ".xml", ".txt")
_DOCS_SUFFIXES = (".md", ".adoc", ".html", ".pdf")
_DATASET_SUFFIXES = (".tar", ".zip", ".parquet", ".csv")
_PROMPTS = frozenset({"agents.md", "skill.md", "claude.md"})


class FileType(enum.Enum):
    """The types a file is told to be of; metadata belongs to the model if there is one, else to the datasets."""

    MODEL = "model"
    DATASET = "dataset"
    DOCS = "docs"
    METADATA = "metadata"
    PROMPT = "prompt"
    MCP_SERVER = "mcp server"
    UNKNOWN = "unknown"


def file_type(path: str) -> FileType:
    """The type of a file; a path below a directory is never PyTorch's `pytorch_model*.bin`, as for kit."""
    name = path.rpartition("/")[2].lower()
    if name in _PROMPTS or ".prompt" in name:
        return FileType.PROMPT
    if path.endswith(_MODEL_SUFFIXES) or _MODEL_PATTERN.fullmatch(path):
        return FileType.MODEL
    if path.endswith(_METADATA_SUFFIXES):
        return FileType.METADATA
    if path.endswith(_DOCS_SUFFIXES):
        return FileType.DOCS
    if path.endswith(_DATASET_SUFFIXES):
        return FileType.DATASET
    return FileType.MCP_SERVER if path.endswith(".mcpb") else FileType.UNKNOWN


def is_readme(name: str) -> bool:
    """Whether a file is a readme, whatever its suffix."""
    return name.lower().startswith("readme")


def is_licence(name: str) -> bool:
    """Whether a file is a licence, whatever its suffix."""
    return name.lower().startswith("license")


def suffix(name: str) -> str:
    """What follows the last dot of a name, with the dot."""
    return name[name.rfind(".") :] if "." in name else ""
