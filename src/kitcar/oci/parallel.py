"""Several pieces of work side by side: the first failure stops the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from kitcar.errors import CancelledError

_LISTEN = 0.5

Job = Callable[[threading.Event], None]
"""Work that looks at the event now and then, and gives up with `CancelledError` once it is set."""


def run_all(jobs: Sequence[Job], concurrency: int, *, name: str) -> None:
    """Runs all jobs on at most `concurrency` threads called `name`, begun in order.

    The first error stops the jobs that run, drops those that wait, and is raised; so it is when the user interrupts.

    Raises:
        BaseException: what the first of the failed jobs raised; a `CancelledError` only if there is nothing else.
    """
    stop = threading.Event()

    def run(job: Job) -> None:
        if stop.is_set():
            raise CancelledError("given up because a sibling failed")
        try:
            job(stop)
        except BaseException:
            stop.set()
            raise

    workers = max(1, min(concurrency, len(jobs)))
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name) as pool:
        try:
            futures = [pool.submit(run, job) for job in jobs]
            # A signal that comes just before an endless wait would be heard only at its end.
            while wait(futures, timeout=_LISTEN).not_done:
                pass
        finally:
            stop.set()
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda item: isinstance(item, CancelledError)):
        raise error
