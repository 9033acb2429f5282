"""Which entries of a kit are wanted: the filters of `unpack`, in kit's grammar `TYPE[,TYPE][:NAME[,NAME]]`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kitcar.errors import InvalidError
from kitcar.modelkit.dialect import Kind
from kitcar.modelkit.kitfile import KitEntry, Kitfile, clean_path

TYPES = ("kitfile", "model", "datasets", "code", "prompts", "docs", "mcpservers")

_TYPE_OF = {
    Kind.MODEL: "model",
    Kind.MODELPART: "model",
    Kind.DATASET: "datasets",
    Kind.CODE: "code",
    Kind.PROMPT: "prompts",
    Kind.DOCS: "docs",
    Kind.MCPB: "mcpservers",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Types, and the names or paths wanted of them; no names means all. `str` gives the filter back as it was written."""

    types: tuple[str, ...]
    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Reads one filter.

        Raises:
            InvalidError: it has an unknown type, or is not in the form of a filter.
        """
        types, colon, names = text.partition(":")
        if ":" in names:
            message = "invalid filter: should be in format <type1>,<type2>[:<filter1>,<filter2>]"
            raise InvalidError(message, hint="for example model, or datasets:train,validation")
        for item in types.split(","):
            if item not in TYPES:
                raise InvalidError(
                    f"invalid filter type {item} (must be one of {', '.join(TYPES)})",
                    hint="for example model, or datasets:train,validation",
                )
        return cls(tuple(types.split(",")), tuple(names.split(",")) if colon else ())

    def matches(self, entry: KitEntry) -> bool:
        """Whether the entry is of one of the types and, where names are given, has one as its name or path.

        Paths are compared cleaned: `./README.md` is `README.md`, `data/` is `data`.
        """
        if _TYPE_OF[entry.kind] not in self.types:
            return False
        return not self.names or any(_named(entry, name) for name in self.names)

    def __str__(self) -> str:
        return ",".join(self.types) + (f":{','.join(self.names)}" if self.names else "")


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted of a kit: what any filter wants, or everything where there is none."""

    filters: tuple[Filter, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Selection:
        """Reads filters.

        Raises:
            InvalidError: one of them is malformed; the message quotes it.
        """
        filters = []
        for text in texts:
            try:
                filters.append(Filter.parse(text))
            except InvalidError as error:
                raise InvalidError(f"Invalid filter '{text}': {error}", hint=error.hint) from error
        return cls(tuple(filters))

    @classmethod
    def from_flags(
        cls,
        *,
        kitfile: bool = False,
        model: bool = False,
        code: bool = False,
        datasets: bool = False,
        docs: bool = False,
    ) -> Selection:
        """What kit's older flags stand for; none of them given means everything."""
        wanted = {"kitfile": kitfile, "model": model, "docs": docs, "datasets": datasets, "code": code}
        types = tuple(name for name, flag in wanted.items() if flag)
        return cls((Filter(types),)) if types else cls()

    @property
    def kitfile(self) -> bool:
        """Whether the Kitfile itself is wanted."""
        return not self.filters or any("kitfile" in one.types for one in self.filters)

    def matches(self, entry: KitEntry) -> bool:
        """Whether the entry is wanted."""
        return not self.filters or any(one.matches(entry) for one in self.filters)

    def narrowed(self, kind: Kind) -> Selection | None:
        """What is wanted of one kind of a referenced kit; None if nothing is."""
        word = _TYPE_OF[kind]
        if not self.filters:
            return Selection((Filter((word,)),))
        filters = tuple(Filter((word,), one.names) for one in self.filters if word in one.types)
        return Selection(filters) if filters else None

    def unmatched(self, kitfile: Kitfile) -> tuple[str, ...]:
        """The filters, or single names of them, that nothing in the Kitfile answers to, for the caller to report."""
        entries = kitfile.entries()
        missing: list[str] = []
        for one in self.filters:
            types = tuple(item for item in one.types if item != "kitfile")
            parts = [Filter(types, (name,)) for name in one.names if types] or [Filter((item,)) for item in types]
            missing += [str(part) for part in parts if not any(part.matches(entry) for entry in entries)]
        return tuple(missing)


def _named(entry: KitEntry, name: str) -> bool:
    return bool(name) and (name in {entry.name, entry.path} or clean_path(name) == entry.clean_path)
