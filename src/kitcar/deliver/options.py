"""What a delivery is told, and what it tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kitcar.errors import InvalidError
from kitcar.files.draft import Existing
from kitcar.modelkit.compression import WINDOW
from kitcar.oci.progress import Listener, silent
from kitcar.oci.verify import MIB
from kitcar.registry.retry import Pauser, RetryPolicy

RETRY = RetryPolicy(attempts=4, base=1.0, limit=30.0)
"""For a part that its own reader gave up resuming; that reader has made several attempts of its own by then."""


def patience(environ: Mapping[str, str]) -> Pauser:
    """Tries a part again as usual, but no more often than `KITCAR_RETRIES` lets its reader try.

    Raises:
        InvalidError: the variable is no such number.
    """
    return Pauser(replace(RETRY, attempts=min(RETRY.attempts, RetryPolicy.from_environment(environ).attempts)))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a compressed part may cost.

    It may expand to `expansion` times its size, or to `expansion_floor` bytes if that is more; `window` is the memory that
    zstd may take, in bytes.
    """

    expansion: int = 100
    expansion_floor: int = 64 * MIB
    window: int = WINDOW

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Limits:
        """The usual limits, with the `expansion` that `KITCAR_EXPANSION` says.

        Raises:
            InvalidError: the variable is no whole number above 0.
        """
        text = environ.get("KITCAR_EXPANSION", "")
        if not text:
            return cls()
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text)):
            raise InvalidError(f"KITCAR_EXPANSION is {text!r}", hint="give a whole number above 0; 100 is usual")
        return cls(expansion=int(text))


@dataclass(frozen=True, slots=True)
class DeliverOptions:
    """How a source is delivered.

    Args:
        existing: what becomes of files that exist with other content.
        concurrency: parts that travel side by side, at most.
        memory: bytes of buffers for all parts together.
        listener: hears of each part's progress (an `ADVANCED` count is negative where a part starts over).
        log: takes the lines that tell which part goes where, before anything is fetched.
        pauser: when and how long to wait before a part is tried again.
        limits: what compressed parts may cost.
        durable: whether files outlast a power cut as soon as they are shown.
        wait: seconds to wait for another process that writes to the destination; None waits as long as it takes.
    """

    existing: Existing = Existing.FAIL
    concurrency: int = 5
    memory: int = 16 * MIB
    listener: Listener = silent
    log: Callable[[str], None] = lambda _: None
    pauser: Pauser = field(default_factory=lambda: Pauser(RETRY))
    limits: Limits = Limits()
    durable: bool = False
    wait: float | None = None
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)


@dataclass(frozen=True, slots=True)
class PartReport:
    """What became of one part: `fetched` bytes came from the source; `kept` files exist with other content and stayed.

    `present` says that the destination held it before.
    """

    key: str
    name: str
    size: int | None
    present: bool = False
    files: int = 0
    fetched: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a delivery, part by part in the source's order."""

    parts: tuple[PartReport, ...]
    seconds: float

    @property
    def files(self) -> int:
        """Files of the parts that were not present before."""
        return sum(part.files for part in self.parts)

    @property
    def bytes_fetched(self) -> int:
        """Bytes that came from the source."""
        return sum(part.fetched for part in self.parts)

    @property
    def bytes_total(self) -> int:
        """Bytes of all parts, as far as their sizes are known."""
        return sum(part.size or 0 for part in self.parts)

    @property
    def kept(self) -> int:
        """Files that exist with other content and stayed."""
        return sum(part.kept for part in self.parts)
