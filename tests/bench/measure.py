"""Measures a command with everything it starts: wall time, processor time, peak memory."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_SECONDS_BETWEEN_LOOKS = 0.02
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds of wall time, seconds of processor time (user and system), MiB at the peak."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of one tool, or why it failed."""

    tool: str
    samples: tuple[Sample, ...] = ()
    failure: str = ""

    @property
    def wall(self) -> float:
        """The median of the wall times, in seconds."""
        return median(sample.wall for sample in self.samples)

    @property
    def fastest(self) -> float:
        """The smallest of the wall times, in seconds."""
        return min(sample.wall for sample in self.samples)

    @property
    def cpu(self) -> float:
        """The median of the processor times, in seconds."""
        return median(sample.cpu for sample in self.samples)

    @property
    def memory(self) -> float:
        """The largest of the memory peaks, in MiB."""
        return max(sample.memory for sample in self.samples)


class CommandError(Exception):
    """The command failed; says with what last words."""


def measure(command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str]) -> Sample:
    """Runs `command` to its end.

    Raises:
        CommandError: it ended with another code than 0.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryFile() as output:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        watch = _Watch(process.pid)
        code = process.wait()
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        memory = watch.peak()
        if code:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
            raise CommandError(lines[-1] if lines else f"exit code {code}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Sample(wall, cpu, memory / _MIB)


class _Watch:
    """Looks at the memory of a process and its descendants until it ends.

    Each process's own high-water mark is read from /proc. What `wait` reports is of no use here: it begins with the size of
    the process that started the command.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._ended = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def peak(self) -> int:
        """The largest sum that was seen, in bytes."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _run(self) -> None:
        while not self._ended.is_set():
            tree = list(_tree(self._pid))
            # A lone process is known exactly by its high-water mark; of several, the sum at one moment is.
            field = "VmHWM:" if len(tree) == 1 else "VmRSS:"
            self._peak = max(self._peak, sum(_memory(pid, field) for pid in tree))
            self._ended.wait(_SECONDS_BETWEEN_LOOKS)


def _tree(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        here = waiting.pop()
        found.append(here)
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for task in os.listdir(f"/proc/{here}/task"):
                waiting += [int(word) for word in Path(f"/proc/{here}/task/{task}/children").read_text().split()]
    return found


def _memory(pid: int, field: str) -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024
    return 0


def settle() -> None:
    """Lets the disk finish what earlier runs left to it."""
    os.sync()
