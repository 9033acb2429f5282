"""The YAML that a real kit 1.15.0 wrote for these values (`tests/peers/test_kit_kitfile.py` asks it again)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.modelkit.kitfile import Docs, Kitfile, Model, Package
from kitcar.modelkit.kitfile.emit import float_text, natural


def emitted(value: Any) -> str:
    text = Kitfile(model=Model(parameters=value)).to_yaml().decode()
    return text.removeprefix("manifestVersion: 1.0.0\nmodel:\n  parameters:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words", " plain words\n"),
        ("", ' ""\n'),
        ("1.0", ' "1.0"\n'),
        ("yes", ' "yes"\n'),
        ("null", ' "null"\n'),
        ("2001-01-02", ' "2001-01-02"\n'),
        ("190:20", ' "190:20"\n'),
        ("- dash", " '- dash'\n"),
        ("-dash", " -dash\n"),
        ("---", " '---'\n"),
        ("a: b", " 'a: b'\n"),
        ("a:b", " a:b\n"),
        ("a #b", " 'a #b'\n"),
        ("a#b", " a#b\n"),
        ("#b", " '#b'\n"),
        ("it's", " it's\n"),
        ("'quoted'", " '''quoted'''\n"),
        ('"', " '\"'\n"),
        ("*star", " '*star'\n"),
        ("? x", " '? x'\n"),
        ("?x", " ?x\n"),
        (" lead", " ' lead'\n"),
        ("trail ", " 'trail '\n"),
        ("tab\there", ' "tab\\there"\n'),
        ("bell\a", ' "bell\\a"\n'),
        ("\x7f\x01", ' "\\x7F\\x01"\n'),
        ("é日本", " é日本\n"),
        ("😀", ' "\\U0001F600"\n'),
        ("\xa0", " \xa0\n"),
        ("\x85", ' "\\N"\n'),
        ("a\u2028b", " 'a\u2028    b'\n"),
        ("\ufeffab", ' "\\uFEFF\\x61\\x62"\n'),
        ("a\ufeff", ' "a\\uFEFF"\n'),
        ("\r", ' "\\r"\n'),
        ("word " * 40 + "end", f" {'word ' * 40}end\n"),
        ("one\ntwo", " |-\n    one\n    two\n"),
        ("one\ntwo\n", " |\n    one\n    two\n"),
        ("one\n\n", " |+\n    one\n\n"),
        ("\n", " |2+\n\n"),
        ("  one\ntwo", " |2-\n      one\n    two\n"),
        ("one\n  two\n", " |\n    one\n      two\n"),
        ("one \ntwo", ' "one \\ntwo"\n'),
        ("one\ntwo ", ' "one\\ntwo "\n'),
        ("one\n\ttwo", " |-\n    one\n    \ttwo\n"),
    ],
)
def test_text_is_quoted_as_yaml_v3_quotes_it(text: str, expected: str) -> None:
    assert emitted(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "manifestVersion: 1.0.0\nmodel: {}\n"),
        (True, " true\n"),
        (5, " 5\n"),
        (5.0, " 5\n"),
        (1e6, " 1e+06\n"),
        ([], " []\n"),
        ({}, " {}\n"),
        ([1, [2, [], {}], {"a": [3], "b": {"c": None}}], None),
        ({"a": {"b": "x\ny"}}, "\n    a:\n      b: |-\n        x\n        y\n"),
        ({"k\nl": 1}, "\n    ? |-\n      k\n      l\n    : 1\n"),
        ({"k" * 129: [1]}, f"\n    ? {'k' * 129}\n    : - 1\n"),
        ({"k" * 128: 1}, f"\n    {'k' * 128}: 1\n"),
        ({"é" * 65: {"a": 1}}, f"\n    ? {'é' * 65}\n    : a: 1\n"),
        ({"": 1, "yes": 2}, '\n    "": 1\n    "yes": 2\n'),
    ],
)
def test_value_is_written_in_yaml_v3s_block_form(value: Any, expected: str | None) -> None:
    nested = "\n    - 1\n    - - 2\n      - []\n      - {}\n    - a:\n        - 3\n      b:\n        c: null\n"
    assert emitted(value) == (nested if expected is None else expected)


def test_authors_are_written_on_one_line() -> None:
    kitfile = Kitfile(package=Package(authors=("Ada", "b, c", "1", "", "x\ny", "it's", "a:b", "?q")))
    assert kitfile.to_yaml().decode().splitlines()[2] == (
        """  authors: [Ada, 'b, c', "1", "", "x\\ny", it's, 'a:b', '?q']"""
    )


def test_authors_with_line_separators_start_the_line_anew() -> None:
    kitfile = Kitfile(package=Package(authors=("a\u2028", "b")))
    assert kitfile.to_yaml().decode() == "manifestVersion: 1.0.0\npackage:\n  authors: ['a\u2028', b]\n"


def test_empty_members_are_left_out_but_the_path_of_docs() -> None:
    assert Kitfile(docs=(Docs(),)).to_yaml() == b'manifestVersion: 1.0.0\ndocs:\n  - path: ""\n'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (1.5e-5, "1.5e-05"),
        (100000.0, "100000"),
        (999999.5, "999999.5"),
        (1e6, "1e+06"),
        (-1234567.5, "-1.2345675e+06"),
        (1.5e30, "1.5e+30"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
    ],
)
def test_float_text_is_gos_shortest_form(value: float, expected: str) -> None:
    assert float_text(value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_text_of_any_float_reads_as_the_same(value: float) -> None:
    assert float(float_text(value)) == value


@pytest.mark.parametrize(
    "keys",
    [
        ["a1", "a2", "a10"],
        ["1", "9", "10", "a", "b"],
        ["_", "a"],
        ["a", "ab", "b"],
        ["A", "Z", "a"],
        ["x-1", "x1"],
        ["a.b", "a1", "ab"],
        ["1a", "1_"],
        ["a0", "a00", "a1", "a01"],
        ["v1.9", "v1.10"],
        ["", "a"],
        ["é", "日"],
    ],
)
def test_natural_order_of_keys_is_yaml_v3s(keys: list[str]) -> None:
    assert list(natural(dict.fromkeys(reversed(keys)))) == keys


def test_natural_order_goes_into_lists_and_mappings() -> None:
    assert [list(natural([{"b": {"d": 1, "c": 2}, "a": 1}])[0]), list(natural({"b": {"d": 1, "c": 2}})["b"])] == [
        ["a", "b"],
        ["c", "d"],
    ]
