"""The rows of `kitcar list`, from local storage or from a registry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.network import Network
from kitcar.cli.output import size_text
from kitcar.cli.session import Session
from kitcar.errors import IntegrityError, InvalidError, NotFoundError
from kitcar.oci.reference import Reference

if TYPE_CHECKING:
    from kitcar.modelkit.kit import Kit
    from kitcar.modelkit.select import Selection
    from kitcar.oci.descriptor import Descriptor
    from kitcar.oci.storage import ReadTarget
    from kitcar.registry.repository import Repository

_NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Row:
    """One modelkit with the tags that name it."""

    repository: str
    digest: str
    tags: tuple[str, ...]
    name: str
    size: str
    author: str

    @classmethod
    def of(cls, repository: str, kit: Kit, tags: tuple[str, ...]) -> Row:
        """The row of a kit; a Kitfile that was not packed with it says nothing."""
        package = kit.kitfile.package
        named = not kit.generated
        return cls(
            repository or _NONE,
            str(kit.descriptor.digest),
            tags,
            (named and package.name) or _NONE,
            size_text(kit.size),
            package.authors[0] if named and package.authors else _NONE,
        )

    def lines(self) -> list[tuple[str, ...]]:
        """The lines of the table: one a tag."""
        rest = (self.author, self.name, self.size, self.digest)
        return [(self.repository, tag, *rest) for tag in self.tags or (_NONE,)]

    def document(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "repo": self.repository,
            "digest": self.digest,
            "tags": list(self.tags) or None,
            "modelName": self.name,
            "size": self.size,
            "author": self.author,
        }

    def fields(self) -> dict[str, Any]:
        """What a template sees."""
        return {
            "Repo": self.repository,
            "Digest": self.digest,
            "Tags": list(self.tags),
            "ModelName": self.name,
            "Size": self.size,
            "Author": self.author,
        }


def list_local(session: Session, selection: Selection) -> list[Row]:
    """The modelkits of local storage, by repository and digest; other artifacts are passed over.

    Raises:
        KitcarError: storage cannot be read.
    """
    from kitcar.stores.layout import LayoutStore

    store = LayoutStore(session.settings.storage)
    rows: list[Row] = []
    for name in store.repositories():
        repository = store.repository(name)
        shown = naming.display(name)
        for descriptor in sorted(repository.manifests(), key=lambda item: str(item.digest)):
            try:
                kit = kit_or_none(repository, descriptor)
            except (IntegrityError, InvalidError) as error:
                session.console.warn(f"Skipping {shown or _NONE}@{descriptor.digest}: {error}")
                continue
            except NotFoundError:
                session.console.warn(
                    f"Skipping {shown or _NONE}@{descriptor.digest}: content is missing from local storage; "
                    "run 'kitcar remove' to clean it up"
                )
                continue
            if kit is not None and selected(kit, selection):
                rows.append(Row.of(shown, kit, repository.tags_of(descriptor)))
    return rows


def list_remote(session: Session, network: Network, reference: Reference, selection: Selection) -> list[Row]:
    """The modelkits of a repository, in the order of its tags; each manifest is fetched once, several at a time.

    Raises:
        KitcarError: the registry cannot be asked, or what the reference names is no modelkit.
    """
    from concurrent.futures import ThreadPoolExecutor

    repository = network.repository(reference)
    if reference.target:
        with failing(f"failed to resolve reference {reference.target}"):
            descriptor = repository.resolve(reference.target)
        with failing("failed to read modelkit"):
            kit = kit_or_none(repository, descriptor)
            if kit is None:
                raise InvalidError("reference exists but is not a modelkit")
        return [Row.of(reference.repository, kit, (reference.target,))] if selected(kit, selection) else []
    with failing("failed to list tags on repository"):
        tags = list(repository.tags())
    with ThreadPoolExecutor(network.concurrency, thread_name_prefix="kitcar-list") as pool:
        try:
            found = list(pool.map(lambda tag: _resolved(repository, tag), tags))
            wanted = {item.digest: item for item in found if item is not None}
            kits = dict(zip(wanted, pool.map(lambda item: kit_or_none(repository, item), wanted.values()), strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    session.console.debug(f"Read {len(kits)} manifests for {len(tags)} tags")
    rows = []
    for tag, named in zip(tags, found, strict=True):
        kit = kits.get(named.digest) if named is not None else None
        if kit is not None and selected(kit, selection):
            rows.append(Row.of(reference.repository, kit, (tag,)))
    return rows


def kit_or_none(source: ReadTarget, descriptor: Descriptor) -> Kit | None:
    """The kit a descriptor names; None if it names another kind of artifact.

    Raises:
        InvalidError: it is a kit, but not a right one.
        NotFoundError: a part of it is not there.
        KitcarError: it cannot be read.
    """
    from kitcar.modelkit.dialect import dialect_of
    from kitcar.modelkit.kit import read_kit
    from kitcar.oci import media
    from kitcar.oci.manifest import Manifest
    from kitcar.oci.verify import fetch_all

    if descriptor.media_type not in media.MANIFESTS:
        return None
    raw = fetch_all(source, descriptor)
    try:
        dialect_of(Manifest.parse(raw))
    except InvalidError:
        return None
    return read_kit(source, replace(descriptor, data=raw))


def selected(kit: Kit, selection: Selection) -> bool:
    """Whether one of the kit's entries, or the Kitfile itself, is taken by the filters; all are where there are none."""
    if not selection.filters:
        return True
    return not kit.generated and (selection.kitfile or any(selection.matches(entry) for entry in kit.kitfile.entries()))


def _resolved(repository: Repository, tag: str) -> Descriptor | None:
    """What a tag names; None if it went away since the tags were listed."""
    try:
        return repository.resolve(tag)
    except NotFoundError:
        return None
