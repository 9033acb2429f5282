"""The Kitfile: its values here, its forms (YAML, JSON, JSON schema) and its rules in the modules beside."""

from kitcar.modelkit.kitfile.values import (
    FILE_NAMES,
    KITFILE_NAME,
    MANIFEST_VERSION,
    Code,
    Dataset,
    Docs,
    Entry,
    KitEntry,
    Kitfile,
    McpServer,
    Model,
    ModelPart,
    Package,
    Prompt,
    clean_path,
    find_kitfile,
)

__all__ = [
    "FILE_NAMES",
    "KITFILE_NAME",
    "MANIFEST_VERSION",
    "Code",
    "Dataset",
    "Docs",
    "Entry",
    "KitEntry",
    "Kitfile",
    "McpServer",
    "Model",
    "ModelPart",
    "Package",
    "Prompt",
    "clean_path",
    "find_kitfile",
]
