"""Packing straight into a registry, and the words about a registry that refuses."""

from __future__ import annotations

import contextlib
import http
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.cli import naming, packing
from kitcar.cli.fault import failing
from kitcar.cli.network import Network
from kitcar.cli.session import Session
from kitcar.errors import KitcarError, RegistryError
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.modelkit.compression import Method
    from kitcar.modelkit.kitfile import Kitfile


def push_directory(
    session: Session,
    network: Network,
    kitfile: Kitfile,
    context: Path,
    reference: Reference,
    *,
    method: Method,
    tags: tuple[str, ...],
) -> None:
    """Packs a directory into a registry in one read of its files; nothing is kept on this machine.

    Raises:
        KitcarError: the directory cannot be packed, or the registry refused.
    """
    session.console.info(f"Pushing {context} to {naming.full(reference)}")
    with pushing():
        packed = packing.pack_into(session, kitfile, context, network.repository(reference), method=method, tags=tags)
    packing.say_stored(session, packed, new="Pushed", old="Already pushed")
    session.console.info(f"Pushed {packed.descriptor.digest}")


@contextlib.contextmanager
def pushing() -> Iterator[None]:
    """Names a refusal of the registry as kit does; its own words become the hint.

    Raises:
        KitcarError: with a message that says the push failed.
    """
    try:
        with failing("Failed to push"):
            yield
    except RegistryError as error:
        cause = error.__cause__ if isinstance(error.__cause__, KitcarError) else error
        more = ". Ensure the repository exists and you have push access to it." if error.status == 401 else ""
        raise KitcarError(
            f"Failed to push: got response {error.status} ({reason(error.status)}) from remote{more}",
            hint=cause.message + (f"; {cause.hint}" if cause.hint else ""),
        ) from error


def reason(status: int) -> str:
    """The words of an HTTP status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"
