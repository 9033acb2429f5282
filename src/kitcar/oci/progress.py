"""Progress of long work, as events; who shows them is the edges' matter."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass


class Step(enum.Enum):
    """What happened to one piece of content."""

    STARTED = "started"
    ADVANCED = "advanced"
    DONE = "done"
    EXISTS = "exists"
    MOUNTED = "mounted"
    RETRIED = "retried"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one piece: `key` tells pieces apart, `size` is its bytes (-1: unknown), `count` the bytes of this step."""

    step: Step
    key: str
    name: str = ""
    size: int = -1
    count: int = 0
    detail: str = ""


Listener = Callable[[Event], None]
"""Called from several threads at once; must not raise and must not block."""


def silent(_: Event) -> None:
    """The listener that does nothing."""
