"""One model from its reference into a directory: log in, resolve once, deliver what the flags select."""

from __future__ import annotations

import os
from pathlib import Path

from kitcar.deliver import DeliverOptions, Existing, Limits, Report, patience, unpack
from kitcar.errors import InvalidError
from kitcar.flags.flag import Call
from kitcar.flags.network import concurrency_of
from kitcar.flags.unpack import selection_of
from kitcar.initializer.console import Console
from kitcar.initializer.login import EcrLogin, Login, NoLogin, PasswordLogin, RealLogin
from kitcar.initializer.progress import ProgressLines
from kitcar.initializer.settings import Surroundings
from kitcar.modelkit.kit import read_kit
from kitcar.oci.reference import Reference
from kitcar.oci.verify import MIB
from kitcar.registry.credentials import Credential, CredentialChain, CredentialSource, FixedCredential
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.sources.kit import KitSource


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
    flags: Call,
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
    selection = selection_of(flags)
    if not reference.target:
        console.line(f"No tag specified for unpack. Using 'latest' as default ('{reference}:latest')")
    reference = reference.or_latest()
    directory = Path(os.path.normpath(directory.absolute()))
    console.line(f"Unpacking to {directory}")
    kit = read_kit(repository, repository.resolve(reference.target))
    console.note(f"{reference} is {kit.descriptor.digest}", digest=str(kit.descriptor.digest))
    total = sum(part.size or 0 for part in KitSource(repository, kit, selection).parts())
    with ProgressLines(console.note, total) as progress:
        options = DeliverOptions(
            existing=Existing.KEEP if flags.on("ignore-existing") else Existing.REPLACE,
            concurrency=concurrency_of(flags),
            listener=progress,
            log=console.line,
            pauser=patience(around.environ),
            limits=Limits.from_environment(around.environ),
        )
        report = unpack(
            repository,
            kit,
            directory,
            selection,
            options,
            include_remote=flags.on("include-remote"),
            warn=console.warn,
        )
    _tell(report, console)
    return report


def parse_reference(text: str) -> Reference:
    """Reads a reference to a registry.

    Raises:
        InvalidError: it is malformed, is of another scheme, or names no registry.
    """
    if "://" in text:
        raise InvalidError(
            f"{text} is no kit:// URI",
            hint="this storage initializer fetches kit://REGISTRY/REPOSITORY:TAG and nothing else",
        )
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
