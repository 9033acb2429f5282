"""Servers as processes of their own, on a free port of 127.0.0.1, ended by the process that started them."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers at `address` (`127.0.0.1:PORT`) and keeps its content under `root`."""

    address: str
    root: Path
    pid: int
    log: Path
    username: str = ""
    password: str = ""


@contextlib.contextmanager
def server(
    command: Sequence[str | Path],
    *,
    root: Path,
    log: Path,
    port: str,
    environment: Mapping[str, str] | None = None,
    seconds: float = 30,
) -> Iterator[Server]:
    """Starts `command`, waits until its log shows the port it chose (`port`, a pattern with one group), ends it after.

    Raises:
        RuntimeError: it ended or did not show its port in time; with the end of its log.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=root,
            env=environment,
        )
    try:
        found = _wait_for(process, log, port, seconds)
        yield Server(f"127.0.0.1:{found}", root, process.pid, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], log: Path, pattern: str, seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = re.search(pattern, log.read_text(errors="replace"))
        if found:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.01)
    state = "ended" if process.poll() is not None else f"did not listen within {seconds:.0f} s"
    raise RuntimeError(f"{process.args!r} {state}: {log.read_text(errors='replace')[-2000:]}")
