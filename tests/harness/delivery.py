"""Deliveries of parts in memory, for tests: quick retries, noise that does not compress."""

from __future__ import annotations

import random
from pathlib import Path

from kitcar.deliver import DeliverOptions, Report, deliver
from kitcar.registry.retry import Pauser, RetryPolicy
from kitcar.testing.parts import BytesPart, ListSource

MIB = 1 << 20
QUICK = Pauser(RetryPolicy(attempts=3), sleep=lambda _: None)


def run(root: Path, *parts: BytesPart, **options: object) -> Report:
    """Delivers the parts into `root`."""
    given = {"pauser": QUICK, **options}
    return deliver(ListSource(parts), root, DeliverOptions(**given))  # type: ignore[arg-type]


def noise(size: int, seed: int = 0) -> bytes:
    """The same bytes for the same seed."""
    return random.Random(seed).randbytes(size)
