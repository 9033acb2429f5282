import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitcar.errors import IntegrityError, InvalidError, NotFoundError, TransportError, UnsupportedError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.storage import BytesContent, BytesReader, StoredContent
from kitcar.oci.verify import DEFAULT_RING, HashThread, Ring, VerifyingReader, fetch_all, fill

TYPE = "application/octet-stream"


class Dribble:
    """Gives at most `step` bytes at a time and notes that it was closed."""

    def __init__(self, data, step):
        self.rest, self.step, self.closed = memoryview(data), step, False

    def readinto(self, buffer, /):
        count = min(len(buffer), self.step, len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count

    def close(self):
        self.closed = True


class Breaking(Dribble):
    def readinto(self, buffer, /):
        count = super().readinto(buffer)
        if not count:
            raise TransportError("cut")
        return count


class OneBlob:
    def __init__(self, data):
        self.data = data

    def fetch(self, descriptor):
        if self.data is None:
            raise NotFoundError("gone")
        return BytesReader(self.data)


@settings(max_examples=60)
@given(st.binary(max_size=5000), st.integers(1, 700), st.integers(2, 4), st.integers(1, 900))
def test_chunks_right_stream_gives_exactly_its_bytes(data, step, buffers, size):
    reader = Dribble(data, step)
    verifying = VerifyingReader(reader, Descriptor.of(TYPE, data), ring=Ring(buffers, size))
    assert b"".join(bytes(chunk) for chunk in verifying.chunks()) == data
    assert reader.closed


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=4000), st.data(), st.integers(1, 900))
def test_chunks_wrong_stream_never_ends_well(data, draw, size):
    descriptor = Descriptor.of(TYPE, data)
    kind = draw.draw(st.sampled_from(["flipped", "truncated", "longer"]))
    at = draw.draw(st.integers(0, len(data) - 1))
    wrong = {
        "flipped": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
        "truncated": data[:at],
        "longer": data + b"x",
    }[kind]
    reader = Dribble(wrong, 333)
    seen = bytearray()

    def consume():
        for chunk in VerifyingReader(reader, descriptor, ring=Ring(3, size)).chunks():
            seen.extend(chunk)

    with pytest.raises(IntegrityError):
        consume()
    assert reader.closed
    assert len(seen) < len(data) or kind == "truncated"


def test_chunks_broken_stream_raises_the_cause_and_ends_the_thread():
    descriptor = Descriptor.of(TYPE, b"x" * 100)
    with pytest.raises(TransportError, match="cut"):
        list(VerifyingReader(Breaking(b"x" * 50, 7), descriptor, ring=Ring(2, 10)).chunks())


def test_chunks_consumer_that_stops_early_closes_the_reader():
    reader = Dribble(b"x" * 100, 10)
    chunks = VerifyingReader(reader, Descriptor.of(TYPE, b"x" * 100), ring=Ring(2, 10)).chunks()
    next(chunks)
    chunks.close()
    assert reader.closed


def test_chunks_resumed_stream_is_checked_from_the_first_byte():
    data = bytes(range(256)) * 4
    descriptor = Descriptor.of(TYPE, data)
    for prefix, right in ((data[:300], True), (b"?" * 300, False)):
        hasher = descriptor.digest.hasher()
        hasher.update(prefix)
        reader = VerifyingReader(BytesReader(data[300:]), descriptor, ring=Ring(2, 64), hasher=hasher, offset=300)
        if right:
            assert reader.read() == data[300:]
        else:
            with pytest.raises(IntegrityError) as caught:
                reader.read()
            assert caught.value.expected == str(descriptor.digest)


def test_read_empty_content_gives_nothing():
    assert VerifyingReader(BytesReader(b""), Descriptor.of(TYPE, b"")).read() == b""
    with pytest.raises(IntegrityError):
        VerifyingReader(BytesReader(b"x"), Descriptor.of(TYPE, b"")).read()


def test_ring_fitted_is_never_larger_than_the_content():
    assert DEFAULT_RING.fitted(10).memory == 40
    assert Ring(2, 5).fitted(10**9) == Ring(2, 5)


def test_hash_thread_hashes_in_order_and_gives_buffers_back():
    hashing = HashThread(Digest.of(b"").hasher(), 2)
    hashing.update(memoryview(b"kit"))
    hashing.update(memoryview(b"car"))
    assert bytes(hashing.reclaim()) == b"kit"
    assert hashing.finish() == Digest.of(b"kitcar")
    hashing.close()


def test_fill_reads_until_the_buffer_is_full():
    buffer = memoryview(bytearray(5))
    assert fill(Dribble(b"abcdefg", 2), buffer) == 5
    assert bytes(buffer) == b"abcde"


def test_fetch_all_gives_verified_bytes():
    descriptor = Descriptor.of(TYPE, b"{}")
    assert fetch_all(OneBlob(b"{}"), descriptor) == b"{}"
    with pytest.raises(IntegrityError):
        fetch_all(OneBlob(b"[]"), descriptor)
    with pytest.raises(NotFoundError):
        fetch_all(OneBlob(None), descriptor)


def test_fetch_all_too_large_content_is_not_read():
    with pytest.raises(InvalidError, match="at most"):
        fetch_all(OneBlob(b""), Descriptor(TYPE, Digest.of(b""), 10**9))


def test_fetch_all_embedded_data_is_used_only_if_right():
    descriptor = Descriptor.of(TYPE, b"{}")
    right = Descriptor(TYPE, descriptor.digest, 2, data=b"{}")
    wrong = Descriptor(TYPE, descriptor.digest, 2, data=b"[]")
    assert fetch_all(OneBlob(None), right) == b"{}"
    assert fetch_all(OneBlob(b"{}"), wrong) == b"{}"


class OneRange(OneBlob):
    def fetch_range(self, descriptor, offset):
        return BytesReader(self.data[offset:])


def test_content_opens_at_an_offset():
    assert (
        VerifyingReader(
            StoredContent(OneRange(b"abc"), Descriptor.of(TYPE, b"abc")).open(1), Descriptor.of(TYPE, b"bc")
        ).read()
        == b"bc"
    )
    assert fill(BytesContent(b"abc").open(1), memoryview(bytearray(9))) == 2
    with pytest.raises(UnsupportedError):
        StoredContent(OneBlob(b"abc"), Descriptor.of(TYPE, b"abc")).open(1)
