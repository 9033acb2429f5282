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

    from kitcar.oci.manifest import Manifest

Name = Callable[[Event], str]
_ENDS = {Step.DONE: "done", Step.EXISTS: "already there", Step.MOUNTED: "mounted", Step.FAILED: "failed"}
_SHORT = 12


def short_name(event: Event) -> str:
    """The name of a piece, or the start of its digest."""
    if event.name:
        return event.name
    algorithm, _, digest = event.key.partition(":")
    return f"{algorithm}:{digest[:_SHORT]}" if digest else event.key


def layer_names(manifest: Manifest) -> Name:
    """Names the layers of a kit by kind and path; what else travels, config and manifest, has no name."""
    from kitcar.modelkit.dialect import FILEPATH, LayerType

    names: dict[str, str] = {}
    for layer in manifest.layers:
        kind = LayerType.parse(layer.media_type, layer.annotations)
        words = (kind.label if kind else "", layer.annotations.get(FILEPATH) or f"layer {layer.digest.short}")
        names[str(layer.digest)] = " ".join(filter(None, words))
    return lambda event: names.get(event.key, "")


@contextlib.contextmanager
def shown(console: Console, style: str, *, name: Name = short_name) -> Iterator[Listener]:
    """A listener that shows what it hears in `style` (none, plain, fancy) on the error stream while the block runs.

    What `name` gives no name is not shown.
    """
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
        name = self._name(event)
        if not name:
            return
        if event.step is Step.STARTED:
            with self._lock:
                self._started.setdefault(event.key, self._clock())
        elif event.step is Step.RETRIED:
            self._console.note(f"{name}  again: {event.detail}")
        elif event.step in _ENDS:
            with self._lock:
                started = self._started.pop(event.key, None)
            words = [name]
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
    progress = Progress(*columns, console=Terminal(file=console.err), transient=True)
    try:
        yield FancyProgress(progress, name)
    finally:
        progress.stop()


class FancyProgress:
    """A bar a piece; the first event starts the display, so that lines before it are not mixed with bars."""

    def __init__(self, progress: Progress, name: Name = short_name) -> None:
        self._progress, self._name = progress, name
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """See `oci.progress.Listener`."""
        from kitcar.cli.output import printable

        total, name = event.size if event.size >= 0 else None, self._name(event)
        if not name:
            return
        with self._lock:
            if not self._tasks:
                self._progress.start()
            task = self._tasks.get(event.key)
            if task is None:
                task = self._tasks[event.key] = self._progress.add_task(printable(name), total=total)
        if event.step is Step.ADVANCED:
            self._progress.advance(task, event.count)
        elif event.step in {Step.DONE, Step.EXISTS, Step.MOUNTED}:
            self._progress.update(task, total=total, completed=event.size if total is not None else None)
