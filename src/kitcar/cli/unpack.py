"""`kitcar unpack`: the files of a modelkit in a directory, from local storage or straight from a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.flag import Call, Flag, Kind
from kitcar.cli.lookup import resolved
from kitcar.cli.network import NETWORK_FLAGS, Network, concurrency_of
from kitcar.cli.progress import shown
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.errors import InvalidError, KitcarError, NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from kitcar.deliver import Existing
    from kitcar.modelkit.kit import Kit
    from kitcar.modelkit.kitfile import Kitfile
    from kitcar.modelkit.select import Selection
    from kitcar.oci.descriptor import Descriptor
    from kitcar.oci.reference import Reference
    from kitcar.oci.storage import ReadTarget

_DIRECTORY = Flag("dir", "Directory to write to; it is made if there is none (default: this directory)", short="d")
_OVERWRITE = Flag("overwrite", "Replace files that exist with other content", Kind.SWITCH, short="o")
_IGNORE = Flag("ignore-existing", "Keep files that exist, whatever they hold", Kind.SWITCH, short="i")
_FILTER = Flag("filter", "Only such entries: model, datasets:NAME, docs:PATH (may be repeated)", Kind.TEXTS, short="f")
_INCLUDE_REMOTE = Flag("include-remote", "Fetch datasets that lie elsewhere; not supported yet", Kind.SWITCH)
_AS_SKILL = Flag("as-skill", "Install prompts as skills of agents; not supported yet", bare="auto")
_OLD = tuple(
    Flag(name, f"Only {what} (older form of --filter={name})", Kind.SWITCH)
    for name, what in (
        ("kitfile", "the Kitfile"),
        ("model", "the model"),
        ("code", "code"),
        ("datasets", "datasets"),
        ("docs", "documents"),
    )
)
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


@verb(
    "unpack",
    _USAGE,
    flags=(_DIRECTORY, _OVERWRITE, _IGNORE, _FILTER, _INCLUDE_REMOTE, *_OLD, _AS_SKILL, *NETWORK_FLAGS),
    takes=exactly(1),
)
def command(session: Session, call: Call) -> None:
    """Unpacks."""
    from kitcar.deliver import DeliverOptions, deliver, patience
    from kitcar.modelkit.kit import read_kit
    from kitcar.sources.kit import KitSource

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
    if _AS_SKILL.name in call.given:
        raise UnsupportedError(
            "skills are not installed by this version of kitcar", hint="unpack with --filter=prompts"
        )
    directory = Path(call.text(_DIRECTORY.name) or ".").absolute()
    _make(directory)
    session.console.info(f"Unpacking to {directory}")
    selection = _selection(call)
    source, descriptor = _found(session, call, reference)
    kit = read_kit(source, descriptor)
    _check(session, kit, selection, include=call.on(_INCLUDE_REMOTE.name))
    # The lines that tell what is unpacked are one a layer already, so that plain progress has nothing to add.
    style = "none" if session.progress == "plain" else session.progress
    with shown(session.console, style, name=lambda event: event.name) as listener, failing("failed to unpack"):
        options = DeliverOptions(
            existing=existing,
            concurrency=concurrency,
            listener=listener,
            log=session.console.info,
            pauser=patience(session.settings.environ),
        )
        report = deliver(KitSource(source, kit, selection), directory, options)
    session.console.debug(f"Wrote {report.files} files, fetched {report.bytes_fetched} of {report.bytes_total} bytes")


def _check(session: Session, kit: Kit, selection: Selection, *, include: bool) -> None:
    """Says what will not be there, and refuses where that would be all or the model.

    Raises:
        NotFoundError: no filter takes anything.
        UnsupportedError: what is wanted lies in another modelkit, or elsewhere.
    """
    kitfile = kit.kitfile
    if kit.generated:
        session.console.warn("Artifact does not include Kitfile: functionality may be impacted")
    taken = [entry for entry in kitfile.entries() if selection.matches(entry)]
    if not taken and not selection.kitfile:
        raise NotFoundError(
            "the filters take nothing of this modelkit", hint=f"`kitcar info` shows what it has; {_known(kitfile)}"
        )
    for text in selection.unmatched(kitfile):
        session.console.warn(f"Filter '{text}' takes nothing of this modelkit")
    elsewhere = [entry for entry in taken if entry.remote]
    if model := next((entry for entry in elsewhere if entry.kind.value == "model"), None):
        raise UnsupportedError(
            f"the model lies in another ModelKit, {model.path}, which kitcar does not follow yet",
            hint=f"unpack it first: kitcar unpack {model.path} --filter=model",
        )
    if elsewhere and include:
        raise UnsupportedError("datasets that lie elsewhere are not fetched by this version of kitcar")
    if elsewhere:
        session.console.warn("ModelKit contains remote datasets. To unpack, specify the --include-remote flag")


def _known(kitfile: Kitfile) -> str:
    return "it has " + (", ".join(entry.path for entry in kitfile.entries()) or "no entries")


def _existing(call: Call) -> Existing:
    from kitcar.deliver import Existing

    overwrite, ignore = call.on(_OVERWRITE.name), call.on(_IGNORE.name)
    if overwrite and ignore:
        raise InvalidError("--overwrite and --ignore-existing exclude each other")
    return Existing.REPLACE if overwrite else Existing.KEEP if ignore else Existing.FAIL


def _selection(call: Call) -> Selection:
    """What the filters and their older forms want, together."""
    from kitcar.modelkit.select import Selection

    older = Selection.from_flags(**{flag.name: call.on(flag.name) for flag in _OLD})
    return Selection((*older.filters, *Selection.parse(call.texts(_FILTER.name)).filters))


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KitcarError(
            f"failed to create directory {directory}: {(error.strerror or str(error)).lower()}"
        ) from error


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
