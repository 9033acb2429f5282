"""Progress events as people see them: bars on a terminal, one line a piece elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kitcar.cli.output import Console, size_text
from kitcar.oci.progress import Event, Listener, Step, silent

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Name = Callable[[Event], str]
_ENDS = {Step.DONE: "done", Step.EXISTS: "already there", Step.MOUNTED: "mounted", Step.FAILED: "failed"}
_SHORT = 12


def short_name(event: Event) -> str:
    """The name of a piece, or the start of its digest."""
    if event.name:
        return event.name
    algorithm, _, digest = event.key.partition(":")
    return f"{algorithm}:{digest[:_SHORT]}" if digest else event.key


@contextlib.contextmanager
def shown(console: Console, style: str, *, name: Name = short_name) -> Iterator[Listener]:
    """A listener that shows what it hears in `style` (none, plain, fancy) on the error stream while the block runs."""
    if style == "fancy":
        with _bars(console, name) as listener:
            yield listener
    elif style == "plain":
        yield PlainProgress(console, name)
    else:
        yield silent


class PlainProgress:
    """One line a piece, when it ends; and one a retry, since that explains a wait."""

    def __init__(self, console: Console, name: Name = short_name, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._name, self._clock = console, name, clock
        self._started: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """See `oci.progress.Listener`."""
        if event.step is Step.STARTED:
            with self._lock:
                self._started.setdefault(event.key, self._clock())
        elif event.step is Step.RETRIED:
            self._console.note(f"{self._name(event)}  again: {event.detail}")
        elif event.step in _ENDS:
            with self._lock:
                started = self._started.pop(event.key, None)
            words = [self._name(event)]
            words += [size_text(event.size)] if event.size >= 0 else []
            took = f" in {self._clock() - started:.1f} s" if started is not None else ""
            words.append(_ENDS[event.step] + (took if event.step is Step.DONE else ""))
            self._console.note("  ".join(words))


@contextlib.contextmanager
def _bars(console: Console, name: Name) -> Iterator[Listener]:
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Terminal(file=console.err), transient=True) as progress:
        yield FancyProgress(progress, name)


class FancyProgress:
    """A bar a piece."""

    def __init__(self, progress: Progress, name: Name = short_name) -> None:
        self._progress, self._name = progress, name
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """See `oci.progress.Listener`."""
        from kitcar.cli.output import printable

        total = event.size if event.size >= 0 else None
        with self._lock:
            task = self._tasks.get(event.key)
            if task is None:
                task = self._tasks[event.key] = self._progress.add_task(printable(self._name(event)), total=total)
        if event.step is Step.ADVANCED:
            self._progress.advance(task, event.count)
        elif event.step in {Step.DONE, Step.EXISTS, Step.MOUNTED}:
            self._progress.update(task, total=total, completed=event.size if total is not None else None)
