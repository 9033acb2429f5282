"""Finding the one modelkit that `info` and `inspect` show."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.network import Network
from kitcar.cli.session import Session
from kitcar.errors import IntegrityError, InvalidError, KitcarError, NotFoundError
from kitcar.flags.flag import Call
from kitcar.flags.network import concurrency_of
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.modelkit.kit import Kit
    from kitcar.oci.descriptor import Descriptor
    from kitcar.oci.storage import ReadTarget, Resolver
    from kitcar.stores.layout import LayoutStore


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
    store = LayoutStore(session.settings.storage)
    source: ReadTarget = network.repository(reference) if network else store.repository(reference.name)
    with failing("Error resolving modelkit"):
        descriptor = resolved(source, reference.target)
        if descriptor is not None:
            with contextlib.nullcontext() if network else repairable(store, reference, descriptor):
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


@contextlib.contextmanager
def repairable(store: LayoutStore, reference: Reference, descriptor: Descriptor) -> Iterator[None]:
    """Where a modelkit fails because local storage has lost or damaged a part of it, says how to get it back.

    Raises:
        IntegrityError, NotFoundError: as they came, with another hint.
    """
    try:
        yield
    except (IntegrityError, NotFoundError) as error:
        expected = error.expected if isinstance(error, IntegrityError) else ""
        if _damaged(store, descriptor, expected):
            way = "remove it and pack it again" if reference.is_local else f"`kitcar pull {reference}` repairs it"
            error.hint = f"the modelkit is damaged in local storage: {way}"
        raise


def _damaged(store: LayoutStore, descriptor: Descriptor, expected: str) -> bool:
    """Whether a part is not here, has another size, or is the one of digest `expected` and not what that says."""
    from kitcar.oci.manifest import successors

    try:
        if not store.intact(descriptor):
            return True
        parts = successors(descriptor, store.path(descriptor.digest).read_bytes())
        return any(
            store.size(part.digest) != part.size or (str(part.digest) == expected and not store.intact(part))
            for part in parts
        )
    except (KitcarError, OSError):
        return False
