"""Lines that tell how far a delivery is."""

from __future__ import annotations

import queue
from typing import Any

from kitcar.initializer.progress import ProgressLines
from kitcar.oci.progress import Event, Step
from kitcar.oci.verify import MIB


def test_progress_lines_tell_the_sum_of_what_came() -> None:
    told: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
    with ProgressLines(lambda text, **fields: told.put((text, fields)), 10 * MIB, interval=0.01) as progress:
        progress(Event(Step.STARTED, "a", size=10 * MIB))
        progress(Event(Step.ADVANCED, "a", count=3 * MIB))
        progress(Event(Step.ADVANCED, "b", count=2 * MIB))
        progress(Event(Step.ADVANCED, "b", count=-MIB))
        text, fields = told.get(timeout=30)
        while fields["bytes"] != 4 * MIB:
            text, fields = told.get(timeout=30)
    assert text.startswith("4 of 10 MiB, ")
    assert fields["total"] == 10 * MIB


def test_progress_lines_of_a_short_delivery_are_none() -> None:
    told: list[str] = []
    with ProgressLines(lambda text, **_: told.append(text), MIB, interval=3600) as progress:
        progress(Event(Step.ADVANCED, "a", count=MIB))
    assert told == []
