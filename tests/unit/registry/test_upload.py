from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.oci.digest import Digest
from kitcar.registry import upload
from kitcar.registry.upload import State

DIGEST = Digest.of(b"x")


@pytest.mark.parametrize(
    ("registry", "whole"),
    [
        ("ghcr.io", True),
        ("GHCR.io", True),
        ("ghcr.io:443", True),
        ("europe-docker.pkg.dev", True),
        ("gcr.io", True),
        ("eu.gcr.io", True),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", True),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", True),
        ("sub.ghcr.io", False),
        ("pkg.dev", False),
        ("notgcr.io", False),
        ("gcr.io.example.com", False),
        ("docker.io", False),
        ("quay.io", False),
        ("127.0.0.1:5000", False),
        ("localhost:5000", False),
    ],
)
def test_takes_whole_only_knows_the_hosts(registry: str, whole: bool) -> None:
    assert upload.takes_whole_only(registry) is whole


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ("0-99", 100),
        ("bytes=0-99", 100),
        (" 0-1 ", 2),
        ("0-0", None),
        ("1-99", None),
        ("0-", None),
        ("bytes 0-99", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_received_trusts_only_what_is_certain(header: str | None, count: int | None) -> None:
    assert upload.received(header) == count


@pytest.mark.parametrize(
    ("header", "count"), [("5242880", 5242880), ("", 0), (None, 0), ("-5", 0), ("x", 0), ("9" * 30, 0)]
)
def test_minimum_reads_a_number(header: str | None, count: int) -> None:
    assert upload.minimum(header) == count


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://h/v2/a/blobs/uploads/1", f"http://h/v2/a/blobs/uploads/1?digest={DIGEST}"),
        ("http://h/u?_state=a%2Bb%3D%3D&x", f"http://h/u?_state=a%2Bb%3D%3D&x&digest={DIGEST}"),
        ("http://h/u?digest=old&y=1", f"http://h/u?y=1&digest={DIGEST}"),
    ],
)
def test_closing_adds_the_digest_and_changes_nothing_else(location: str, expected: str) -> None:
    assert upload.closing(location, DIGEST) == expected


@given(st.integers(0, 10**12), st.none() | st.integers(1, 10**9), st.integers(0, 10**9))
def test_pieces_make_up_the_whole(size: int, limit: int | None, minimum: int) -> None:
    state = State("x", 0, minimum)
    piece = state.piece(size, limit)
    assert piece is not None
    assert 0 <= piece <= size
    if size:
        assert piece == size or piece >= minimum
    rest = State("x", piece, minimum).piece(size, limit)
    assert rest is not None
    assert piece + rest <= size


def test_piece_of_unknown_size_is_bounded_by_the_limit_alone() -> None:
    assert State("x").piece(None, None) is None
    assert State("x").piece(None, 10) == 10
