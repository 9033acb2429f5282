"""The members of the Kitfile's values as one table, from which YAML, JSON and the JSON schema are read and written."""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass
from typing import Literal

from kitcar.modelkit.kitfile import values

Form = Literal["text", "texts", "any", "digest", "one", "many"]


@dataclass(frozen=True, slots=True)
class Member:
    """One member: its attribute here, its key in documents, its form, and the class of what it holds, if any."""

    attribute: str
    key: str
    form: Form
    of: type | None = None


@functools.cache
def members(of: type) -> tuple[Member, ...]:
    """The members of one of the Kitfile's classes, in kit's order."""
    fields = [field for field in dataclasses.fields(of) if field.name != "warnings"]
    return tuple(_member(field.name, str(field.type)) for field in fields)


def _member(name: str, annotation: str) -> Member:
    key = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
    forms: dict[str, Form] = {"str": "text", "tuple[str, ...]": "texts", "Any": "any", "Digest | None": "digest"}
    if annotation in forms:
        return Member(name, key, forms[annotation])
    found = re.fullmatch(r"tuple\[(\w+), \.\.\.\]", annotation)
    inner = found[1] if found else annotation.removesuffix(" | None")
    return Member(name, key, "many" if found else "one", getattr(values, inner))
