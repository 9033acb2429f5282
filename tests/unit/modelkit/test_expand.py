"""Compressed layers expand in bounded pieces, up to a limit; faults are ours."""

from __future__ import annotations

import contextlib
import gzip
import random
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import IntegrityError, InvalidError, KitcarError, UnsupportedError
from kitcar.modelkit.compression import OUTPUT, expand

MIB = 1 << 20


def chunks(data: bytes, step: int) -> Iterator[memoryview]:
    """Chunks in one buffer that is used again, as a ring's are."""
    buffer = bytearray(step)
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]


def packed(data: bytes, method: str) -> bytes:
    return gzip.compress(data, 1) if method == "gzip" else zstandard.ZstdCompressor().compress(data)


def expanded(data: bytes, method: str, *, step: int = 1000, limit: int = 1 << 30) -> bytes:
    pieces = list(expand(chunks(data, step), method, limit=limit))
    assert all(0 < len(piece) <= OUTPUT for piece in pieces)
    return b"".join(pieces)


METHODS = pytest.mark.parametrize("method", ["gzip", "zstd"])


@METHODS
@given(data=st.binary(max_size=5000), step=st.integers(1, 600))
def test_expand_gives_back_what_was_compressed(method: str, data: bytes, step: int) -> None:
    assert expanded(packed(data, method), method, step=step) == data


@METHODS
def test_expand_long_content_comes_in_bounded_pieces(method: str) -> None:
    data = random.Random(1).randbytes(MIB) + bytes(20 * MIB) + random.Random(2).randbytes(1000)
    assert expanded(packed(data, method), method, step=MIB) == data


@METHODS
def test_expand_several_members_follow_each_other(method: str) -> None:
    assert expanded(packed(b"one", method) + packed(b"two" * 1000, method), method, step=7) == b"one" + b"two" * 1000


@METHODS
def test_expand_content_over_the_limit_is_refused(method: str) -> None:
    bomb = packed(bytes(64 * MIB), method)
    assert len(bomb) < MIB
    with pytest.raises(InvalidError, match="expands to more than"):
        expanded(bomb, method, limit=16 * MIB)


@METHODS
@pytest.mark.parametrize("tail", [b"junk", b"\0" * 64])
def test_expand_bytes_after_the_end_are_refused(method: str, tail: bytes) -> None:
    with pytest.raises(InvalidError):
        expanded(packed(b"data", method) + tail * 8, method)


def test_expand_gzip_that_ends_too_early_is_refused() -> None:
    whole = packed(b"data" * 1000, "gzip")
    for cut in (1, 8, len(whole) // 2, len(whole) - 1):
        with pytest.raises(InvalidError):
            expanded(whole[:-cut], "gzip")


@METHODS
@given(data=st.binary(max_size=300))
def test_expand_any_bytes_give_bytes_or_our_error(method: str, data: bytes) -> None:
    with contextlib.suppress(KitcarError):
        expanded(data, method)


@METHODS
def test_expand_damaged_byte_never_gives_other_content_silently(method: str) -> None:
    data = b"some text that repeats, some text that repeats " * 50
    whole = gzip.compress(data) if method == "gzip" else zstandard.ZstdCompressor(write_checksum=True).compress(data)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        try:
            assert expanded(bytes(damaged), method) in (data, b"") or method == "zstd"
        except KitcarError:
            continue


def test_expand_zstd_window_over_the_limit_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    layer = packer.compress(b"x" * 1000) + packer.flush()
    with pytest.raises(UnsupportedError, match="window"):
        expanded(layer, "zstd")


@METHODS
def test_expand_errors_of_the_stream_itself_pass_through(method: str) -> None:
    def cut() -> Iterator[memoryview]:
        yield memoryview(packed(b"data" * 1000, method))[:10]
        raise IntegrityError("wrong", expected="a", actual="b")

    with pytest.raises(IntegrityError):
        list(expand(cut(), method, limit=MIB))


def test_expand_unknown_compression_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        list(expand(iter(()), "bzip2", limit=1))
