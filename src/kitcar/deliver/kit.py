"""Unpacks a ModelKit: says what will not be there, and delivers the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kitcar.deliver.delivery import deliver
from kitcar.deliver.options import DeliverOptions, Report
from kitcar.errors import NotFoundError, UnsupportedError
from kitcar.modelkit.dialect import Kind
from kitcar.modelkit.kit import Kit
from kitcar.modelkit.select import Selection
from kitcar.oci.storage import Fetcher
from kitcar.sources.kit import KitSource

_EVERYTHING = Selection()
_AS_USUAL = DeliverOptions()


def unpack(
    source: Fetcher,
    kit: Kit,
    directory: Path,
    selection: Selection = _EVERYTHING,
    options: DeliverOptions = _AS_USUAL,
    *,
    include_remote: bool = False,
    warn: Callable[[str], None] = lambda _: None,
) -> Report:
    """Brings what is selected of a kit into `directory`; what is right there already is neither fetched nor written.

    `source` holds the kit's content. `warn` hears of filters that take nothing and, unless they are asked for with
    `include_remote`, of datasets that lie elsewhere.

    Raises:
        NotFoundError: the filters take nothing.
        UnsupportedError: what is wanted lies in another kit, or elsewhere.
        KitcarError: it could not be fetched whole and verified, or not written; see `deliver`.
    """
    _check(kit, selection, warn, include_remote=include_remote)
    return deliver(KitSource(source, kit, selection), directory, options)


def _check(kit: Kit, selection: Selection, warn: Callable[[str], None], *, include_remote: bool) -> None:
    """Says what will not be there, and refuses where that would be all or the model."""
    if kit.generated:
        warn("Artifact does not include Kitfile: functionality may be impacted")
    entries = kit.kitfile.entries()
    taken = [entry for entry in entries if selection.matches(entry)]
    if not taken and not selection.kitfile:
        known = ", ".join(entry.path for entry in entries) or "no entries"
        raise NotFoundError("the filters take nothing of this modelkit", hint=f"it has {known}")
    for text in selection.unmatched(kit.kitfile):
        warn(f"Filter '{text}' takes nothing of this modelkit")
    remote = [entry for entry in taken if entry.remote]
    for entry in remote:
        if entry.kind is Kind.MODEL:
            raise UnsupportedError(
                f"the model is a reference to {entry.path}, which is not followed yet",
                hint=f"unpack it first: kitcar unpack {entry.path} --filter=model",
            )
        if include_remote:
            raise UnsupportedError(
                f"the dataset {entry.path} lies outside of the ModelKit, and is not fetched by this version of kitcar",
                hint="leave --include-remote out, and fetch the dataset by other means",
            )
    if remote:
        warn("ModelKit contains remote datasets. To unpack, specify the --include-remote flag")
