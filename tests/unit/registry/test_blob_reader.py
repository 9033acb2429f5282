from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import IntegrityError, NotFoundError, RegistryError, TransportError, UnsupportedError
from kitcar.oci.verify import fill
from kitcar.registry.blob_reader import BlobReader
from kitcar.registry.retry import Pauser, RetryPolicy

DATA = bytes(range(256)) * 4096
PAUSER = Pauser(RetryPolicy(attempts=4), lambda _: None)


class Piece:
    """An answer with some bytes, and then the end or a fault."""

    def __init__(self, data: bytes, status: int = 200, start: int | None = None, *, cut: bool = False) -> None:
        self.status = status
        self.headers = {} if start is None else {"content-range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        self.closed = False
        self._data = memoryview(data)
        self._cut = cut

    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._data), 60_000)
        if not count and self._cut:
            raise TransportError("cut")
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def drain(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True


class Server:
    """Answers with what `make` gives for the offset and the number of the request."""

    def __init__(self, make: Callable[[int, int], Piece]) -> None:
        self.make = make
        self.asked: list[int] = []
        self.given: list[Piece] = []

    def __call__(self, offset: int) -> Piece:
        self.asked.append(offset)
        self.given.append(self.make(offset, len(self.asked)))
        return self.given[-1]


def partial(offset: int, *, end: int | None = None, cut: bool = False) -> Piece:
    return Piece(DATA[offset:end], 206 if offset else 200, offset if offset else None, cut=cut)


def read(reader: BlobReader, size: int = len(DATA) + 10) -> bytes:
    buffer = memoryview(bytearray(size))
    return bytes(buffer[: fill(reader, buffer)])


def test_reader_without_faults_asks_once() -> None:
    server = Server(lambda offset, _: partial(offset))
    reader = BlobReader(server, len(DATA), PAUSER)
    assert read(reader) == DATA
    assert reader.readinto(memoryview(bytearray(1))) == 0
    assert server.asked == [0]


@given(st.lists(st.integers(1, len(DATA) - 1), unique=True, max_size=8), st.booleans())
def test_reader_cut_anywhere_goes_on_from_there(cuts: list[int], clean: bool) -> None:
    ends = sorted(cuts)

    def make(offset: int, _: int) -> Piece:
        while ends and ends[0] <= offset:
            ends.pop(0)
        end = ends.pop(0) if ends else None
        return partial(offset, end=end, cut=end is not None and not clean)

    reader = BlobReader(Server(make), len(DATA), Pauser(RetryPolicy(attempts=20), lambda _: None))
    assert read(reader) == DATA


def test_reader_of_a_server_without_ranges_passes_over_what_it_has() -> None:
    server = Server(lambda _, n: Piece(DATA[: 700_001 if n == 1 else None], cut=n == 1))
    assert read(BlobReader(server, len(DATA), PAUSER)) == DATA
    assert server.asked == [0, 700_001]


def test_reader_without_progress_gives_up_with_the_cause() -> None:
    server = Server(lambda offset, _: partial(offset, end=offset, cut=True))
    with pytest.raises(TransportError, match="cut"):
        read(BlobReader(server, len(DATA), PAUSER))
    assert server.asked == [0, 0, 0, 0]


def test_reader_with_progress_counts_failures_anew() -> None:
    server = Server(lambda offset, _: partial(offset, end=offset + 100_000, cut=True))
    assert read(BlobReader(server, len(DATA), Pauser(RetryPolicy(attempts=2), lambda _: None)), len(DATA)) == DATA
    assert len(server.asked) == 11


@pytest.mark.parametrize("status", [416, 206])
def test_reader_of_content_that_is_shorter_ends_early(status: int) -> None:
    def make(offset: int, n: int) -> Piece:
        return partial(offset, end=1000) if n == 1 or status == 206 else Piece(b"", 416)

    server = Server(make)
    assert read(BlobReader(server, len(DATA), PAUSER)) == DATA[:1000]
    assert server.asked == [0, 1000]


def test_reader_of_longer_content_shows_it() -> None:
    server = Server(lambda *_: Piece(DATA + b"more"))
    assert read(BlobReader(server, len(DATA), PAUSER)) == DATA + b"more"


def test_reader_of_a_server_that_now_refuses_raises_what_it_says() -> None:
    def make(offset: int, n: int) -> Piece:
        if n > 1:
            raise NotFoundError("gone")
        return partial(offset, end=100, cut=True)

    with pytest.raises(NotFoundError, match="gone"):
        read(BlobReader(Server(make), len(DATA), PAUSER))


def test_reader_that_ended_early_and_is_refused_leaves_the_rest_to_verification() -> None:
    def make(offset: int, n: int) -> Piece:
        if n > 1:
            raise RegistryError("no", status=400)
        return partial(offset, end=100)

    assert read(BlobReader(Server(make), len(DATA), PAUSER)) == DATA[:100]


def test_reader_from_the_middle_starts_there() -> None:
    server = Server(lambda offset, _: partial(offset))
    assert read(BlobReader(server, len(DATA), PAUSER, offset=5)) == DATA[5:]
    assert server.asked == [5]


def test_reader_from_the_end_asks_nothing() -> None:
    server = Server(lambda offset, _: partial(offset))
    assert read(BlobReader(server, len(DATA), PAUSER, offset=len(DATA))) == b""
    assert server.asked == []


@pytest.mark.parametrize("answer", [Piece(DATA), Piece(b"", 416), Piece(DATA[4:], 206, 4), Piece(DATA, 206)])
def test_reader_from_the_middle_of_a_server_without_ranges_says_so(answer: Piece) -> None:
    with pytest.raises(UnsupportedError):
        BlobReader(Server(lambda *_: answer), len(DATA), PAUSER, offset=5)
    assert answer.closed


def test_reader_whose_server_sends_less_than_before_fails() -> None:
    server = Server(lambda _, n: Piece(DATA[: 1000 if n == 1 else 10], cut=n == 1))
    with pytest.raises(IntegrityError):
        read(BlobReader(server, len(DATA), PAUSER))
    assert server.given[-1].closed


def test_close_ends_the_stream() -> None:
    server = Server(lambda offset, _: partial(offset))
    reader = BlobReader(server, len(DATA), PAUSER)
    reader.close()
    reader.close()
    assert server.given[0].closed
    assert reader.readinto(memoryview(bytearray(5))) == 0
