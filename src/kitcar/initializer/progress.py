"""Progress of a delivery as a line now and then: how much of how much, and how fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kitcar.oci.progress import Event, Step
from kitcar.oci.verify import MIB

INTERVAL = 5.0
"""Seconds between two lines."""


class ProgressLines:
    """Sums the events of a delivery and tells the sum every few seconds; nothing is told of a short one."""

    def __init__(self, tell: Callable[..., None], total: int, interval: float = INTERVAL) -> None:
        self._tell, self._total, self._interval = tell, total, interval
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._done = 0
        self._thread = threading.Thread(target=self._run, name="kitcar-progress", daemon=True)

    def __call__(self, event: Event) -> None:
        """Takes one event; see `oci.progress.Listener`."""
        if event.step is Step.ADVANCED:
            with self._lock:
                self._done += event.count

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        before, then = 0, time.monotonic()
        while not self._stop.wait(self._interval):
            done, now = self._done, time.monotonic()
            rate = (done - before) / max(now - then, 1e-6)
            before, then = done, now
            self._tell(
                f"{done / MIB:.0f} of {self._total / MIB:.0f} MiB, {rate / MIB:.0f} MiB/s",
                bytes=done,
                total=self._total,
                bytes_per_second=round(rate),
            )
