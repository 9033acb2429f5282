"""Several jobs side by side stop together."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kitcar.oci.parallel import Job, run_all


class Interrupted(list[Job]):
    """Jobs of which the user lets only the first begin."""

    def __iter__(self) -> Iterator[Job]:
        yield self[0]
        raise KeyboardInterrupt


def test_run_all_interrupted_while_jobs_begin_stops_them() -> None:
    seen: list[bool] = []

    def job(stop: threading.Event) -> None:
        seen.append(stop.wait(5))

    with pytest.raises(KeyboardInterrupt):
        run_all(Interrupted([job, job]), 2, name="test")
    assert seen == [True]


def test_run_all_waits_for_a_job_longer_than_it_listens() -> None:
    ended = threading.Event()

    def job(stop: threading.Event) -> None:
        stop.wait(0.6)
        ended.set()

    run_all([job], 1, name="test")
    assert ended.is_set()
