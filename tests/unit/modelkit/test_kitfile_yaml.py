from __future__ import annotations

from typing import Any

import pytest

from kitcar.errors import InvalidError
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.kitfile.nodes import MAX_DEPTH, read, read_all


def parameters(text: str) -> Any:
    kitfile = Kitfile.parse(f"manifestVersion: 1.0.0\nmodel:\n  path: m\n  parameters:\n{text}".encode())
    assert kitfile.model
    return kitfile.model.parameters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("    a: 1\n    b: '1'\n    c: \"\\u00e9\\n\"\n", {"a": 1, "b": "1", "c": "é\n"}),
        ("    - |\n      two\n       lines\n    - >-\n      folded\n      text\n", ["two\n lines\n", "folded text"]),
        ("    [0x1F, 0o17, 1e3, 1_0, ~, yes, on, No]\n", [31, 15, 1000.0, 10, None, "yes", "on", "No"]),
        ("    [2001-1-2, '2001-01-02', !!str 2001-01-02]\n", ["2001-01-02T00:00:00Z", "2001-01-02", "2001-01-02"]),
        ("    [!!float 1, !!int '7', !!binary aGk=, !other x, ! 12]\n", [1.0, 7, "hi", "x", 12]),
        ("    a: &x {k: 1}\n    b: *x\n", {"a": {"k": 1}, "b": {"k": 1}}),
        ("    a: &x [&x 1]\n    b: *x\n", {"a": [1], "b": 1}),
        (
            "    base: &b {k: 1, l: 2}\n    more: &m {l: 3, n: 4}\n    all:\n      <<: [*b, *m]\n      k: 9\n",
            {"base": {"k": 1, "l": 2}, "more": {"l": 3, "n": 4}, "all": {"k": 9, "l": 2, "n": 4}},
        ),
        ("    {'<<': 1, \"<\": 2}\n", {"<<": 1, "<": 2}),
        ("    <<: {a: {<<: {b: 1}}}\n", {"a": {"b": 1}}),
        ("    {}\n", {}),
        ("    ''\n", ""),
        ("    ~\n", None),
    ],
)
def test_parameters_are_read_as_yaml_v3_reads_them(text: str, expected: Any) -> None:
    assert parameters(text) == expected


def test_parameters_of_an_entry_come_in_by_merge() -> None:
    text = b"manifestVersion: 1.0.0\ncode:\n- &c {path: a, license: MIT}\n- {<<: *c, path: b}\n"
    assert [(code.path, code.license) for code in Kitfile.parse(text).code] == [("a", "MIT"), ("b", "MIT")]


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a: [1, 2", "did not find expected ',' or ']'", (1, 4)),
        ("b: 1\na: 'x\n\n", "found unexpected end of stream", (2, 4)),
        ("b: 1\n- c\n", "did not find expected key", (2, 1)),
        ("a: b: c", "mapping values are not allowed in this context", (1, 5)),
        ("a: *x", "unknown anchor 'x' referenced", (1, 4)),
        ("a: &x [*x]", "anchor 'x' value contains itself", (1, 8)),
        ("a: 1\n---\nb: 2", "there is more than one document in the file", (2, 1)),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), f"nested deeper than {MAX_DEPTH} levels", (1, MAX_DEPTH + 2)),
        ("\tx: 1", "found character that cannot start any token", (1, 1)),
    ],
)
def test_read_of_what_is_no_yaml_says_where(text: str, message: str, place: tuple[int, int]) -> None:
    with pytest.raises(InvalidError, match=r"yaml: line \d+: ") as caught:
        read(text.encode())
    (fault,) = caught.value.faults
    assert (fault.message, (fault.line, fault.column)) == (message, place)


@pytest.mark.parametrize("text", [b"a: \xff", b"a: \x01", b"a: \x00"])
def test_read_of_bytes_that_are_no_text_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidError, match=r"^yaml: "):
        read(text)


@pytest.mark.parametrize("text", [b"", b"\n\n", b"# only a comment\n"])
def test_parse_of_an_empty_file_says_so(text: bytes) -> None:
    assert read(text) is None
    with pytest.raises(InvalidError, match=r"Kitfile is empty"):
        Kitfile.parse(text)


def test_parse_of_a_null_document_is_an_empty_kitfile() -> None:
    assert Kitfile.parse(b"~\n") == Kitfile(manifest_version="")


@pytest.mark.parametrize("width", [2, 9])
def test_read_of_aliases_that_multiply_is_refused_quickly(width: int) -> None:
    levels = ["a0: &a0 [x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, 60)]
    with pytest.raises(InvalidError, match=r"document contains excessive aliasing"):
        read("\n".join(levels).encode())


def test_read_of_aliases_that_only_nest_is_refused() -> None:
    levels = ["a0: &a0 [x]", *(f"a{n}: &a{n} [[*a{n - 1}]]" for n in range(1, MAX_DEPTH))]
    with pytest.raises(InvalidError, match=r"document contains excessive aliasing"):
        read("\n".join(levels).encode())


def test_read_all_gives_every_document_with_its_own_anchors() -> None:
    nodes = read_all(b"a: &x 1\n---\n- 2\n...\n---\nb: 3\n")
    assert [node.kind for node in nodes] == ["mapping", "sequence", "mapping"]
    with pytest.raises(InvalidError, match=r"unknown anchor"):
        read_all(b"a: &x 1\n---\nb: *x\n")


def test_read_gives_lines_and_columns_from_one() -> None:
    root = read("é: 1\nb:\n  - c\n".encode())
    assert root
    (first, _), (_, items) = root.pairs
    assert (first.line, first.column, items.items[0].line, items.items[0].column) == (1, 1, 3, 5)
