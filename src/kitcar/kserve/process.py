"""A program of its own process group: started, watched, and stopped with all that it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from kitcar.errors import KitcarError, NotFoundError

_TAIL = 4096
_PR_SET_PDEATHSIG = 1
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def started(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    directory: Path,
    output: Path | IO[bytes] | int,
    grace: float = 5.0,
) -> Iterator[Process]:
    """A program that is stopped when the block ends, however it ends; see `Process`."""
    process: Process | None = None
    try:
        with _deferred_signals():
            process = Process(command, environ=environ, directory=directory, output=output, grace=grace)
        yield process
    finally:
        if process is not None:
            process.stop()


@contextlib.contextmanager
def _deferred_signals() -> Iterator[None]:
    """Lets a request to end wait, so that no program is started that nobody knows of."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    before = {number: signal.signal(number, lambda number, _: pending.append(number)) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
    for caught in pending:
        signal.raise_signal(caught)


def _tied_to(parent: int) -> Callable[[], None] | None:
    """What asks the system, in the new process, to end it when `parent` is killed; None where no system does that."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return tie


class Process:
    """A running program of its own process group; `started` sees to its end."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        directory: Path,
        output: Path | IO[bytes] | int,
        grace: float = 5.0,
    ) -> None:
        """Starts `command`; both its outputs go to `output`, and nothing is there to read from.

        Raises:
            NotFoundError: there is no such program.
            KitcarError: it cannot be started.
        """
        self._grace = grace
        self._log = output if isinstance(output, Path) else None
        program = shutil.which(command[0], path=environ.get("PATH"))
        if program is None:
            raise NotFoundError(f"there is no program {command[0]!r} here", hint="install it, or give its full path")
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(output.open("wb")) if isinstance(output, Path) else output
            try:
                self._child = subprocess.Popen(
                    [program, *command[1:]],
                    env=dict(environ),
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                    preexec_fn=_tied_to(os.getpid()),  # noqa: PLW1509 - one call of the system and nothing else
                )
            except OSError as error:
                raise KitcarError(f"{command[0]} cannot be started: {error.strerror}") from error
            except ValueError as error:  # a null character in a word or a variable
                raise KitcarError(f"{command[0]} cannot be started: {error}") from error

    @property
    def running(self) -> bool:
        """Whether the program itself, not one it started, still runs."""
        if self._child.returncode is not None:
            return False
        # The child is not reaped here: while it is not, no other process can get its number, which is the group's.
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    @property
    def tail(self) -> str:
        """The last that the program wrote, where it writes to a file of its own; else the empty text."""
        if self._log is None:
            return ""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - _TAIL))
            return file.read().decode(errors="replace").strip()

    def wait(self, seconds: float | None = None) -> int | None:
        """Waits until the program ends; gives its exit code (128 + n for signal n), None where `seconds` pass first."""
        end = None if seconds is None else time.monotonic() + seconds
        pause = 0.005
        while self.running:
            if end is not None and time.monotonic() >= end:
                return None
            time.sleep(pause)
            pause = min(pause * 2, 0.1)
        return self.stop()

    def stop(self) -> int:
        """Ends the whole group, gently and then by force; gives the exit code. Harmless when repeated."""
        if self._child.returncode is None:
            try:
                self._signal(signal.SIGTERM)
                end = time.monotonic() + self._grace
                while self.running and time.monotonic() < end:
                    time.sleep(0.02)
            finally:  # also where the wait is interrupted, by a second Ctrl-C
                self._signal(signal.SIGKILL)
                self._child.wait()
        code = self._child.returncode
        return code if code >= 0 else 128 - code

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)
