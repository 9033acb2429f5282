from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.modelkit.kitfile.scalar import BOOL, FLOAT, INT, NULL, STR, TIMESTAMP, is_plain, resolve, timestamp


@pytest.mark.parametrize(
    ("text", "tag", "value"),
    [
        ("", NULL, None),
        ("~", NULL, None),
        ("Null", NULL, None),
        ("true", BOOL, True),
        ("FALSE", BOOL, False),
        ("yes", STR, "yes"),
        ("on", STR, "on"),
        ("0", INT, 0),
        ("-17", INT, -17),
        ("+5", INT, 5),
        ("1_000", INT, 1000),
        ("0x1F", INT, 31),
        ("0o17", INT, 15),
        ("017", INT, 15),
        ("08", FLOAT, 8.0),
        ("0b101", INT, 5),
        ("-0b1", INT, -1),
        ("0o-7", INT, -7),
        ("18446744073709551615", INT, 2**64 - 1),
        ("-9223372036854775808", INT, -(2**63)),
        ("+18446744073709551615", FLOAT, 2.0**64),
        ("18446744073709551616", FLOAT, 2.0**64),
        ("1.5", FLOAT, 1.5),
        ("1.", FLOAT, 1.0),
        (".5", FLOAT, 0.5),
        (".5_1", FLOAT, 0.51),
        ("1e3", FLOAT, 1000.0),
        ("1e999", STR, "1e999"),
        (".inf", FLOAT, math.inf),
        ("-.INF", FLOAT, -math.inf),
        ("0x", STR, "0x"),
        ("-", STR, "-"),
        ("1:30", STR, "1:30"),
        ("2001-1-2", TIMESTAMP, "2001-01-02T00:00:00Z"),
        ("2001-13-02", STR, "2001-13-02"),
        ("2000-02-29", TIMESTAMP, "2000-02-29T00:00:00Z"),
        ("1900-02-29", STR, "1900-02-29"),
        ("word", STR, "word"),
    ],
)
def test_resolve_of_plain_text_gives_tag_and_value_of_yaml_v3(text: str, tag: str, value: object) -> None:
    assert resolve(text) == (tag, value)


def test_resolve_of_nan_gives_a_float() -> None:
    tag, value = resolve(".NaN")
    assert tag == FLOAT
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2001-12-14T21:59:43.10Z", "2001-12-14T21:59:43.1Z"),
        ("2001-12-14t1:2:3-05:00", "2001-12-14T01:02:03-05:00"),
        ("2001-12-14T01:02:03+00:00", "2001-12-14T01:02:03Z"),
        ("2001-12-14   1:2:3,5", "2001-12-14T01:02:03.5Z"),
        ("2001-12-14T01:02:03", None),
        ("2001-12-14 01:02:03Z", None),
        ("2001-12-14T24:00:00Z", None),
        ("2001-12-14T01:02:03+24:00", None),
        ("2001-04-31", None),
        ("01-04-30", None),
    ],
)
def test_timestamp_gives_the_text_that_config_holds(text: str, expected: str | None) -> None:
    assert timestamp(text) == expected


@pytest.mark.parametrize("text", ["y", "No", "OFF", "190:20:30", "1:30", "1", "true", "2001-01-01", ""])
def test_is_plain_of_what_others_read_as_no_text_is_false(text: str) -> None:
    assert not is_plain(text)


@given(st.integers(-(2**63), 2**64 - 1))
def test_resolve_of_an_integer_gives_it_back(number: int) -> None:
    assert resolve(str(number)) == (INT, number)


@given(st.text(max_size=20))
def test_resolve_of_any_text_gives_a_value(text: str) -> None:
    tag, value = resolve(text)
    assert tag != STR or value == text
