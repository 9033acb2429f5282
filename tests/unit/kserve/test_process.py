"""A program of its own process group: its output, its end, and the end of all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from kitcar.errors import KitcarError, NotFoundError
from kitcar.kserve.process import Process, started

ENVIRON = {"PATH": os.environ["PATH"]}
PARENT_OF_A_STUBBORN_CHILD = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
pathlib.Path("pid.new").write_text(str(child.pid))
pathlib.Path("pid.new").rename("pid")
time.sleep(600)
"""


def python(code: str, folder: Path, grace: float = 5.0) -> AbstractContextManager[Process]:
    command = [sys.executable, "-c", code]
    return started(command, environ=ENVIRON, directory=folder, output=folder / "log", grace=grace)


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_process_that_ends_gives_its_exit_code_and_its_last_words(tmp_path: Path) -> None:
    with python("import sys; print('hello'); print('world', file=sys.stderr); sys.exit(75)", tmp_path) as process:
        assert process.wait() == 75
        assert set(process.tail.split()) == {"hello", "world"}
        assert not process.running
        assert process.stop() == 75


def test_process_killed_by_a_signal_gives_128_and_its_number(tmp_path: Path) -> None:
    with python("import os; os.kill(os.getpid(), 9)", tmp_path) as process:
        assert process.wait() == 137


def test_process_that_outlasts_the_wait_gives_none_and_is_stopped(tmp_path: Path) -> None:
    with python("import time; time.sleep(600)", tmp_path) as process:
        assert process.wait(0.05) is None
        assert process.running
    assert not process.running


def test_process_stop_ends_grandchildren_that_ignore_it(tmp_path: Path) -> None:
    with python(PARENT_OF_A_STUBBORN_CHILD, tmp_path, grace=0.2) as process:
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        child = int((tmp_path / "pid").read_text())
        assert alive(child)
    assert process.stop() == 137
    while alive(child):
        time.sleep(0.01)


def test_process_has_only_the_environment_it_was_given_and_no_input(tmp_path: Path) -> None:
    with python("import os, sys; print(sorted(os.environ), repr(sys.stdin.read()))", tmp_path) as process:
        process.wait()
        assert "'HOME'" not in process.tail
        assert process.tail.endswith("''")


def test_process_unknown_program_is_not_found(tmp_path: Path) -> None:
    unknown = started(["no-such-program"], environ=ENVIRON, directory=tmp_path, output=tmp_path / "log")
    with pytest.raises(NotFoundError, match="no program 'no-such-program'"), unknown:
        pass


def test_process_interrupted_while_it_starts_is_stopped(tmp_path: Path) -> None:
    class Interrupting(UserDict[str, str]):
        """An environment whose reading is the moment that the signal comes."""

        def keys(self) -> Any:
            signal.raise_signal(signal.SIGINT)
            return super().keys()

    command = [sys.executable, "-c", "import time; time.sleep(600)", f"unique-{tmp_path}"]
    interrupted = started(
        command, environ=Interrupting(ENVIRON), directory=tmp_path, output=tmp_path / "log", grace=0.2
    )
    with pytest.raises(KeyboardInterrupt), interrupted:
        pytest.fail("the block must not be entered")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in lines if f"unique-{tmp_path}".encode() in line]


def test_process_that_is_no_program_cannot_be_started(tmp_path: Path) -> None:
    program = tmp_path / "garbage"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    garbage = started([str(program)], environ=ENVIRON, directory=tmp_path, output=tmp_path / "log")
    with pytest.raises(KitcarError, match="cannot be started: Exec format error"), garbage:
        pass


def test_process_of_another_thread_writes_to_a_stream_of_the_caller(tmp_path: Path) -> None:
    def run() -> None:
        command = [sys.executable, "-c", "print('hello')"]
        with (
            (tmp_path / "stream").open("wb") as stream,
            started(command, environ=ENVIRON, directory=tmp_path, output=stream) as process,
        ):
            assert process.wait() == 0
            assert process.tail == ""

    with ThreadPoolExecutor() as pool:
        pool.submit(run).result()
    assert (tmp_path / "stream").read_text() == "hello\n"


def test_process_null_character_in_a_word_is_told(tmp_path: Path) -> None:
    words = started([sys.executable, "a\0b"], environ=ENVIRON, directory=tmp_path, output=tmp_path / "log")
    with pytest.raises(KitcarError, match="cannot be started: embedded null byte"), words:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_process_ends_when_kitcar_is_killed(tmp_path: Path) -> None:
    code = """
import os, pathlib, sys
from kitcar.kserve.process import started

folder = pathlib.Path(sys.argv[1])
command = [sys.executable, "-c", "import time; time.sleep(600)"]
with started(command, environ=dict(os.environ), directory=folder, output=1) as it:
    print(it._child.pid, flush=True)
    it.wait()
"""
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
        assert parent.wait() == -signal.SIGKILL
    for _ in range(500):
        if not alive(child):
            return
        time.sleep(0.01)
    pytest.fail("the child outlived its parent")
