"""Moves a source's parts into a directory: what must be right about moving a model, once for every scheme."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kitcar.deliver.attempt import Attempt, Conditions, resumable
from kitcar.deliver.options import DeliverOptions, PartReport, Report
from kitcar.errors import (
    CancelledError,
    ExistsError,
    IntegrityError,
    InvalidError,
    KitcarError,
    UnsafePathError,
    UnsupportedError,
)
from kitcar.files.destination import Destination, mapped_errors
from kitcar.files.draft import Existing, Terms
from kitcar.files.paths import RESERVED
from kitcar.oci.parallel import Job, run_all
from kitcar.oci.progress import Event, Step
from kitcar.oci.verify import MIB, Ring
from kitcar.sources.source import Check, Part, SingleFile, Source, TarLayer

DEFAULT_OPTIONS = DeliverOptions()

_BUFFERS = 4
_MIN_BUFFER, _MAX_BUFFER = 256 * 1024, 4 * MIB
_FDS = 256
"""Directories kept open by all parts together, a quarter of the usual limit of open files."""

_FINAL = (InvalidError, UnsafePathError, IntegrityError, UnsupportedError, ExistsError)
_PROGRESS = MIB
"""Bytes that a part must come on for its failures to be counted from the start again."""


def deliver(source: Source, root: Path, options: DeliverOptions = DEFAULT_OPTIONS) -> Report:
    """Brings all parts of `source` into the directory `root`.

    A part is shown whole and verified or not at all. What `root` holds already is not fetched; a run that was killed is
    taken up where it was by running again. One process at a time writes to a directory. The first part that fails stops
    the others; parts that were shown before stay.

    Raises:
        ExistsError: a file exists with other content (and `options.existing` says to fail).
        UnsafePathError: a part holds something unsafe, or a link stands in its way.
        IntegrityError: bytes are not what they were promised to be.
        InvalidError: a part is malformed.
        KitcarError: the source failed for good, or the directory cannot be written to, or has no room.
    """
    return _Delivery(source.parts(), root, options).run()


@dataclass(slots=True)
class _Progress:
    """How far a part is; only its own thread writes."""

    done: int = 0
    fetched: int = 0
    files: int = 0
    kept: int = 0


@dataclass(slots=True)
class _Delivery:
    parts: Sequence[Part]
    root: Path
    options: DeliverOptions
    present: set[int] = field(default_factory=set)
    progress: list[_Progress] = field(default_factory=list)

    def run(self) -> Report:
        started = self.options.clock()
        self.progress = [_Progress() for _ in self.parts]
        self._find(range(len(self.parts)))
        for number, part in enumerate(self.parts):
            if line := part.announcement(self.root, found=number in self.present):
                self.options.log(line)
        for number in sorted(self.present):
            self.tell(number, Step.EXISTS)
        if self._missing() or not self.parts or (self.root / RESERVED).exists():
            self._fetch_missing()
        reports = tuple(self._report(number) for number in range(len(self.parts)))
        return Report(reports, self.options.clock() - started)

    def _missing(self) -> list[int]:
        return [number for number in range(len(self.parts)) if number not in self.present]

    def _find(self, numbers: Sequence[int]) -> None:
        """Finds out which parts are there already."""

        def job(number: int) -> Job:
            def look(stop: threading.Event) -> None:
                if self.parts[number].present(self.root, _checker(stop)):
                    self.present.add(number)

            return look

        if self.root.is_dir():
            run_all([job(number) for number in numbers], self.options.concurrency, name="kitcar-find")

    def _fetch_missing(self) -> None:
        options = self.options
        workers = max(1, min(options.concurrency, len(self._missing()), options.memory // (_BUFFERS * _MIN_BUFFER)))
        terms = Terms(options.existing, durable=options.durable, fds=_FDS // (2 * workers))
        with (
            mapped_errors(self.root),
            Destination(self.root, terms, wait=options.wait, waiting=self.tell_waiting) as destination,
        ):
            if destination.waited:
                before = set(self.present)
                self._find(self._missing())
                for number in sorted(self.present - before):
                    self.tell(number, Step.EXISTS)
            missing = self._missing()
            destination.sweep([self.parts[number].key for number in missing])
            destination.require_space(sum(self._needed(destination, self.parts[number]) for number in missing))
            ring = _ring([self.parts[number] for number in missing], workers, options.memory)
            expanding = threading.BoundedSemaphore(max(1, options.memory // (2 * options.limits.window)))
            missing.sort(key=lambda number: -(self.parts[number].size or 0))
            jobs = [_Job(self, destination, number, ring, expanding).run for number in missing]
            try:
                run_all(jobs, workers, name="kitcar-deliver")
            except _FINAL:
                # Running again will not help, so that nothing is kept for it.
                destination.sweep(())
                raise

    def _needed(self, destination: Destination, part: Part) -> int:
        """Bytes of disk that a part still takes, as far as is known; what it has there already is not asked for twice."""
        layout = part.layout
        path = layout.path if isinstance(layout, SingleFile) else layout.scope.path
        size = part.size or 0
        if isinstance(layout, SingleFile) and layout.content_size is not None:
            size = layout.content_size
        there = destination.used(path) if path != "." else 0
        return max(0, size - there - destination.staged(part.key))

    def tell(self, number: int, step: Step, *, count: int = 0, detail: str = "") -> None:
        part = self.parts[number]
        size = -1 if part.size is None else part.size
        self.options.listener(Event(step, part.key, part.name, size, count, detail))

    def tell_waiting(self) -> None:
        self.options.log(f"Waiting for another process that writes to {self.root}")

    def _report(self, number: int) -> PartReport:
        part, progress = self.parts[number], self.progress[number]
        return PartReport(
            part.key,
            part.name,
            part.size,
            present=number in self.present,
            files=progress.files,
            fetched=progress.fetched,
            kept=progress.kept,
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """One part of a delivery, on its own thread."""

    delivery: _Delivery
    destination: Destination
    number: int
    ring: Ring
    expanding: threading.BoundedSemaphore

    def run(self, stop: threading.Event) -> None:
        """Delivers the part, however often it must be tried."""
        delivery, part = self.delivery, self.delivery.parts[self.number]
        if self._stays():
            delivery.progress[self.number].kept = 1
            delivery.tell(self.number, Step.EXISTS)
            return
        delivery.tell(self.number, Step.STARTED)
        room = self.expanding if part.layout.compression else contextlib.nullcontext()
        try:
            with room, mapped_errors(delivery.root):
                self._persist(part, _checker(stop))
        except KitcarError as error:
            delivery.tell(self.number, Step.FAILED, detail=str(error))
            raise
        delivery.tell(self.number, Step.DONE)

    def _stays(self) -> bool:
        """Whether the part is one file that exists and is to be kept whatever it holds."""
        if self.delivery.options.existing is not Existing.KEEP:
            return False
        layout = self.delivery.parts[self.number].layout
        path = layout.scope.path if isinstance(layout, TarLayer) else layout.path
        return path != "." and self.destination.has_file(path)

    def _persist(self, part: Part, check: Check) -> None:
        """Tries until the part is shown, the failures are too many, or one is final."""
        progress = self.delivery.progress[self.number]
        failures, trusting = 0, resumable(part)
        while True:
            before = progress.fetched
            try:
                self._try(part, check, trusting=trusting)
            except _AssumptionError as error:
                trusting = False
                self._restart(progress, str(error))
            except CancelledError:
                raise
            except KitcarError as error:
                failures = 1 if progress.fetched - before >= _PROGRESS else failures + 1
                self.delivery.options.pauser.pause(failures, error)
                check()
                self._restart(progress, str(error))
            else:
                return

    def _try(self, part: Part, check: Check, *, trusting: bool) -> None:
        progress, destination = self.delivery.progress[self.number], self.destination
        if not trusting:
            destination.discard(part.key)
        conditions = Conditions(self.ring, self.delivery.options.limits, check, self._fetched, self._found)
        with contextlib.closing(destination.draft(part.key)) as draft:
            attempt = Attempt(part, draft, conditions, trusting=trusting)
            try:
                attempt.run()
                destination.publish(draft)
            except _FINAL as error:
                if attempt.assumed and not isinstance(error, ExistsError):
                    raise _AssumptionError("what lay on disk was not what it seemed; from the start again") from error
                raise
            progress.files, progress.kept = draft.files, draft.kept
        destination.discard(part.key)

    def _restart(self, progress: _Progress, detail: str) -> None:
        self.delivery.tell(self.number, Step.RETRIED, detail=detail)
        self.delivery.tell(self.number, Step.ADVANCED, count=-progress.done)
        progress.done = 0

    def _fetched(self, count: int) -> None:
        self.delivery.progress[self.number].fetched += count
        self._found(count)

    def _found(self, count: int) -> None:
        self.delivery.progress[self.number].done += count
        if count:
            self.delivery.tell(self.number, Step.ADVANCED, count=count)


class _AssumptionError(Exception):
    """An attempt failed that took something for granted; one that takes nothing will tell why."""


def _checker(stop: threading.Event) -> Check:
    def check() -> None:
        if stop.is_set():
            raise CancelledError("given up because a sibling failed")

    return check


def _ring(parts: Sequence[Part], workers: int, memory: int) -> Ring:
    """Buffers such that all parts that travel at once share `memory`; small parts take no more than they are long."""
    large = sum(1 for part in parts if part.size is None or part.size > MIB)
    share = memory // (_BUFFERS * max(1, min(workers, large)))
    return Ring(_BUFFERS, max(_MIN_BUFFER, min(_MAX_BUFFER, share)))
