"""`kitcar remove`: modelkits and tags out of local storage, or out of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.lookup import here
from kitcar.cli.network import Network
from kitcar.cli.session import Session
from kitcar.cli.verb import Arity, Usage, verb
from kitcar.errors import InvalidError, KitcarError, NotFoundError, UnsupportedError
from kitcar.flags.flag import Call, Flag, Kind
from kitcar.flags.network import NETWORK_FLAGS, concurrency_of
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.oci.descriptor import Descriptor
    from kitcar.stores.repository import LayoutRepository

_FORCE = Flag("force", "Remove the modelkit with all tags that name it", Kind.SWITCH, short="f")
_ALL = Flag("all", "Remove every modelkit without a tag; with --force, every modelkit", Kind.SWITCH, short="a")
_REMOTE = Flag("remote", "Remove from the registry, not from local storage", Kind.SWITCH, short="r")
_USAGE = Usage(
    "[flags] registry/repository[:tag|@digest]",
    "Remove a modelkit from this machine or from a registry",
    """
    Removes what a reference names. A tag is taken away, and the modelkit with it if no other tag names it; with --force,
    or when a digest is given, the modelkit goes with all of its tags. Layers that no other modelkit needs go with it.

    With --remote the same is asked of the registry: a tag is untagged, a digest or --force deletes the modelkit. Not
    every registry allows that.
    """,
    """
    # Remove a tag, or several
    kitcar remove registry.example.com/team/iris:v1
    kitcar remove registry.example.com/team/iris:v1,v2

    # Remove a modelkit and all its tags
    kitcar remove registry.example.com/team/iris@sha256:<digest>

    # Remove all modelkits without a tag, then everything
    kitcar remove --all
    kitcar remove --all --force

    # Remove a modelkit from its registry
    kitcar remove --remote --force registry.example.com/team/iris:v1
    """,
)


def _arguments(call: Call) -> str | None:
    if len(call.arguments) > 1:
        return f"accepts at most 1 arg(s), received {len(call.arguments)}"
    if call.on(_ALL.name) and call.arguments:
        return "modelkit should not be specified when --all flag is used"
    if not call.on(_ALL.name) and not call.arguments:
        return "modelkit is required for remove unless --all is specified"
    return None


@verb("remove", _USAGE, flags=(_FORCE, _ALL, _REMOTE, *NETWORK_FLAGS), takes=Arity(check=_arguments))
def command(session: Session, call: Call) -> None:
    """Removes."""
    force, remote = call.on(_FORCE.name), call.on(_REMOTE.name)
    with failing("Invalid arguments"):
        reference, more = _reference(call.arguments[0]) if call.arguments else (None, ())
        if remote and call.on(_ALL.name):
            raise InvalidError("cannot use --all with --remote")
        if remote and reference and reference.is_local:
            raise InvalidError(f"registry is required when removing from one ({naming.shown(reference)})")
        concurrency_of(call)
        network = Network.of(session, call) if remote else None
    if reference is None:
        _remove_all(session, tagged=force)
    elif network:
        _remove_remote(session, network, reference, more, force=force)
    else:
        _remove_local(session, reference, more, force=force)


def _reference(text: str) -> tuple[Reference, tuple[str, ...]]:
    reference, more = naming.several(text)
    if not reference.target:
        raise InvalidError(f"tag or digest is required when removing ({text}:<tag>)")
    return reference, more


def _remove_local(session: Session, reference: Reference, more: tuple[str, ...], *, force: bool) -> None:
    from kitcar.stores.layout import LayoutStore

    repository = LayoutStore(session.settings.storage).repository(reference.name)
    with failing("failed to remove"):
        digest = _remove_one(repository, reference, force=force)
    session.console.info(f"Removed {naming.shown(reference)} (digest {digest})")
    failed: list[str] = []
    for tag in more:
        try:
            digest = _remove_one(repository, reference.with_tag(tag), force=force)
        except KitcarError as error:
            session.console.error(f"Failed to remove tag {tag}: {error}")
            failed.append(tag)
        else:
            session.console.info(f"Removed {naming.shown(reference.with_tag(tag))} (digest {digest})")
    if failed:
        raise KitcarError(f"{len(failed)} of {1 + len(more)} tags were not removed: {', '.join(failed)}")


def _remove_one(repository: LayoutRepository, reference: Reference, *, force: bool) -> str:
    descriptor = here(repository, reference.target, naming.shown(reference))
    if reference.digest or force:
        repository.delete(descriptor)
    else:
        descriptor = repository.remove(reference.target)
    return str(descriptor.digest)


def _remove_all(session: Session, *, tagged: bool) -> None:
    from kitcar.stores.layout import LayoutStore

    store = LayoutStore(session.settings.storage)
    failed = 0
    for name in store.repositories():
        repository = store.repository(name)
        shown = naming.display(name)
        for descriptor in repository.manifests():
            tags = repository.tags_of(descriptor)
            if tags and not tagged:
                session.console.debug(f"Skipping {descriptor.digest} (tags: {', '.join(tags)})")
                continue
            failed += not _removed(session, repository, descriptor, shown, tags)
    if failed:
        raise KitcarError(f"{failed} modelkits were not removed")


def _removed(
    session: Session, repository: LayoutRepository, descriptor: Descriptor, shown: str, tags: tuple[str, ...]
) -> bool:
    try:
        repository.delete(descriptor)
    except NotFoundError:
        return True
    except KitcarError as error:
        session.console.error(f"Failed to remove {shown}@{descriptor.digest}: {error}")
        return False
    for tag in tags:
        session.console.info(f"Untagged {shown}:{tag}")
    session.console.info(f"Removed {shown}@{descriptor.digest}")
    return True


def _remove_remote(
    session: Session, network: Network, reference: Reference, more: tuple[str, ...], *, force: bool
) -> None:
    repository = network.repository(reference)
    for item in (reference, *(reference.with_tag(tag) for tag in more)):
        try:
            with failing("error resolving modelkit"):
                descriptor = repository.resolve(item.target)
        except NotFoundError as error:
            raise NotFoundError(f"model {naming.shown(item)} not found") from error
        if not item.digest and not force:
            session.console.info(f"Untagging remote ModelKit {naming.shown(item)}")
            with failing("failed to untag ModelKit in remote"):
                repository.untag(item.target)
            continue
        session.console.info(f"Deleting remote ModelKit {naming.shown(item.with_digest(descriptor.digest))}")
        try:
            repository.delete(descriptor)
        except UnsupportedError as error:
            raise UnsupportedError(f"removing models is unsupported by registry {item.registry}") from error
