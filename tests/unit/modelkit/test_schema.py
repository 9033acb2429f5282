from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kitcar.errors import InvalidError
from kitcar.modelkit.kitfile import Kitfile

PUBLISHED = Path(__file__).parents[3] / "docs" / "reference" / "kitfile.schema.json"
VALUES = {"path": "a.mcpb", "remotePath": "s3://b/k", "remoteHash": "x", "name": "n"}


def sample(schema: dict[str, Any], key: str = "") -> Any:
    """A document with every member that a schema allows."""
    if "const" in schema:
        return schema["const"]
    kinds = schema.get("type", [])
    if "object" in kinds:
        return {name: sample(inner, name) for name, inner in schema["properties"].items()}
    if "array" in kinds:
        return [sample(schema["items"])]
    return VALUES.get(key, "text")


def test_schema_published_is_the_one_of_the_code() -> None:
    assert json.loads(PUBLISHED.read_text()) == Kitfile.schema()


@pytest.mark.parametrize("section", [name for name in Kitfile.schema()["properties"] if name != "manifestVersion"])
def test_schema_allows_only_what_parse_takes(section: str) -> None:
    document = {"manifestVersion": "1.0.0", section: sample(Kitfile.schema()["properties"][section])}
    if section == "model":
        document[section]["parts"][0]["path"] = "part"
    assert json.loads(Kitfile.parse(json.dumps(document).encode()).to_json())[section] == document[section]


@pytest.mark.parametrize("place", [(), ("package",), ("model",), ("docs", 0), ("model", "parts", 0)])
def test_schema_and_parse_refuse_other_members(place: tuple[str | int, ...]) -> None:
    document = sample(Kitfile.schema())
    schema, inner = Kitfile.schema(), document
    for step in place:
        inner = inner[step]
        schema = schema["items"] if isinstance(step, int) else schema["properties"][step]
    inner["digest"] = "x"
    assert schema["additionalProperties"] is False
    assert "digest" not in schema["properties"]
    with pytest.raises(InvalidError, match=r"field digest not found"):
        Kitfile.parse(json.dumps(document).encode())
