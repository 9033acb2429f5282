"""Messages, sizes and tables have kit's form, and no name steers the terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.cli.output import Console, Level, printable, size_text, table


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def console(level: Level = Level.INFO) -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Console(out, err, level), out, err


def test_console_at_info_puts_information_out_and_the_rest_to_err() -> None:
    terminal, out, err = console()
    terminal.info("pushed it")
    terminal.warn("this is odd")
    terminal.error("failed to push")
    terminal.debug("not shown")
    assert out.getvalue() == "Pushed it\n"
    assert err.getvalue() == "[WARN ] This is odd\n[ERROR] Failed to push\n"


def test_console_at_another_level_prefixes_every_line() -> None:
    terminal, out, err = console(Level.TRACE)
    terminal.info("pushed it")
    terminal.debug("using a store")
    terminal.trace("GET /v2/")
    assert out.getvalue() == "[INFO ] Pushed it\n"
    assert err.getvalue() == "[DEBUG] Using a store\n[TRACE] GET /v2/\n"


def test_console_above_info_says_no_information_but_writes_machine_output() -> None:
    terminal, out, err = console(Level.ERROR)
    terminal.info("pushed it")
    terminal.warn("odd")
    terminal.write("{}\n")
    assert out.getvalue() == "{}\n"
    assert err.getvalue() == ""


def test_console_on_a_terminal_colours_prefixes_only_there() -> None:
    err = Terminal()
    Console(io.StringIO(), err).error("bad")
    assert err.getvalue() == "\033[0;31m[ERROR] \033[0mBad\n"


def test_console_message_with_final_newline_gets_no_second_one() -> None:
    terminal, out, _ = console()
    terminal.info("a\n")
    terminal.info("")
    assert out.getvalue() == "A\n\n"


@given(st.text())
def test_printable_any_text_has_no_control_character_left(text: str) -> None:
    shown = printable(text)
    assert not [char for char in shown if (ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0) and char not in "\n\t"]


def test_console_name_with_escapes_is_shown_not_obeyed() -> None:
    terminal, out, _ = console()
    terminal.info("unpacking \033[31mred\r")
    assert out.getvalue() == "Unpacking \\x1b[31mred\\x0d\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (500, "500 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (4608, "4.5 KiB"),
        (2**20 - 1, "1023.9 KiB"),
        (2**20, "1.0 MiB"),
        (2**30 - 1, "1023.9 MiB"),
        (2**30, "1.0 GiB"),
        (2**40, "1.0 TiB"),
        (2**50, "1.0 PiB"),
        (500 * 2**50, "500.0 PiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_size_text_is_cut_off_to_one_decimal(count: int, text: str) -> None:
    assert size_text(count) == text


def test_table_pads_columns_by_three_and_not_the_last() -> None:
    assert table([("NAME", "TAG", "SIZE"), ("a", "latest", "1 B")]) == "NAME   TAG      SIZE\na      latest   1 B\n"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("cannot read it", "Cannot read it"),
        ("can't evaluate field x", "Can't evaluate field x"),
        ("iris.yaml is not valid YAML", "iris.yaml is not valid YAML"),
        ("team/iris:v1 names no registry", "team/iris:v1 names no registry"),
        ("yaml: line 1: odd", "Yaml: line 1: odd"),
        ("", ""),
    ],
)
def test_sentence_starts_with_a_capital_and_a_name_stays_as_it_is(message: str, shown: str) -> None:
    out = io.StringIO()
    Console(out, io.StringIO()).info(message)
    assert out.getvalue() == f"{shown}\n"
