"""`kitcar pack`: a directory becomes a modelkit, in local storage or straight in a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.cli import naming, packing, publishing
from kitcar.cli.fault import failing
from kitcar.cli.network import Network
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.errors import InvalidError, UnsupportedError
from kitcar.flags.flag import Call, Flag, Kind
from kitcar.flags.network import NETWORK_FLAGS, concurrency_of
from kitcar.oci.reference import DEFAULT_REGISTRY, DEFAULT_REPOSITORY, Reference

if TYPE_CHECKING:
    from kitcar.modelkit.compression import Method
    from kitcar.modelkit.kitfile import Kitfile

_METHODS = ("none", "gzip", "gzip-fastest", "zstd")
FILE = Flag("file", "The Kitfile, if it is not in the directory; - reads standard input", short="f")
COMPRESSION = Flag(
    "compression", "How layers are compressed: none, gzip, gzip-fastest or zstd", default="none", choices=_METHODS
)
_TAG = Flag("tag", "Name of the modelkit, with one tag or more: registry/repository:tag1,tag2", Kind.TEXTS, short="t")
_FORM = Flag("layer-format", "Form of the layers: tar", default="tar", choices=("tar",))
_MODELPACK = Flag("use-model-pack", "Pack a ModelPack; not supported yet", Kind.SWITCH)
_PUSH = Flag("push", "Pack straight into the registry that --tag names; nothing is kept here", Kind.SWITCH)
_USAGE = Usage(
    "[flags] DIRECTORY",
    "Pack a directory into a modelkit",
    """
    Reads the Kitfile of a directory and packs what it names, each entry as one layer, into local storage. Paths in the
    Kitfile are relative to the directory. Every file is read once.

    What the directory's .kitignore names stays out of layers of whole directories. Packing again what has not changed
    stores nothing new, and keeps the digest.
    """,
    """
    # Pack this directory as iris:v1
    kitcar pack . -t iris:v1

    # Pack with another Kitfile and two tags
    kitcar pack . -f variants/Kitfile.small -t registry.example.com/team/iris:v1,latest

    # Pack straight into a registry
    kitcar pack . --push -t registry.example.com/team/iris:v1
    """,
)


@verb("pack", _USAGE, flags=(FILE, _TAG, COMPRESSION, _FORM, _MODELPACK, _PUSH, *NETWORK_FLAGS), takes=exactly(1))
def command(session: Session, call: Call) -> None:
    """Packs."""
    context = Path(call.arguments[0]).absolute()
    with failing("Invalid arguments"):
        if call.text(FILE.name) != "-":
            packing.kitfile_path(context, call.text(FILE.name))
        reference, more = _name(session, call.texts(_TAG.name))
        method = method_of(call)
        _check_form(call)
        concurrency_of(call)
        network = Network.of(session, call) if call.on(_PUSH.name) else None
        if network and reference.is_local:
            raise InvalidError("registry is required when pushing", hint="name it with --tag registry/repository:tag")
    tags = (reference.tag, *more) if reference.tag else ()
    with failing("Failed to pack model kit"):
        kitfile = packing.read_kitfile(session, context, call.text(FILE.name))
    if network:
        publishing.push_directory(session, network, kitfile, context, reference, method=method, tags=tags)
        return
    with failing("Failed to pack model kit"):
        _pack_here(session, kitfile, context, reference, method, tags)


def _pack_here(
    session: Session, kitfile: Kitfile, context: Path, reference: Reference, method: Method, tags: tuple[str, ...]
) -> None:
    from kitcar.stores.layout import LayoutStore

    repository = LayoutStore(session.settings.storage).repository(reference.name)
    packed = packing.pack_into(session, kitfile, context, repository, method=method, tags=tags)
    say = session.console.info
    packing.say_stored(session, packed)
    config, manifest = packed.manifest.config.digest, packed.descriptor.digest
    say(f"Saved configuration: {config}" if packed.config_new else f"Configuration already exists in storage: {config}")
    say(
        f"Saved manifest to storage: {manifest}"
        if packed.manifest_new
        else f"Manifest already exists in storage: {manifest}"
    )
    say(f"Model saved: {manifest}")


def _name(session: Session, texts: tuple[str, ...]) -> tuple[Reference, tuple[str, ...]]:
    """The one repository that all `--tag` flags name, its first tag, and the other tags."""
    if not texts:
        return Reference(DEFAULT_REGISTRY, DEFAULT_REPOSITORY), ()
    parsed = []
    for text in texts:
        reference, more = naming.several(text)
        if reference.digest:
            raise InvalidError(f"a modelkit cannot be tagged with a digest ({text})", hint="name a tag behind ':'")
        if not reference.tag:
            session.console.info(
                f"No tag or digest specified with --tag flag. Using 'latest' as default ('{text}:latest')"
            )
        parsed.append((reference.or_latest(), more))
    first = parsed[0][0]
    if any(reference.name != first.name for reference, _ in parsed):
        raise InvalidError(
            "all --tag flags must name the same repository",
            hint="pack once, then use `kitcar tag` for other repositories",
        )
    tags = dict.fromkeys(tag for reference, more in parsed for tag in (reference.target, *more))
    return first, tuple(tags)[1:]


def _check_form(call: Call) -> None:
    form = call.text(_FORM.name)
    if form not in {"tar", "raw"}:
        raise InvalidError("invalid layer format: must be either 'tar' or 'raw'")
    if form == "raw":
        raise UnsupportedError(
            "raw layers are read, but not written by this version of kitcar", hint="leave out --layer-format"
        )
    if call.on(_MODELPACK.name):
        raise UnsupportedError(
            "ModelPacks are read, but not written by this version of kitcar", hint="leave out --use-model-pack"
        )


def method_of(call: Call) -> Method:
    """The compression that was asked for.

    Raises:
        InvalidError: there is no such method.
    """
    from kitcar.modelkit.compression import Method

    try:
        return Method(call.text(COMPRESSION.name))
    except ValueError:
        raise InvalidError(
            "invalid compression type: must be one of 'none', 'gzip', 'gzip-fastest', or 'zstd'"
        ) from None
