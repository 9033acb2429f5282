"""`kitcar push`: a modelkit of local storage, or a directory, to a registry."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.cli import naming, packing, publishing
from kitcar.cli.fault import failing
from kitcar.cli.lookup import repairable, resolved
from kitcar.cli.network import Network
from kitcar.cli.origin import Origins
from kitcar.cli.progress import layer_names, shown
from kitcar.cli.session import Session
from kitcar.cli.verb import Arity, Usage, verb
from kitcar.errors import InvalidError, NotFoundError
from kitcar.flags.flag import Call
from kitcar.flags.network import NETWORK_FLAGS
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.stores.layout import LayoutStore

_USAGE = Usage(
    "[flags] SOURCE [DESTINATION]",
    "Copy a modelkit, or pack a directory, to a registry",
    """
    Copies a modelkit from local storage to a registry, under its own name or the one that DESTINATION gives. What the
    registry has is not sent again.

    SOURCE may be a directory with a Kitfile: it is packed straight into the registry, in one read of its files and with
    no copy on this machine. A directory is meant if SOURCE starts with '.', '/' or '~', or if there is a directory of that
    name and no modelkit.
    """,
    """
    # Push a modelkit under its own name
    kitcar push registry.example.com/team/iris:v1

    # Push a local modelkit under another name
    kitcar push iris:v1 registry.example.com/team/iris:v1

    # Pack this directory into a registry
    kitcar push . registry.example.com/team/iris:v1
    """,
)


@verb("push", _USAGE, flags=NETWORK_FLAGS, takes=Arity(1, 2))
def command(session: Session, call: Call) -> None:
    """Pushes."""
    from kitcar.stores.layout import LayoutStore

    store = LayoutStore(session.settings.storage)
    with failing("Invalid arguments"):
        directory = _directory(store, call.arguments)
        source = None if directory else _source(session, call.arguments[0])
        destination = _destination(session, call.arguments[1]) if len(call.arguments) > 1 else source
        if destination is None:
            raise InvalidError("a destination is required when pushing a directory", hint="registry/repository:tag")
        if destination.is_local:
            raise InvalidError(
                "registry is required when pushing", hint="name it in DESTINATION: registry/repository:tag"
            )
        network = Network.of(session, call)
    if directory:
        _push_directory(session, network, directory, destination)
    elif source:
        _push_modelkit(session, network, store, source, destination)


def _push_directory(session: Session, network: Network, directory: Path, destination: Reference) -> None:
    from kitcar.modelkit.compression import Method

    if destination.digest:
        raise InvalidError("Invalid arguments: a directory cannot be pushed to a digest", hint="name a tag behind ':'")
    with failing("Failed to pack model kit"):
        kitfile = packing.read_kitfile(session, directory, "")
    tags = (destination.target,)
    publishing.push_directory(session, network, kitfile, directory, destination, method=Method.NONE, tags=tags)


def _push_modelkit(
    session: Session, network: Network, store: LayoutStore, source: Reference, destination: Reference
) -> None:
    from kitcar.modelkit.kit import read_kit
    from kitcar.oci.copy import CopyOptions, copy

    where = f" to {naming.full(destination)}" if destination != source else ""
    session.console.info(f"Pushing {naming.full(source)}{where}")
    with publishing.pushing(), contextlib.ExitStack() as stack:
        local = store.repository(source.name)
        descriptor = resolved(local, source.target)
        if descriptor is None:
            raise NotFoundError(
                f"model {naming.full(source)} not found", hint="`kitcar list` shows what is in local storage"
            )
        if destination.digest and destination.digest != descriptor.digest:
            raise InvalidError(f"the modelkit has the digest {descriptor.digest}, not {destination.digest}")
        stack.enter_context(repairable(store, source, descriptor))
        name = layer_names(read_kit(local, descriptor).manifest)
        with shown(session.console, session.progress, name=name) as listener:
            options = CopyOptions(
                concurrency=network.concurrency, listener=listener, mount_from=Origins(store, destination).repository
            )
            tags = () if destination.digest else (destination.target,)
            copy(local, network.repository(destination), descriptor, tags=tags, options=options)
    session.console.info(f"Pushed {descriptor.digest}")


def _directory(store: LayoutStore, arguments: tuple[str, ...]) -> Path | None:
    """The directory that the first argument means, or None if it means a modelkit."""
    text = arguments[0]
    path = Path(text).expanduser()
    if text.startswith((".", "/", "~")):
        return path.absolute()
    if len(arguments) < 2 or not path.is_dir():
        return None
    try:
        reference = Reference.parse(text).or_latest()
    except InvalidError:
        return path.absolute()
    return None if resolved(store.repository(reference.name), reference.target) else path.absolute()


def _source(session: Session, text: str) -> Reference:
    reference, more = naming.several(text, what=f"{naming.PARSING} {text}")
    if more:
        raise InvalidError("reference cannot include multiple tags", hint=f"push one tag at a time: {reference}")
    if not reference.target:
        session.console.info(f"No tag specified for push. Using 'latest' as default ('{text}:latest')")
    return reference.or_latest()


def _destination(session: Session, text: str) -> Reference:
    reference, more = naming.several(text, what=f"failed to parse target reference {text}")
    if more:
        raise InvalidError("target reference cannot include multiple tags")
    if not reference.target:
        session.console.info(f"No tag specified for push target. Using 'latest' as default ('{text}:latest')")
    return reference.or_latest()
