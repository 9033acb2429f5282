"""`kitcar pull`: a modelkit from a registry to local storage, with those it refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.network import Network
from kitcar.cli.progress import layer_names, shown
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.errors import InvalidError
from kitcar.flags.flag import Call
from kitcar.flags.network import NETWORK_FLAGS
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.modelkit.kit import Kit
    from kitcar.modelkit.kitfile import Kitfile
    from kitcar.oci.descriptor import Descriptor
    from kitcar.registry.repository import Repository

_MAX_CHAIN = 10
_USAGE = Usage(
    "[flags] registry/repository[:tag|@digest]",
    "Copy a modelkit from a registry to this machine",
    """
    Copies a modelkit from a registry to local storage, and every modelkit it refers to. What is here is not fetched
    again, and what an interrupted pull has fetched is kept. Every byte is checked.
    """,
    """
    # Pull a tag
    kitcar pull registry.example.com/team/iris:v1

    # Pull exactly one modelkit, whatever its tags name now
    kitcar pull registry.example.com/team/iris@sha256:<digest>
    """,
)


@verb("pull", _USAGE, flags=NETWORK_FLAGS, takes=exactly(1))
def command(session: Session, call: Call) -> None:
    """Pulls."""
    text = call.arguments[0]
    with failing("Invalid arguments"):
        reference, more = naming.several(text)
        if reference.is_local:
            raise InvalidError("registry is required when pulling", hint=naming.WITH_REGISTRY)
        if more:
            raise InvalidError("reference cannot include multiple tags", hint=f"pull one tag at a time: {reference}")
        if not reference.target:
            session.console.info(f"No tag specified for pull. Using 'latest' as default ('{text}:latest')")
        reference = reference.or_latest()
        network = Network.of(session, call)
    session.console.info(f"Pulling {naming.full(reference)}")
    descriptor = pull(session, network, reference)
    session.console.info(f"Pulled {descriptor.digest}")


def pull(session: Session, network: Network, reference: Reference, chain: tuple[str, ...] = ()) -> Descriptor:
    """Copies what a reference names to local storage, and what that refers to; gives its descriptor.

    Raises:
        InvalidError: it is no modelkit, or modelkits refer to each other in a circle or too deeply.
        NotFoundError, TransportError, RegistryError, IntegrityError: it cannot be had.
    """
    shown_name = naming.shown(reference)
    if shown_name in chain:
        circle = "=>".join((*chain[chain.index(shown_name) :], shown_name))
        raise InvalidError(f"found cycle in modelkit references: [{circle}]")
    chain = (*chain, shown_name)
    if len(chain) > _MAX_CHAIN:
        raise InvalidError(f"reached maximum number of model references: [{'=>'.join(chain)}]")
    repository = network.repository(reference)
    with failing(f"failed to fetch {naming.full(reference)}"):
        descriptor = repository.resolve(reference.target)
    kit = _checked(repository, reference, descriptor)
    with failing("failed to pull"):
        _copy(session, network, repository, reference, kit)
    for parent in _parents(kit.kitfile):
        session.console.info(f"Pulling referenced image {parent}")
        with failing("failed to pull referenced modelkits"):
            pull(session, network, Reference.parse(parent).or_latest(), chain)
    return descriptor


def _checked(repository: Repository, reference: Reference, descriptor: Descriptor) -> Kit:
    """The modelkit without its layers, so that nothing else is pulled."""
    from kitcar.cli.listing import kit_or_none
    from kitcar.oci import media

    name = naming.full(reference)
    if descriptor.media_type not in media.MANIFESTS:
        raise InvalidError(f"reference {name} is not an image manifest")
    with failing("failed to pull"):
        kit = kit_or_none(repository, descriptor)
    if kit is None:
        raise InvalidError(f"reference {name} does not refer to a model")
    return kit


def _copy(session: Session, network: Network, repository: Repository, reference: Reference, kit: Kit) -> None:
    from kitcar.oci.copy import CopyOptions, copy
    from kitcar.stores.layout import LayoutStore

    local = LayoutStore(session.settings.storage, check_existing=True).repository(reference.name)
    tags = (reference.target,) if not reference.digest else ()
    with shown(session.console, session.progress, name=layer_names(kit.manifest)) as listener:
        options = CopyOptions(concurrency=network.concurrency, listener=listener)
        copy(repository, local, kit.descriptor, tags=tags, options=options)


def _parents(kitfile: Kitfile) -> tuple[str, ...]:
    """The references a Kitfile holds: of its model, and of datasets."""
    from kitcar.modelkit.kitfile.path import is_reference

    paths = [kitfile.model.path] if kitfile.model else []
    paths += [dataset.remote_path for dataset in kitfile.datasets]
    return tuple(dict.fromkeys(path for path in paths if is_reference(path)))
