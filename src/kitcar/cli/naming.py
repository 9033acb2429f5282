"""References as arguments: what a verb may be given, and the words it says when a part is missing."""

from __future__ import annotations

from kitcar.cli.fault import failing
from kitcar.errors import InvalidError
from kitcar.oci.reference import DEFAULT_REGISTRY, DEFAULT_REPOSITORY, Reference

PARSING = "failed to parse reference"
WITH_REGISTRY = "put the registry in front, with a dot or a port in its name: registry.example.com/team/iris:v1"
_SCHEMES = ("kit://", "oci://")


def one(text: str, *, what: str = PARSING) -> Reference:
    """One reference without a list of tags.

    Raises:
        InvalidError: it is malformed, or lists tags.
    """
    reference, more = several(text, what=what)
    if more:
        raise InvalidError("reference cannot include multiple tags", hint=f"name one tag: {reference}")
    return reference


def several(text: str, *, what: str = PARSING) -> tuple[Reference, tuple[str, ...]]:
    """A reference, and the further tags that stand behind commas; `kit://` or `oci://` in front of it is left out.

    Raises:
        InvalidError: it is malformed.
    """
    for scheme in _SCHEMES:
        if text.startswith(scheme):
            text = text.removeprefix(scheme)
            break
    if not what:
        return Reference.parse_tags(text)
    with failing(what):
        return Reference.parse_tags(text)


def named(text: str) -> Reference:
    """One reference with a tag or digest, as `info` and `inspect` need it.

    Raises:
        InvalidError: it is malformed, or has neither.
    """
    reference, more = several(text, what="")
    if more:
        raise InvalidError(f"invalid reference format: extra tags are not supported: {', '.join(more)}")
    if not reference.target:
        raise InvalidError(
            f"missing tag or digest from ModelKit reference '{text}'", hint=f"{text}:latest may be meant"
        )
    return reference


def full(reference: Reference) -> str:
    """The reference with its registry, the default one included, as kit prints where something moves."""
    mark = "@" if reference.digest else ":"
    return f"{reference.name}{mark}{reference.target}" if reference.target else reference.name


def shown(reference: Reference) -> str:
    """The reference as people write it; a digest stands alone where it was written alone."""
    return str(reference if not reference.digest else reference.with_digest(reference.digest))


def display(name: str) -> str:
    """The name of a local repository (`registry/repository`) as people write it; empty for modelkits packed without one."""
    shown = name.removeprefix(f"{DEFAULT_REGISTRY}/")
    return "" if shown == DEFAULT_REPOSITORY else shown
