"""Finding the one modelkit that `info` and `inspect` show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.network import Network
from kitcar.cli.session import Session
from kitcar.errors import InvalidError, NotFoundError
from kitcar.flags.flag import Call
from kitcar.flags.network import concurrency_of

if TYPE_CHECKING:
    from kitcar.modelkit.kit import Kit
    from kitcar.oci.descriptor import Descriptor
    from kitcar.oci.storage import ReadTarget, Resolver


def find(session: Session, call: Call) -> Kit:
    """The modelkit that the first argument names, in local storage or, with `--remote`, in its registry.

    Raises:
        InvalidError: the argument is wrong, or names no modelkit.
        NotFoundError: there is none.
        KitcarError: it cannot be read.
    """
    from kitcar.modelkit.kit import read_kit
    from kitcar.stores.layout import LayoutStore

    remote = call.on("remote")
    with failing("Invalid arguments"):
        reference = naming.named(call.arguments[0])
        if remote and reference.is_local:
            raise InvalidError(f"can not check remote: {naming.shown(reference)} does not contain registry")
        concurrency_of(call)
        network = Network.of(session, call) if remote else None
    local = LayoutStore(session.settings.storage).repository(reference.name)
    source: ReadTarget = network.repository(reference) if network else local
    with failing("Error resolving modelkit"):
        descriptor = resolved(source, reference.target)
        if descriptor is not None:
            return read_kit(source, descriptor)
    hint = None if remote else "`kitcar list` shows what is in local storage; --remote asks the registry"
    raise NotFoundError(f"Could not find modelkit {naming.shown(reference)}", hint=hint)


def here(source: Resolver, target: str, name: str) -> Descriptor:
    """What a tag or digest stands for in local storage; `name` is the modelkit's for the message.

    Raises:
        NotFoundError: there is no such thing.
        KitcarError: storage cannot be read.
    """
    descriptor = resolved(source, target)
    if descriptor is None:
        raise NotFoundError(f"model {name} not found", hint="`kitcar list` shows what is in local storage")
    return descriptor


def resolved(source: Resolver, target: str) -> Descriptor | None:
    """What a tag or digest stands for; None if there is no such thing.

    Raises:
        KitcarError: it could not be asked for.
    """
    try:
        return source.resolve(target)
    except NotFoundError:
        return None
