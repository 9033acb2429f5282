"""Which ClusterStorageContainers claim a storage URI: KServe's rule (`GetStorageContainerSpec`), told in full.

KServe takes whichever claim it meets first, in an order its own code calls random; here all claims are told, so that an
overlap is seen. The only importer of google-re2: KServe's expressions are Go's RE2, matched anywhere in the URI.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kitcar.errors import InvalidError, NotFoundError
from kitcar.kserve.values import INIT_CONTAINER, StorageContainer, UriFormat


@dataclass(frozen=True, slots=True)
class Claim:
    """A storage container that takes the URI, and the first of its formats that does."""

    container: StorageContainer
    format: UriFormat


@dataclass(frozen=True, slots=True)
class Refusal:
    """A storage container that does not take the URI, and why."""

    container: StorageContainer
    reason: str


@dataclass(frozen=True, slots=True)
class Match:
    """Every storage container's answer for one URI, in the order they were given."""

    uri: str
    claims: tuple[Claim, ...]
    refusals: tuple[Refusal, ...]

    @property
    def claim(self) -> Claim:
        """The first claim.

        Raises:
            NotFoundError: nothing claims the URI.
        """
        if self.claims:
            return self.claims[0]
        told = "; ".join(f"{refusal.container.name}: {refusal.reason}" for refusal in self.refusals)
        hint = told or "give one with --storage-container"
        raise NotFoundError(f"no ClusterStorageContainer claims {self.uri}", hint=hint)

    @property
    def findings(self) -> tuple[str, ...]:
        """What a person should know although there is a claim."""
        if len(self.claims) < 2:
            return ()
        names = ", ".join(f"{claim.container.name} ({claim.format})" for claim in self.claims)
        return (f"{len(self.claims)} ClusterStorageContainers claim {self.uri}, and KServe takes any of them: {names}",)


def match(uri: str, containers: Iterable[StorageContainer], *, name: str = "") -> Match:
    """Asks every storage container for `uri`; with `name`, only that one, as `storageContainerName` does.

    Raises:
        InvalidError: an expression is malformed (KServe then refuses the pod), or the named container does not serve.
        NotFoundError: there is no container called `name`.
    """
    known = tuple(containers)
    if name:
        return Match(uri, (_named(uri, known, name),), ())
    claims: list[Claim] = []
    refusals: list[Refusal] = []
    for container in known:
        reason = _unfit(container)
        found = None if reason else claimed_by(uri, container)
        if found:
            claims.append(Claim(container, found))
        else:
            listed = ", ".join(str(item) for item in container.formats)
            refusals.append(Refusal(container, reason or f"claims only {listed}"))
    return Match(uri, tuple(claims), tuple(refusals))


def claimed_by(uri: str, container: StorageContainer) -> UriFormat | None:
    """The first format of `container` that takes `uri`; whether the container is enabled is not asked.

    Raises:
        InvalidError: an expression that had to be asked is malformed.
    """
    for item in container.formats:
        if item.prefix:
            if uri.startswith(item.prefix):
                return item
        elif item.regex and _found(item.regex, uri, container):
            return item
    return None


def _named(uri: str, containers: tuple[StorageContainer, ...], name: str) -> Claim:
    for container in containers:
        if container.name == name:
            reason = _unfit(container)
            found = None if reason else claimed_by(uri, container)
            if found:
                return Claim(container, found)
            raise InvalidError(
                f'ClusterStorageContainer "{name}" does not support storageUri "{uri}"',
                hint=reason or f"it claims {', '.join(str(item) for item in container.formats)}",
            )
    known = ", ".join(container.name for container in containers) or "none"
    raise NotFoundError(f'ClusterStorageContainer "{name}" not found', hint=f"there is: {known}")


def _unfit(container: StorageContainer) -> str:
    if container.disabled:
        return "disabled"
    if container.workload_type != INIT_CONTAINER:
        return f"workloadType is {container.workload_type}"
    return ""


def _found(pattern: str, uri: str, container: StorageContainer) -> bool:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options).search(uri) is not None
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidError(
            f"ClusterStorageContainer {container.name} has a malformed regex {pattern!r}: {_words(error)}",
            hint="KServe refuses every pod whose URI meets it; correct the expression (RE2 syntax)",
        ) from None


def _words(error: Exception) -> str:
    text = error.args[0] if error.args else error
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
