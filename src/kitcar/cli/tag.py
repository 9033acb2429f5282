"""`kitcar tag`: another name for a modelkit of local storage."""

from __future__ import annotations

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.lookup import here
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.errors import InvalidError
from kitcar.flags.flag import Call
from kitcar.oci.reference import Reference

_USAGE = Usage(
    "SOURCE_MODELKIT[:TAG] TARGET_MODELKIT[:TAG] [flags]",
    "Give a modelkit another name",
    """
    Lets the target name what the source names, in local storage. A target that named something else before names it no
    longer. Content is not copied: both names share it.

    A name is [HOST[:PORT]/]REPOSITORY:TAG. Without a host the modelkit belongs to this machine alone; give it a name
    with a host to push it there.
    """,
    """
    # Let the release name what is now called latest
    kitcar tag registry.example.com/team/iris:latest registry.example.com/team/iris:v1

    # Make a local modelkit ready for a registry
    kitcar tag iris:v1 registry.example.com/team/iris:v1
    """,
)


@verb("tag", _USAGE, takes=exactly(2))
def command(session: Session, call: Call) -> None:
    """Tags."""
    with failing("Invalid arguments"):
        source = _reference(call.arguments[0], "source")
        target = _reference(call.arguments[1], "target")
        if target.digest:
            raise InvalidError("target ModelKit reference requires a tag, not a digest")
    with failing("Failed to tag modelkit"):
        _tag(session, source, target)
    session.console.info(f"Modelkit {naming.full(source)} tagged as {naming.full(target)}")


def _tag(session: Session, source: Reference, target: Reference) -> None:
    from kitcar.oci.copy import copy
    from kitcar.stores.layout import LayoutStore

    store = LayoutStore(session.settings.storage)
    repository = store.repository(source.name)
    descriptor = here(repository, source.target, naming.full(source))
    copy(repository, store.repository(target.name), descriptor, tags=(target.target,))


def _reference(text: str, role: str) -> Reference:
    reference = naming.one(text)
    if not reference.target:
        raise InvalidError(f"{role} ModelKit reference requires a tag or digest ({text}:<tag>)")
    return reference
