"""The flags of `unpack`, which `KIT_UNPACK_FLAGS` and `EXTRA_FLAGS` take too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitcar.flags.flag import Call, Flag, Kind

if TYPE_CHECKING:
    from kitcar.modelkit.select import Selection

_OLDER = {
    "kitfile": "the Kitfile",
    "model": "the model",
    "code": "code",
    "datasets": "datasets",
    "docs": "documents",
}

UNPACK_FLAGS = (
    Flag("dir", "Directory to write to; it is made if there is none (default: this directory)", short="d"),
    Flag("overwrite", "Replace files that exist with other content", Kind.SWITCH, short="o"),
    Flag("ignore-existing", "Keep files that exist, whatever they hold", Kind.SWITCH, short="i"),
    Flag("filter", "Only such entries: model, datasets:NAME, docs:PATH (may be repeated)", Kind.TEXTS, short="f"),
    Flag("include-remote", "Fetch datasets that lie elsewhere; not supported yet", Kind.SWITCH),
    *(Flag(name, f"Only {what} (older form of --filter={name})", Kind.SWITCH) for name, what in _OLDER.items()),
    Flag("as-skill", "Install prompts as skills of agents; not supported yet", bare="auto"),
)


def selection_of(call: Call) -> Selection:
    """What the filters and their older forms select, together.

    Raises:
        InvalidError: a filter is malformed.
    """
    from kitcar.modelkit.select import Selection

    older = Selection.from_flags(**{name: call.on(name) for name in _OLDER})
    return Selection((*older.filters, *Selection.parse(call.texts("filter")).filters))
