"""Ctrl-C that is obeyed: at once where the work can be given up in order, soon where a thread waits for the network.

Ending without order is safe: what kitcar writes is shown only when it is whole, and the next run takes up the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TextIO

CODE = 128 + signal.SIGINT
GRACE = 1.0
"""Seconds that threads get to give their work up."""

_SHOW_CURSOR = "\033[?25h"


@contextlib.contextmanager
def prompt_interrupts(
    terminal: TextIO, *, grace: float = GRACE, leave: Callable[[int], None] = os._exit
) -> Iterator[None]:
    """While the block runs, the first interrupt raises `KeyboardInterrupt`; `grace` later, or at the second, the process ends.

    An interrupt that is ignored, as in the background of a shell, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    waiting: list[threading.Timer] = []

    def end() -> None:
        if terminal.isatty():
            # A display that is not ended in order leaves the cursor hidden.
            terminal.write(_SHOW_CURSOR)
            terminal.flush()
        leave(CODE)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if waiting:
            end()
            return
        timer = threading.Timer(grace, end)
        timer.daemon = True
        waiting.append(timer)
        timer.start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        for timer in waiting:
            timer.cancel()
