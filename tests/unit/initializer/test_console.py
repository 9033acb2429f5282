"""What the container says, and the reason of its end."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import Fault, InvalidError, KitcarError, TransportError
from kitcar.initializer.console import Console, exit_code, leave_message, termination_message

NOON = dt.datetime(2026, 1, 2, 12, 0, tzinfo=dt.UTC)


def console(*, json_lines: bool = False) -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Console(out, err, json_lines=json_lines, now=lambda: NOON), out, err


def test_console_text_lines_go_where_the_kitops_container_writes_them() -> None:
    speaker, out, err = console()
    speaker.line("Unpacking a to b")
    speaker.note("12 MiB", bytes=12)
    speaker.warn("odd")
    speaker.debug("not said")
    speaker.verbose = True
    speaker.debug("said")
    speaker.error(InvalidError("2 faults", faults=(Fault("first", 1, 2), Fault("second")), hint="mend them"))
    assert out.getvalue() == "Unpacking a to b\n"
    assert err.getvalue().splitlines() == [
        "12 MiB",
        "[WARN ] odd",
        "[DEBUG] said",
        "[ERROR] 2 faults",
        "  * line 1, column 2: first",
        "  * second",
        "Hint: mend them",
    ]


def test_console_json_lines_have_time_level_and_members() -> None:
    speaker, out, err = console(json_lines=True)
    speaker.line("two\nlines")
    speaker.note("sum", bytes=7)
    speaker.error(TransportError("away", hint="wait"))
    assert json.loads(out.getvalue()) == {"time": "2026-01-02T12:00:00.000Z", "level": "info", "message": "two\nlines"}
    told, failed = (json.loads(line) for line in err.getvalue().splitlines())
    assert (told["message"], told["bytes"]) == ("sum", 7)
    assert (failed["level"], failed["message"], failed["hint"], failed["transient"]) == ("error", "away", "wait", True)


@given(st.text())
def test_console_text_steers_no_terminal(text: str) -> None:
    speaker, out, _ = console()
    speaker.line(text)
    assert not [char for char in out.getvalue() if ord(char) < 32 and char not in "\n\t"]


def test_console_version_is_ours() -> None:
    speaker, out, _ = console()
    speaker.version()
    assert out.getvalue().startswith("Binary version info:\nVersion: ")


@pytest.mark.parametrize(("error", "code"), [(KitcarError("x"), 1), (TransportError("x"), 75)])
def test_exit_code_tells_transient_from_permanent(error: KitcarError, code: int) -> None:
    assert exit_code(error) == code


@given(st.text(max_size=3000), st.text(max_size=3000) | st.none())
def test_termination_message_fits_and_is_text(message: str, hint: str | None) -> None:
    data = termination_message(KitcarError(message, hint=hint))
    assert len(data) <= 4096
    assert data.decode() == data.decode(errors="ignore")


def test_leave_message_writes_into_the_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    path.write_text("what was there before, and longer than what comes")
    leave_message(path, KitcarError("no such tag", hint="push it"))
    assert path.read_text() == "no such tag\nHint: push it"


def test_leave_message_where_there_is_no_file_makes_none(tmp_path: Path) -> None:
    leave_message(tmp_path / "termination-log", KitcarError("x"))
    leave_message(tmp_path, KitcarError("x"))
    assert list(tmp_path.iterdir()) == []
