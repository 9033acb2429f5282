"""What goes into a layer: the entries of a tree that belong to one Kitfile path, in the order and by the rules of kit.

A layer holds its path, what is below it, and the directories above it, but not what the ignore rules leave out nor what
belongs to another entry's path inside it. Paths are compared component by component.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kitcar.errors import InvalidError, UnsafePathError
from kitcar.files.paths import below, clean
from kitcar.files.tree import ROOT, Entry, Kind, Tree
from kitcar.modelkit import tarwriter
from kitcar.modelkit.dialect import Form
from kitcar.modelkit.ignore import Hits, IgnoreRules

_SHOWN_FAULTS = 5


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """A layer before its bytes are read.

    `entries` are in order; `size` is the number of bytes of the uncompressed layer and `content` that of the files in it.
    `spared` says that ignore rules hit the path itself and would have left nothing of it, so that they were set aside;
    `ignored` that they hit it at all.
    """

    root: str
    path: str
    form: Form
    entries: tuple[Entry, ...]
    size: int
    content: int
    ignored: bool = False
    spared: bool = False


def plan_tar(tree: Tree, path: str, rules: IgnoreRules, others: Iterable[str] = ()) -> LayerPlan:
    """The tar layer of the clean relative `path`; `others` are the paths of all other entries.

    Rules that hit the path itself, and would leave no file of it, are set aside: who names a path wants it.

    Raises:
        NotFoundError: the path does not exist.
        UnsafePathError: the path leaves the tree, or holds what cannot be packed: a link out of the tree, a loop, a device.
        KitcarError: a directory cannot be read.
    """
    top = tree.find(path)
    taken = frozenset(other for other in others if other != path and below(other, path))
    entries = tuple(_select(tree, top, rules, taken))
    ignored = path != ROOT and rules.ignores(path)
    spared = ignored and not any(entry.kind is Kind.FILE for entry in entries)
    if spared:
        entries = tuple(_select(tree, top, rules.sparing(path), taken))
    _check(entries)
    size = sum(
        tarwriter.header_size(os.fsencode(entry.path), entry.size) + entry.size + tarwriter.padding(entry.size)
        for entry in entries
    )
    content = sum(entry.size for entry in entries)
    return LayerPlan(tree.root, path, "tar", entries, size + len(tarwriter.END), content, ignored, spared)


def plan_raw(tree: Tree, path: str) -> LayerPlan:
    """The raw layer of one file: its bytes as they are.

    Raises:
        InvalidError: the path is a directory.
        NotFoundError, UnsafePathError, KitcarError: see `plan_tar`.
    """
    entry = tree.find(path)
    if entry.kind is not Kind.FILE:
        raise InvalidError(f"file {path} is not a regular file", hint="a raw layer holds exactly one file")
    _check((entry,))
    return LayerPlan(tree.root, path, "raw", (entry,), entry.size, entry.size)


def _select(tree: Tree, top: Entry, rules: IgnoreRules, taken: frozenset[str]) -> Iterator[Entry]:
    """The entries of a layer; ignored directories are entered only where a rule may take something back."""
    hits = rules.no_hits
    for above in _above(tree, top.path):
        hits = rules.below(hits, above.path)
        if not rules.verdict(hits):
            yield above
        elif not rules.takes_back:
            return
    waiting: list[tuple[Entry, Hits]] = [(top, hits)]
    while waiting:
        entry, hits = waiting.pop()
        if entry.path != ROOT:
            if entry.path in taken:
                continue
            hits = rules.below(hits, entry.path)
            ignored = rules.verdict(hits)
            if not ignored:
                yield entry
            elif not rules.takes_back:
                continue
        if entry.kind is Kind.DIRECTORY:
            waiting.extend((child, hits) for child in reversed(tree.children(entry)))


def _above(tree: Tree, path: str) -> Iterator[Entry]:
    parts = path.split("/")
    for count in range(1, len(parts)):
        yield tree.find("/".join(parts[:count]))


def _check(entries: tuple[Entry, ...]) -> None:
    refused = [reason for entry in entries if (reason := _refused(entry))]
    if refused:
        more = f"; and {len(refused) - _SHOWN_FAULTS} more" if len(refused) > _SHOWN_FAULTS else ""
        raise UnsafePathError(
            f"cannot be packed: {'; '.join(refused[:_SHOWN_FAULTS])}{more}",
            hint="replace it by what it stands for, take it out of the directory, or name it in .kitignore",
        )


def _refused(entry: Entry) -> str:
    """Why an entry is not packed: what it is, or a name that no destination takes."""
    if entry.kind is Kind.REFUSED:
        return entry.reason
    try:
        clean(entry.path)
    except UnsafePathError as error:
        return error.message
    return ""
