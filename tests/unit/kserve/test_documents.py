"""Reading Kubernetes YAML: values as JSON has them, places of faults, hostile text."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError
from kitcar.kserve.documents import read_documents

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1), children, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_read_documents_json_is_read_as_it_is(value: object) -> None:
    documents = read_documents(json.dumps({"value": value}, ensure_ascii=False).encode(), "f")
    assert documents[0].value == {"value": value}


@given(st.text(max_size=60))
def test_read_documents_any_text_gives_documents_or_invalid(text: str) -> None:
    with contextlib.suppress(InvalidError):
        assert isinstance(read_documents(text.encode("utf-8", "surrogatepass"), "f"), tuple)


def test_read_documents_stream_leaves_out_empty_ones() -> None:
    documents = read_documents(b"---\na: 1\n---\n---\nb: [x, 2024-01-01, 1.5]\n", "f")
    assert [document.value for document in documents] == [{"a": 1}, {"b": ["x", "2024-01-01", 1.5]}]
    assert [document.where for document in documents] == ["f", "f"]


def test_read_documents_places_count_from_one() -> None:
    (document,) = read_documents(b"spec:\n  list:\n    - name: x\n", "f")
    fault = document.fault(("spec", "list", 0, "name"), "wrong")
    assert (fault.line, fault.column) == (3, 13)
    missing = document.fault(("spec", "list", 0, "absent"), "missing")
    assert (missing.line, missing.column) == (3, 7)


def test_read_documents_alias_stands_for_its_anchor() -> None:
    (document,) = read_documents(b"a: &x {k: v}\nb: *x\n", "f")
    assert document.value["b"] == {"k": "v"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"a: [1\nb: 2", "line 2"),
        (b"a: 1\na: 2\n", "line 2"),
        (b"a: *nowhere\n", "nowhere"),
        (b"\xff\xfe\x00", "f"),
        (b"[" * 200_000, "f"),
        (b"- " * 5_000 + b"x", "deep"),
    ],
)
def test_read_documents_what_cannot_be_meant_is_invalid_with_a_place(text: bytes, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        read_documents(text, "f")


def test_read_documents_nested_aliases_are_refused_before_they_grow() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(InvalidError, match="excessive aliasing"):
        read_documents("\n".join(lines).encode(), "f")


def test_read_documents_anchors_end_with_their_document() -> None:
    with pytest.raises(InvalidError, match="unknown anchor 'x'"):
        read_documents(b"a: &x 1\n---\nb: *x\n", "f")


def test_read_documents_too_large_is_refused_unread() -> None:
    with pytest.raises(InvalidError, match="at most"):
        read_documents(b" " * (8 * 1024 * 1024 + 1), "f")


def test_read_documents_all_faults_are_told_together() -> None:
    with pytest.raises(InvalidError) as caught:
        read_documents(b"a: 1\na: 2\n? [x]\n: 3\n", "f")
    assert [fault.line for fault in caught.value.faults] == [2, 3]
