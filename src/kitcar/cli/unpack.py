"""`kitcar unpack`: the files of a modelkit in a directory, from local storage or straight from a registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.lookup import repairable, resolved
from kitcar.cli.network import Network
from kitcar.cli.progress import shown
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.errors import InvalidError, KitcarError, NotFoundError, UnsupportedError
from kitcar.flags.flag import Call
from kitcar.flags.network import NETWORK_FLAGS, concurrency_of
from kitcar.flags.unpack import UNPACK_FLAGS, selection_of

if TYPE_CHECKING:
    from kitcar.deliver import Existing
    from kitcar.oci.descriptor import Descriptor
    from kitcar.oci.reference import Reference
    from kitcar.oci.storage import ReadTarget

_USAGE = Usage(
    "[flags] [registry/]repository[:tag|@digest]",
    "Write the files of a modelkit to a directory",
    """
    Writes the Kitfile and the files of a modelkit to a directory. The modelkit comes from local storage or, if it is not
    there, straight from its registry, of which only what is wanted is fetched.

    Every layer is checked, and a file has its name only when it is whole. What the directory holds already is neither
    fetched nor written again, so that an interrupted run is simply repeated. A file with other content is an error unless
    --overwrite or --ignore-existing says what to do.

    A filter is TYPES[:NAMES]: kinds of entries (kitfile, model, datasets, code, docs, prompts, mcpservers) and, if
    wanted, names or paths, both with commas between. What one of the filters takes is written.
    """,
    """
    # Everything
    kitcar unpack registry.example.com/team/iris:v1 -d iris

    # Only the model and one dataset
    kitcar unpack iris:v1 -d iris --filter=model --filter=datasets:training
    """,
)


@verb("unpack", _USAGE, flags=(*UNPACK_FLAGS, *NETWORK_FLAGS), takes=exactly(1))
def command(session: Session, call: Call) -> None:
    """Unpacks."""
    from kitcar.deliver import DeliverOptions, Limits, patience, unpack
    from kitcar.modelkit.kit import read_kit
    from kitcar.stores.layout import LayoutRepository

    text = call.arguments[0]
    with failing("Invalid arguments"):
        reference, more = naming.several(text)
        if not reference.target:
            session.console.info(f"No tag specified for unpack. Using 'latest' as default ('{text}:latest')")
        reference = reference.or_latest()
        if more:
            raise InvalidError("can not unpack multiple tags", hint=f"unpack one tag at a time: {reference}")
        concurrency = concurrency_of(call)
        existing = _existing(call)
    if "as-skill" in call.given:
        raise UnsupportedError(
            "skills are not installed by this version of kitcar", hint="unpack with --filter=prompts"
        )
    directory = Path(call.text("dir") or ".").absolute()
    with _made(directory), contextlib.ExitStack() as stack:
        session.console.info(f"Unpacking to {directory}")
        selection = selection_of(call)
        source, descriptor = _found(session, call, reference)
        if isinstance(source, LayoutRepository):
            stack.enter_context(repairable(source.store, reference, descriptor))
        kit = read_kit(source, descriptor)
        # The lines that tell what is unpacked are one a layer already, so that plain progress has nothing to add.
        style = "none" if session.progress == "plain" else session.progress
        with shown(session.console, style, name=lambda event: event.name) as listener, failing("failed to unpack"):
            options = DeliverOptions(
                existing=existing,
                concurrency=concurrency,
                listener=listener,
                log=session.console.info,
                pauser=patience(session.settings.environ),
                limits=Limits.from_environment(session.settings.environ),
            )
            report = unpack(
                source,
                kit,
                directory,
                selection,
                options,
                include_remote=call.on("include-remote"),
                warn=session.console.warn,
            )
    session.console.debug(f"Wrote {report.files} files, fetched {report.bytes_fetched} of {report.bytes_total} bytes")


def _existing(call: Call) -> Existing:
    from kitcar.deliver import Existing

    overwrite, ignore = call.on("overwrite"), call.on("ignore-existing")
    if overwrite and ignore:
        raise InvalidError("--overwrite and --ignore-existing exclude each other")
    return Existing.REPLACE if overwrite else Existing.KEEP if ignore else Existing.FAIL


@contextlib.contextmanager
def _made(directory: Path) -> Iterator[None]:
    """The directory, made if it is not there; who fails leaves none behind that was made for nothing.

    Raises:
        KitcarError: it cannot be made.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KitcarError(
            f"failed to create directory {directory}: {(error.strerror or str(error)).lower()}",
            hint="choose another one with --dir",
        ) from error
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in missing:
                path.rmdir()
        raise


def _found(session: Session, call: Call, reference: Reference) -> tuple[ReadTarget, Descriptor]:
    """The place that has the modelkit, local storage first, and its descriptor there."""
    from kitcar.stores.layout import LayoutStore

    name = naming.full(reference)
    with failing(f"failed to find reference {naming.shown(reference)}"):
        local = LayoutStore(session.settings.storage).repository(reference.name)
        descriptor = resolved(local, reference.target)
        if descriptor is not None:
            session.console.debug(f"Unpacking {name} from local storage")
            return local, descriptor
        if reference.is_local:
            raise NotFoundError("not found", hint="`kitcar list` shows what is in local storage")
        remote = Network.of(session, call).repository(reference)
        descriptor = resolved(remote, reference.target)
        if descriptor is None:
            raise NotFoundError(
                f"reference {name} is not present in local storage and could not be found in remote",
                hint="check the name and tag, and that your account may see it",
            )
        session.console.debug(f"Unpacking {name} from {reference.registry}")
        return remote, descriptor
