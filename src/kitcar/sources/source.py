"""What every source of a model gives: parts, each some bytes and how they lie on disk (docs/adr/0003)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kitcar.files.paths import Scope
from kitcar.oci.digest import Digest
from kitcar.oci.storage import Reader

Check = Callable[[], None]
"""Called now and then by long work; raises `CancelledError` when the work is given up."""


@dataclass(frozen=True, slots=True)
class SingleFile:
    """The part is one file, at the clean path `path`.

    With a compression (`gzip`, `zstd`) its bytes expand to the file, whose digest is `diff_id` and size `content_size`, as
    far as they are known.
    """

    path: str
    mode: int = 0o644
    compression: str = ""
    diff_id: Digest | None = None
    content_size: int | None = None


@dataclass(frozen=True, slots=True)
class TarLayer:
    """The part is a tar archive, compressed or not, whose names are relative to the clean path `base` and stay in `scope`.

    `diff_id` is the digest of the uncompressed archive, if known.
    """

    scope: Scope
    base: str = "."
    compression: str = ""
    diff_id: Digest | None = None


Layout = SingleFile | TarLayer


class Part(Protocol):
    """A unit that can travel side by side with others: an object, a layer."""

    @property
    def key(self) -> str:
        """What tells this part, with this very content and layout, from all others; the same in every run."""
        ...

    @property
    def name(self) -> str:
        """What people know it by."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes that `open` gives, if known."""
        ...

    @property
    def digest(self) -> Digest | None:
        """The digest of those bytes, if known; without one a part cannot be resumed."""
        ...

    @property
    def layout(self) -> Layout:
        """How the bytes lie on disk."""
        ...

    def open(self, offset: int = 0) -> Reader:
        """The bytes from `offset` on, unverified.

        Raises:
            UnsupportedError: `offset` is not 0 and the source reads from the start only.
            KitcarError: the source failed.
        """
        ...

    def present(self, root: Path, check: Check) -> bool:
        """Whether `root` holds the part already, by its content; asked before anything is fetched, and cheap if it does not."""
        ...

    def announcement(self, root: Path, *, found: bool) -> str:
        """The line that tells of it, whether it was `found` in `root` or is to be fetched; empty for none."""
        ...


class Source(Protocol):
    """Where a model comes from, resolved: the same parts each time it is asked."""

    def parts(self) -> Sequence[Part]:
        """All parts, in the order people expect to hear of them.

        Raises:
            KitcarError: they cannot be listed.
        """
        ...
