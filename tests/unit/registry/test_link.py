from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.registry import link


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('</v2/a/tags/list?n=2&last=b>; rel="next"', "/v2/a/tags/list?n=2&last=b"),
        ("<https://x/y>;rel=next", "https://x/y"),
        ('<a>; rel="prev", <b>; title="x, y"; rel="next"', "b"),
        ('<a>; rel="first next last"', "a"),
        ('<a?x=1,2>; rel="next"', "a?x=1,2"),
        ('<a>; REL="NEXT"', "a"),
        ('<a>; rel="nextish"', ""),
        ("<a>; rel=nextish", ""),
        ('<a>; rel="prev"', ""),
        ("nothing", ""),
        ("", ""),
    ],
)
def test_following_finds_the_next_page(header: str, expected: str) -> None:
    assert link.following(header) == expected


@given(st.text() | st.text(alphabet='<>;="nextrl ,', max_size=200))
def test_following_of_any_text_ends(header: str) -> None:
    assert isinstance(link.following(header), str)
