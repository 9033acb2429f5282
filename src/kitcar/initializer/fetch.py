"""One model from its reference into a directory: log in, resolve once, deliver what the flags select."""

from __future__ import annotations

import os
from pathlib import Path

from kitcar.deliver import DeliverOptions, Existing, Report, deliver, patience
from kitcar.errors import InvalidError, NotFoundError, UnsupportedError
from kitcar.initializer.console import Console
from kitcar.initializer.flags import UnpackFlags
from kitcar.initializer.login import EcrLogin, Login, NoLogin, PasswordLogin, RealLogin
from kitcar.initializer.progress import MIB, ProgressLines
from kitcar.initializer.settings import Surroundings
from kitcar.modelkit.dialect import Kind
from kitcar.modelkit.kit import Kit, read_kit
from kitcar.modelkit.select import Selection
from kitcar.oci.reference import Reference
from kitcar.registry.credentials import Credential, CredentialChain, CredentialSource, FixedCredential
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.sources.kit import KitSource


def connect(flags: UnpackFlags, around: Surroundings) -> Connection:
    """How registries are reached: the flags, then the environment.

    Raises:
        InvalidError: a setting has no meaning.
    """
    return Connection.from_environment(
        around.environ,
        plain_http=flags.plain_http,
        verify_tls=flags.tls_verify,
        ca_files=flags.tls_cert,
        client_cert=flags.cert or around.client_cert or None,
        client_key=flags.key or around.client_key or None,
        proxy=flags.proxy or None,
    )


def log_in(login: Login, connection: Connection, around: Surroundings, console: Console) -> CredentialSource:
    """What to tell registries: the login's credential, tried at once as `kit login` tries it, then those that files hold.

    Raises:
        UnsupportedError: the library that the login needs is not installed.
        AuthError: it was refused.
        TransportError: nobody answered.
    """
    kept = CredentialChain.from_environment(around.environ, around.kit_home)
    if isinstance(login, NoLogin):
        if login.reason:
            console.note(login.reason)
        return kept
    console.line(login.line)
    fixed = FixedCredential(_credential(login, connection), login.registry)
    Repository(Reference(login.registry, "_"), connection=connection, credentials=fixed).ping()
    console.line("Log in successful")
    return kept.before(fixed)


def fetch(
    reference: Reference,
    directory: Path,
    flags: UnpackFlags,
    repository: Repository,
    around: Surroundings,
    console: Console,
) -> Report:
    """Brings what `flags` select of a kit into `directory`, and keeps what is right there already.

    Files with other content are replaced, as `--overwrite` asks and as a repeated run needs, or stay with
    `--ignore-existing`. Without a tag or digest, `latest` is meant.

    Raises:
        NotFoundError: there is no such kit, or the filters take nothing of it.
        UnsupportedError: the kit refers to something that is fetched by other means.
        KitcarError: it could not be fetched whole and verified.
    """
    selection = select(flags)
    if not reference.target:
        console.line(f"No tag specified for unpack. Using 'latest' as default ('{reference}:latest')")
    reference = reference.or_latest()
    directory = Path(os.path.normpath(directory.absolute()))
    console.line(f"Unpacking to {directory}")
    kit = read_kit(repository, repository.resolve(reference.target))
    console.note(f"{reference} is {kit.descriptor.digest}", digest=str(kit.descriptor.digest))
    _check(kit, selection, console, included=flags.include_remote)
    source = KitSource(repository, kit, selection)
    total = sum(part.size or 0 for part in source.parts())
    with ProgressLines(console.note, total) as progress:
        options = DeliverOptions(
            existing=Existing.KEEP if flags.ignore_existing else Existing.REPLACE,
            concurrency=flags.concurrency,
            listener=progress,
            log=console.line,
            pauser=patience(around.environ),
        )
        report = deliver(source, directory, options)
    _tell(report, console)
    return report


def select(flags: UnpackFlags) -> Selection:
    """What the filters and their older forms select, together.

    Raises:
        InvalidError: a filter is malformed.
    """
    older = Selection.from_flags(
        kitfile=flags.kitfile, model=flags.model, code=flags.code, datasets=flags.datasets, docs=flags.docs
    )
    return Selection((*older.filters, *Selection.parse(flags.filter).filters))


def parse_reference(text: str) -> Reference:
    """Reads a reference to a registry.

    Raises:
        InvalidError: it is malformed, is of another scheme, or names no registry.
    """
    reference = Reference.parse(text)
    if reference.is_local:
        hint = "write kit://REGISTRY/REPOSITORY:TAG; a registry has a dot or a port in its name"
        raise InvalidError(f"{text} names no registry", hint=hint)
    return reference


def _credential(login: RealLogin, connection: Connection) -> Credential:
    if isinstance(login, PasswordLogin):
        return Credential(login.user, login.password)
    if isinstance(login, EcrLogin):
        from kitcar.initializer.ecr import ecr_credential

        return ecr_credential(login)
    from kitcar.initializer.gar import gar_credential

    return gar_credential(login, connection)


def _check(kit: Kit, selection: Selection, console: Console, *, included: bool) -> None:
    """Says what will not be there, and refuses where that would be all or the model."""
    if kit.generated:
        console.warn("Artifact does not include Kitfile: functionality may be impacted")
    taken = [entry for entry in kit.kitfile.entries() if selection.matches(entry)]
    if not taken and not selection.kitfile:
        known = ", ".join(entry.path for entry in kit.kitfile.entries()) or "no entries"
        raise NotFoundError("the filters take nothing of this modelkit", hint=f"it has {known}")
    for text in selection.unmatched(kit.kitfile):
        console.warn(f"Filter '{text}' takes nothing of this modelkit")
    remote = [entry for entry in taken if entry.remote]
    for entry in remote:
        if entry.kind is Kind.MODEL:
            hint = "unpack that ModelKit by its own reference"
            raise UnsupportedError(f"the model is a reference to {entry.path}, which is not followed", hint=hint)
        if included:
            hint = "leave --include-remote out, and fetch the dataset by other means"
            raise UnsupportedError(f"the dataset {entry.path} lies outside of the ModelKit", hint=hint)
    if remote:
        console.warn("ModelKit contains remote datasets. To unpack, specify the --include-remote flag")


def _tell(report: Report, console: Console) -> None:
    if report.kept:
        console.warn(f"{report.kept} files exist with other content and were kept (--ignore-existing)")
    rate = report.bytes_fetched / max(report.seconds, 1e-6)
    console.note(
        f"Delivered {report.bytes_total} bytes in {len(report.parts)} parts: fetched {report.bytes_fetched} bytes "
        f"({report.files} files) in {report.seconds:.2f} s, {rate / MIB:.1f} MiB/s",
        bytes=report.bytes_total,
        fetched=report.bytes_fetched,
        files=report.files,
        seconds=round(report.seconds, 3),
        bytes_per_second=round(rate),
    )
