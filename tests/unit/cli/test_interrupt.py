"""Ctrl-C: in order where that is possible, soon where it is not."""

from __future__ import annotations

import io
import os
import signal
import threading

import pytest

from kitcar.cli.interrupt import CODE, prompt_interrupts


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Leaving:
    """Takes the place of `os._exit`."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.left = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.left.set()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_interrupt_raises_and_leaves_the_handler_as_it_was() -> None:
    before, leaving = signal.getsignal(signal.SIGINT), Leaving()
    with pytest.raises(KeyboardInterrupt), prompt_interrupts(io.StringIO(), grace=60, leave=leaving):
        interrupt()
    assert signal.getsignal(signal.SIGINT) is before
    assert leaving.codes == []


def test_interrupt_of_work_that_does_not_end_ends_the_process_after_the_grace() -> None:
    leaving, terminal = Leaving(), Terminal()
    with prompt_interrupts(terminal, grace=0.01, leave=leaving):
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        assert leaving.left.wait(30)
    assert leaving.codes == [CODE]
    assert terminal.getvalue() == "\033[?25h"


def test_second_interrupt_ends_the_process_at_once() -> None:
    leaving, stream = Leaving(), io.StringIO()
    with prompt_interrupts(stream, grace=60, leave=leaving):
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        interrupt()
        assert leaving.codes == [CODE]
    assert stream.getvalue() == ""


def test_interrupt_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with prompt_interrupts(io.StringIO()):
            interrupt()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_thread_that_is_not_the_main_one_takes_no_signals() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with prompt_interrupts(io.StringIO()):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
