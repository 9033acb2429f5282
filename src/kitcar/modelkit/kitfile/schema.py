"""The JSON schema of a Kitfile, out of the same table that reads it, for editors."""

from __future__ import annotations

from typing import Any

from kitcar.modelkit.kitfile.shape import Member, members
from kitcar.modelkit.kitfile.values import MANIFEST_VERSION, Kitfile, McpServer, ModelPart

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_PART_TYPE = {"pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", "maxLength": 64}


def schema() -> dict[str, Any]:
    """The schema of the YAML form; what it cannot say (paths, duplicates) is left to `Kitfile.parse`."""
    definition = _object(Kitfile)
    definition["properties"]["manifestVersion"] = {"const": MANIFEST_VERSION}
    head = {"$schema": _DRAFT, "title": "Kitfile", "description": "What a ModelKit is made of."}
    return {**head, **definition, "type": "object", "required": ["manifestVersion"]}


def _object(of: type) -> dict[str, Any]:
    properties = {member.key: _member(of, member) for member in members(of) if member.form != "digest"}
    found: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": False, "properties": properties}
    if of is McpServer:
        properties["path"] = {**_SCALAR, "pattern": r"\.mcpb$"}
        found["required"] = ["name", "path"]
    return found


def _member(of: type, member: Member) -> dict[str, Any]:
    if member.form == "any":
        return {"description": "Anything that JSON can hold."}
    if member.form == "texts":
        return {"type": ["array", "null"], "items": _SCALAR}
    if member.of is None:
        return {**_SCALAR, **(_PART_TYPE if (of, member.key) == (ModelPart, "type") else {})}
    inner = {"description": _summary(member.of), **_object(member.of)}
    return {"type": ["array", "null"], "items": inner} if member.form == "many" else inner


def _summary(of: type) -> str:
    return (of.__doc__ or "").partition("\n")[0]
