"""What a registry asks for when it answers 401: challenges (RFC 9110, section 11.6.1) and scopes (distribution's token
specification)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))[ \t]*(?=,|$)', re.DOTALL)
_OPAQUE = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_SCHEME = re.compile(rf"({_WORD})(?:[ \t]+|(?=,)|$)")
_SEPARATOR = re.compile(r"[ \t]*,?[ \t]*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate: the scheme and its parameters, all names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        """For `bearer`, the URL of the token server."""
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        """For `bearer`, how the token server knows the registry."""
        return self.parameters.get("service", "")

    @property
    def scopes(self) -> tuple[str, ...]:
        """For `bearer`, what the token must allow."""
        return tuple(self.parameters.get("scope", "").split())


def parse_challenges(value: str) -> tuple[Challenge, ...]:
    """The challenges of a `WWW-Authenticate` header, or of several joined by commas; what is malformed ends the list."""
    found: list[Challenge] = []
    position = _skip(value, 0)
    while position < len(value) and (match := _SCHEME.match(value, position)):
        scheme, position = match[1].lower(), match.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(value, position):
            quoted, plain = parameter[2], parameter[3]
            parameters[parameter[1].lower()] = plain if quoted is None else _ESCAPE.sub(r"\1", quoted)
            position = _skip(value, parameter.end())
        if not parameters and (opaque := _OPAQUE.match(value, position)):
            position = opaque.end()
        position = _skip(value, position)
        found.append(Challenge(scheme, parameters))
    return tuple(found)


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """The one that kitcar answers: `bearer` with a realm before `basic`."""
    offered = list(challenges)
    for challenge in offered:
        if challenge.scheme == "bearer" and challenge.realm:
            return challenge
    return next((challenge for challenge in offered if challenge.scheme == "basic"), None)


def merge_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The same scopes, one for each resource, actions and resources in the order of their text."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        resource, colon, names = scope.rpartition(":")
        if not colon or ":" not in resource:
            actions.setdefault(scope, set())
            continue
        actions.setdefault(resource, set()).update(name for name in names.split(",") if name)
    return tuple(
        f"{resource}:{'*' if '*' in names else ','.join(sorted(names))}" if names else resource
        for resource, names in sorted(actions.items())
    )


def covers(held: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether a token for the scopes `held` allows all that `wanted` says."""
    have = dict(map(_split, merge_scopes(held)))
    return all(
        resource in have and ("*" in have[resource] or names <= have[resource])
        for resource, names in map(_split, merge_scopes(wanted))
    )


def _split(scope: str) -> tuple[str, frozenset[str]]:
    resource, _, names = scope.rpartition(":")
    return resource, frozenset(names.split(","))


def _skip(value: str, position: int) -> int:
    """Past blanks and commas; empty list elements are allowed."""
    while (match := _SEPARATOR.match(value, position)) and match.end() > position:
        position = match.end()
    return position
