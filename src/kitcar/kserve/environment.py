"""A container's environment as a kubelet makes it: sources in order, `$(NAME)` expanded. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from kitcar.errors import NotFoundError
from kitcar.kserve.values import Container, EnvFrom, EnvVar, KeyRef, Objects

_REFERENCE = re.compile(r"\$(?:\$|\(([^()\s=$]*)\))")


def environment(
    container: Container, objects: Objects, namespace: str, given: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The variables of `container`: `envFrom` first, then `env` in order, each able to name those before it.

    What is `given` takes the place of the container's own; a source of the same variable is not asked for.

    Raises:
        NotFoundError: a Secret or ConfigMap, or a key of it, is missing and not optional.
    """
    values: dict[str, str] = dict(given)
    for group in container.env_from:
        values |= {**_group(group, objects, namespace), **given}
    for variable in container.env:
        if variable.name in given:
            continue
        value = _value(variable, values, objects, namespace)
        if value is not None:
            values[variable.name] = value
    return values


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replaces `$(NAME)` by the variable; an unknown one stays as it is, and `$$` stands for one `$`."""

    def one(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else values.get(found[1], found[0])

    return _REFERENCE.sub(one, text)


def expand_all(words: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Each word expanded, as a container's command and arguments are."""
    return tuple(expand(word, values) for word in words)


def _value(variable: EnvVar, before: Mapping[str, str], objects: Objects, namespace: str) -> str | None:
    if variable.source is None:
        return expand(variable.value, before)
    return _key(variable, variable.source, objects, namespace)


def _key(variable: EnvVar, source: KeyRef, objects: Objects, namespace: str) -> str | None:
    entries = objects.find(source.kind, source.name, namespace)
    if entries is not None and source.key in entries.data:
        return entries.data[source.key]
    if source.optional:
        return None
    lacking = f"{source.kind} {namespace}/{source.name}"
    what = f"couldn't find key {source.key} in {lacking}" if entries else f"{lacking} not found"
    raise NotFoundError(
        f"the variable {variable.name}: {what}",
        hint="give the object's file with --objects, or the variable with --env",
    )


def _group(group: EnvFrom, objects: Objects, namespace: str) -> dict[str, str]:
    entries = objects.find(group.kind, group.name, namespace)
    if entries is None:
        if group.optional:
            return {}
        raise NotFoundError(
            f"{group.kind} {namespace}/{group.name} not found", hint="give the object's file with --objects"
        )
    return {group.prefix + key: value for key, value in entries.data.items()}
