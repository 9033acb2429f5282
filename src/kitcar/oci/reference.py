"""References to artifacts: the distribution specification's grammar with kit's defaults.

`[registry/]repository[:tag|@digest]`. The first component is a registry only if it has a dot or a colon; otherwise the
registry is `localhost`, which is not shown. URI schemes (`kit://`, `oci://`) are the edges' matter and refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from kitcar.errors import InvalidError, KitcarError
from kitcar.oci.digest import Digest

DEFAULT_REGISTRY = "localhost"
DEFAULT_REPOSITORY = "_"
DEFAULT_TAG = "latest"

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_MAX_REPOSITORY = 255
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an artifact is: registry, repository and, optionally, a tag or a digest (the digest wins)."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Reads one reference.

        Raises:
            InvalidError: the text is not one, or lists several tags.
        """
        reference, more = cls.parse_tags(text)
        if more:
            raise InvalidError("reference cannot include multiple tags", hint=f"name one tag: {reference}")
        return reference

    @classmethod
    def parse_tags(cls, text: str) -> tuple[Reference, tuple[str, ...]]:
        """Reads a reference that may list further tags behind commas, as `pack` and `remove` take them.

        Raises:
            InvalidError: any part of the text is malformed.
        """
        if "://" in text:
            raise InvalidError(f"{text!r} is a URI, not a reference", hint=f"leave out {text.split('://', 1)[0]}://")
        if digest := _digest(text):
            return cls(DEFAULT_REGISTRY, DEFAULT_REPOSITORY, digest=digest), ()
        first, *more = text.split(",")
        registry, rest = _split_registry(first)
        digest_text: str | None
        rest, at, digest_text = rest.partition("@")
        repository, colon, tag = rest.partition(":")
        _check_repository(repository, text)
        if colon:
            check_tag(tag)
        for item in more:
            check_tag(item)
        if at and more:
            raise InvalidError(f"{text!r}: a digest cannot be followed by tags")
        reference = cls(registry, repository, tag or None, Digest.parse(digest_text) if at else None)
        return reference, tuple(more)

    @property
    def name(self) -> str:
        """Registry and repository, the default registry included."""
        return f"{self.registry}/{self.repository}"

    @property
    def display_name(self) -> str:
        """Registry and repository as people write them, defaults left out."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return "" if self.repository == DEFAULT_REPOSITORY else self.repository

    @property
    def target(self) -> str:
        """The digest if there is one, else the tag, else the empty text."""
        return str(self.digest) if self.digest else self.tag or ""

    @property
    def is_local(self) -> bool:
        """Whether no registry was named."""
        return self.registry == DEFAULT_REGISTRY

    def with_tag(self, tag: str) -> Reference:
        """The same repository under `tag`.

        Raises:
            InvalidError: the tag is malformed.
        """
        return replace(self, tag=check_tag(tag), digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository at `digest`."""
        return replace(self, tag=None, digest=digest)

    def or_latest(self) -> Reference:
        """This reference, with the tag `latest` if it has neither tag nor digest."""
        return self if self.target else replace(self, tag=DEFAULT_TAG)

    def __str__(self) -> str:
        if self.registry == DEFAULT_REGISTRY and self.repository == DEFAULT_REPOSITORY and self.digest and not self.tag:
            return str(self.digest)
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.display_name or self.repository}{tag}{digest}"


def check_tag(tag: str) -> str:
    """`tag` itself.

    Raises:
        InvalidError: it is not a tag of the distribution specification.
    """
    if not _TAG.fullmatch(tag):
        hint = "a tag has up to 128 letters, digits, '_', '.' and '-', and starts with none of the last two"
        raise InvalidError(f"invalid tag {tag!r}", hint=hint)
    return tag


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except KitcarError:
        return None


def _split_registry(text: str) -> tuple[str, str]:
    head, slash, rest = text.partition("/")
    if not slash or not ("." in head or ":" in head):
        return DEFAULT_REGISTRY, text
    port = head.rpartition(":")[2] if ":" in head and not head.endswith("]") else "0"
    if not _REGISTRY.fullmatch(head) or int(port) > _MAX_PORT:
        raise InvalidError(f"invalid registry {head!r}", hint="a registry is HOST or HOST:PORT")
    return head, rest


def _check_repository(repository: str, text: str) -> None:
    if repository.lower() != repository:
        raise InvalidError(f"repository ({repository}) name must be lowercase", hint=f"try {text.lower()}")
    if repository == DEFAULT_REPOSITORY:
        return
    if len(repository) > _MAX_REPOSITORY or not _REPOSITORY.fullmatch(repository):
        hint = "lower-case letters and digits, single '.', '_', '__' or '-' between them, components separated by '/'"
        raise InvalidError(f"invalid repository {repository!r} in reference {text!r}", hint=hint)
