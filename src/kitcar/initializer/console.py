"""What a container says: lines as text or JSON, and the reason of its end where the kubelet looks for it."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from kitcar import __version__
from kitcar.errors import InvalidError, KitcarError

TERMINATION_LIMIT = 4096
"""Bytes of a termination message that Kubernetes keeps."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if chr(code) not in "\n\t"}


class Console:
    """Two streams: `line` goes to the first, as the KitOps container's lines do; everything else to the second."""

    def __init__(self, out: TextIO, err: TextIO, *, json_lines: bool, now: Callable[[], dt.datetime]) -> None:
        self._out, self._err, self._json, self._now = out, err, json_lines, now
        self._lock = threading.RLock()
        self.verbose = False

    def line(self, text: str) -> None:
        """Says what the KitOps container says too."""
        self._write(self._out, "info", text, text)

    def note(self, text: str, **fields: Any) -> None:
        """Says what it does not say: progress, sums; `fields` are members of a JSON line."""
        self._write(self._err, "info", text, text, **fields)

    def debug(self, text: str) -> None:
        """Says what only a verbose run says."""
        if self.verbose:
            self._write(self._err, "debug", text, f"[DEBUG] {text}")

    def warn(self, text: str) -> None:
        """Says what is likely not meant."""
        self._write(self._err, "warning", text, f"[WARN ] {text}")

    def trace(self, text: str) -> None:
        """Shows where an error was raised."""
        self._write(self._err, "debug", text, text.rstrip("\n"))

    def error(self, error: KitcarError) -> None:
        """Says what failed, each fault of a document, and what to do."""
        lines = [f"[ERROR] {error.message}"]
        lines += [f"  * {fault}" for fault in error.untold] if isinstance(error, InvalidError) else []
        if error.hint:
            lines.append(f"Hint: {error.hint}")
        self._write(self._err, "error", error.message, "\n".join(lines), hint=error.hint, transient=error.transient)

    def version(self) -> None:
        """Says what this is."""
        python = ".".join(str(part) for part in sys.version_info[:3])
        self.line("Binary version info:")
        self.line(f"Version: {__version__}\nPython version: {python}")

    def _write(self, stream: TextIO, level: str, message: str, text: str, **fields: Any) -> None:
        if self._json:
            time = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            text = json.dumps({"time": time, "level": level, "message": message, **fields}, ensure_ascii=False)
        else:
            text = text.translate(_CONTROLS)
        with self._lock:
            stream.write(text + "\n")
            stream.flush()


def exit_code(error: KitcarError) -> int:
    """75 (`EX_TEMPFAIL`) where trying again may help, else 1."""
    return 75 if error.transient else 1


def termination_message(error: KitcarError) -> bytes:
    """Reason and hint, cut where Kubernetes would cut."""
    text = error.message + (f"\nHint: {error.hint}" if error.hint else "")
    data = text.encode(errors="replace")[:TERMINATION_LIMIT]
    return data.decode(errors="ignore").encode()


def leave_message(path: Path, error: KitcarError) -> None:
    """Writes the reason into the container's termination log; where there is none, the lines above are all there is."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(handle, termination_message(error))
    except OSError:
        return
    finally:
        os.close(handle)
