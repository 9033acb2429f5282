"""Uploads over a connection that fails on cue, to a registry that keeps what it got: whole blobs or clear errors."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.stub import Asked, Reply, StubServer
from kitcar.errors import (
    AuthError,
    CancelledError,
    IntegrityError,
    InvalidError,
    KitcarError,
    RegistryError,
    TransportError,
)
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent, Content, Reader
from kitcar.registry import upload
from kitcar.registry.repository import Repository
from kitcar.registry.retry import RetryPolicy
from kitcar.registry.settings import Connection, Timeouts
from kitcar.testing.proxy import Answer, Cut, Drop, FaultProxy, Flip, Rule, Stall

BLOB = hashlib.sha256(b"upload").digest() * 200_000
LARGE = Descriptor.of("application/x.layer", BLOB)
SMALL = Descriptor.of("application/x.layer", BLOB[:100_000])
QUICK = Connection(
    plain_http=True,
    retry=RetryPolicy(attempts=4, base=0.001, retry_after_limit=0.01),
    timeouts=Timeouts(connect=20, read=20, idle=20, commit=20),
)
IMPATIENT = replace(QUICK, timeouts=Timeouts(connect=20, read=20, idle=0.5, commit=1))


class Registry:
    """Takes uploads; `limit` bytes a request at most, `takes` of each piece."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.open: dict[str, bytearray] = {}
        self.limit: int | None = None
        self.takes: int | None = None
        self.minimum = 0
        self.needs_length = False
        self.started = 0

    def __call__(self, request: Asked) -> Reply:
        path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        if path.endswith("/blobs/uploads/"):
            self.started += 1
            self.open[str(self.started)] = bytearray()
            headers = {"Location": f"/v2/x/uploads/{self.started}?_state=a%2Bb%3D"}
            return Reply(202, headers | ({"OCI-Chunk-Min-Length": str(self.minimum)} if self.minimum else {}))
        if "/uploads/" in path:
            return self._session(request, path.rpartition("/")[2], query)
        return Reply(200 if path.rpartition("/")[2] in self.blobs else 404)

    def _session(self, request: Asked, name: str, query: dict[str, list[str]]) -> Reply:
        assert query["_state"] == ["a+b="], "what a Location's query says comes back unchanged"
        held = self.open.get(name)
        if held is None:
            return Reply(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
        if request.method == "DELETE":
            del self.open[name]
            return Reply(204)
        if request.method in {"PATCH", "PUT"} and (refused := self._append(request, held)):
            return refused
        if request.method == "PUT":
            del self.open[name]
            digest = query["digest"][0]
            if str(Digest.of(bytes(held))) != digest:
                return Reply(400, {"Content-Type": "application/json"}, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
            self.blobs[digest] = bytes(held)
            return Reply(201, {"Location": f"/v2/x/blobs/{digest}"})
        headers = {"Range": f"0-{max(0, len(held) - 1)}"}
        return Reply(204 if request.method == "GET" else 202, headers)

    def _append(self, request: Asked, held: bytearray) -> Reply | None:
        if self.limit is not None and int(request.headers.get("content-length", 0)) > self.limit:
            return Reply(413)
        if self.needs_length and "content-length" not in request.headers:
            return Reply(411)
        if span := request.headers.get("content-range"):
            match = re.fullmatch(r"(\d+)-(\d+)", span)
            assert match
            if int(match[1]) != len(held):
                return Reply(416, {"Range": f"0-{len(held) - 1}"})
            assert int(match[2]) - int(match[1]) + 1 == int(request.headers["content-length"])
        held += request.body[: self.takes]
        return None


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultProxy]:
    with StubServer(registry) as server:
        host, _, port = server.address.rpartition(":")
        with FaultProxy(host, int(port)) as proxy:
            yield proxy


@pytest.fixture
def repository(proxy: FaultProxy) -> Repository:
    return Repository(Reference.parse(f"{proxy.address}/x"), connection=QUICK)


class Bytes:
    """A stream over bytes; see `Stream`."""

    def __init__(self, data: bytes, *, known: bool = True, chunk: int = 300_000) -> None:
        self.size = len(data) if known else None
        self.opened: list[int] = []
        self._data = data
        self._chunk = chunk

    def chunks(self, offset: int = 0) -> Iterator[memoryview]:
        self.opened.append(offset)
        for start in range(offset, len(self._data), self._chunk):
            yield memoryview(self._data)[start : start + self._chunk]

    def digest(self) -> Digest:
        return Digest.of(self._data)


def methods(proxy: FaultProxy) -> list[str]:
    return [item.method for item in proxy.requests]


def test_push_of_a_small_blob_takes_two_requests(repository: Repository, registry: Registry, proxy: FaultProxy) -> None:
    repository.push(SMALL, BytesContent(BLOB[:100_000]))
    assert registry.blobs == {str(SMALL.digest): BLOB[:100_000]}
    assert methods(proxy) == ["POST", "PUT"]


def test_push_of_a_large_blob_streams_it_in_one_request(
    repository: Repository, registry: Registry, proxy: FaultProxy
) -> None:
    repository.push(LARGE, BytesContent(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}
    assert methods(proxy) == ["POST", "PATCH", "PUT"]
    sent = proxy.requests[1].headers
    assert (sent["content-length"], sent["content-range"]) == (str(len(BLOB)), f"0-{len(BLOB) - 1}")


@pytest.mark.parametrize("known", [True, False])
def test_ingest_reads_once_and_sends_once(
    repository: Repository, registry: Registry, proxy: FaultProxy, known: bool
) -> None:
    stream = Bytes(BLOB, known=known)
    assert repository.ingest(stream) == (LARGE.digest, len(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}
    assert stream.opened == [0]
    assert methods(proxy) == ["POST", "PATCH", "PUT"]
    assert ("content-length" in proxy.requests[1].headers) is known


@pytest.mark.parametrize("data", [b"", b"x"])
@pytest.mark.parametrize("known", [True, False])
def test_ingest_of_next_to_nothing_works(repository: Repository, registry: Registry, data: bytes, known: bool) -> None:
    assert repository.ingest(Bytes(data, known=known)) == (Digest.of(data), len(data))
    assert registry.blobs == {str(Digest.of(data)): data}


@pytest.mark.parametrize("after", [2, 1_000_000, len(BLOB) - 1])
@pytest.mark.parametrize("known", [True, False])
def test_ingest_cut_mid_upload_resumes_where_the_registry_is(
    repository: Repository, registry: Registry, proxy: FaultProxy, after: int, known: bool
) -> None:
    proxy.rules.append(Rule("PATCH", Cut(after, of="request")))
    stream = Bytes(BLOB, known=known)
    assert repository.ingest(stream) == (LARGE.digest, len(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}
    if known:
        assert registry.started == 1
        assert stream.opened == [0, after]
        assert proxy.seen("PATCH")[1].headers["content-range"] == f"{after}-{len(BLOB) - 1}"


def test_ingest_cut_before_the_first_byte_starts_anew(
    repository: Repository, registry: Registry, proxy: FaultProxy
) -> None:
    proxy.rules.append(Rule("PATCH", Cut(0, of="request")))
    assert repository.ingest(Bytes(BLOB)) == (LARGE.digest, len(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}


def test_ingest_whose_answer_is_lost_does_not_send_again(
    repository: Repository, registry: Registry, proxy: FaultProxy
) -> None:
    proxy.rules.append(Rule("PATCH", Drop()))
    stream = Bytes(BLOB)
    assert repository.ingest(stream) == (LARGE.digest, len(BLOB))
    assert len(proxy.seen("PATCH")) == 1
    assert registry.blobs == {str(LARGE.digest): BLOB}


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_push_whose_last_answer_is_lost_finds_the_blob_there(
    repository: Repository, registry: Registry, proxy: FaultProxy, content: Descriptor
) -> None:
    proxy.rules.append(Rule("PUT", Drop()))
    repository.push(content, BytesContent(BLOB[: content.size]))
    assert registry.blobs == {str(content.digest): BLOB[: content.size]}
    assert len(proxy.seen("PUT")) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_push_to_a_busy_registry_tries_each_request_again(
    repository: Repository, registry: Registry, proxy: FaultProxy, method: str, status: int, content: Descriptor
) -> None:
    proxy.rules.append(Rule(method, Answer(status, {"Retry-After": "0"})))
    repository.push(content, BytesContent(BLOB[: content.size]))
    assert registry.blobs == {str(content.digest): BLOB[: content.size]}


def test_push_to_a_registry_that_stays_busy_fails_as_transient(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("PATCH", Answer(503), times=None))
    with pytest.raises(RegistryError, match="503 Service Unavailable") as caught:
        repository.push(LARGE, BytesContent(BLOB))
    assert caught.value.transient
    assert len(proxy.seen("PATCH")) == 4


def test_push_stalled_by_the_registry_gives_up_waiting_and_resumes(registry: Registry, proxy: FaultProxy) -> None:
    repository = Repository(Reference.parse(f"{proxy.address}/x"), connection=IMPATIENT)
    proxy.rules.append(Rule("PATCH", Stall(10, of="request", seconds=600)))
    repository.push(LARGE, BytesContent(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_push_changed_on_the_way_is_noticed_and_sent_again(
    repository: Repository, registry: Registry, proxy: FaultProxy, content: Descriptor
) -> None:
    proxy.rules.append(Rule("PATCH|PUT", Flip(5, of="request")))
    repository.push(content, BytesContent(BLOB[: content.size]))
    assert registry.blobs == {str(content.digest): BLOB[: content.size]}


def test_push_changed_on_every_way_is_an_integrity_error(
    repository: Repository, registry: Registry, proxy: FaultProxy
) -> None:
    proxy.rules.append(Rule("PATCH", Flip(5, of="request"), times=None))
    with pytest.raises(IntegrityError, match="received does not have the digest"):
        repository.push(LARGE, BytesContent(BLOB))
    assert registry.blobs == {}


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [
        (SMALL, BLOB[:99_999]),
        (SMALL, BLOB[:100_001]),
        (SMALL, b"x" * 100_000),
        (LARGE, BLOB[:-1]),
        (LARGE, BLOB + b"x"),
        (LARGE, BLOB[:-1] + b"x"),
    ],
)
def test_push_of_wrong_content_never_completes(
    repository: Repository, registry: Registry, descriptor: Descriptor, data: bytes
) -> None:
    with pytest.raises(IntegrityError):
        repository.push(descriptor, BytesContent(data))
    assert registry.blobs == {}
    assert registry.open == {}


class Failing:
    """Content whose reading fails half-way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def open(self, offset: int = 0) -> Reader:
        return _FailingReader(self._error)


class _FailingReader:
    def __init__(self, error: Exception) -> None:
        self._error, self._left = error, 2_000_000

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._left:
            raise self._error
        count = min(len(buffer), self._left)
        self._left -= count
        return count

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CancelledError("stop"), CancelledError),
        (OSError(5, "Input/output error"), InvalidError),
        (KeyError("bug"), KeyError),
    ],
)
def test_push_of_content_that_cannot_be_read_raises_the_cause_at_once(
    repository: Repository, registry: Registry, proxy: FaultProxy, error: Exception, kind: type[Exception]
) -> None:
    content: Content = Failing(error)
    with pytest.raises(kind):
        repository.push(LARGE, content)
    assert len(proxy.seen("PATCH")) == 1
    assert registry.blobs == {}
    if kind is not KeyError:
        assert registry.open == {}


def test_push_of_content_that_breaks_for_a_while_goes_on(repository: Repository, registry: Registry) -> None:
    class Shaky(BytesContent):
        broken = False

        def open(self, offset: int = 0) -> Reader:
            if self.broken:
                return super().open(offset)
            self.broken = True
            return _FailingReader(TransportError("the source was cut"))

    data = bytes(len(BLOB))
    descriptor = Descriptor.of("application/x", data)
    repository.push(descriptor, Shaky(data))
    assert registry.blobs == {str(descriptor.digest): data}


def test_ingest_where_requests_are_limited_sends_pieces(
    repository: Repository, registry: Registry, proxy: FaultProxy
) -> None:
    registry.limit = upload.PIECE // 16
    data = BLOB * 2
    assert repository.ingest(Bytes(data))[1] == len(data)
    assert list(registry.blobs.values()) == [data]
    lengths = [int(item.headers["content-length"]) for item in proxy.seen("PATCH")]
    assert max(lengths[3:]) <= registry.limit
    assert sum(length for length in lengths if length <= registry.limit) == len(data)


def test_ingest_of_unknown_size_where_requests_need_a_length_measures_first(
    repository: Repository, registry: Registry
) -> None:
    registry.needs_length = True
    stream = Bytes(BLOB, known=False)
    assert repository.ingest(stream) == (LARGE.digest, len(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}


def test_push_beyond_every_limit_says_so(repository: Repository, registry: Registry) -> None:
    registry.limit = 1000
    with pytest.raises(RegistryError, match="413") as caught:
        repository.push(LARGE, BytesContent(BLOB))
    assert "limits the size" in (caught.value.hint or "")


def test_ingest_to_a_registry_that_takes_a_part_only_sends_the_rest(
    repository: Repository, registry: Registry, proxy: FaultProxy
) -> None:
    registry.takes = 4_000_000
    stream = Bytes(BLOB)
    assert repository.ingest(stream) == (LARGE.digest, len(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}
    assert stream.opened == [0, 4_000_000]


def test_ingest_of_a_stream_of_another_size_is_refused(repository: Repository, registry: Registry) -> None:
    for size in (len(BLOB) - 1, len(BLOB) + 1):
        stream = Bytes(BLOB)
        stream.size = size
        with pytest.raises(IntegrityError, match="content to upload"):
            repository.ingest(stream)
    assert registry.blobs == {}
    assert registry.open == {}


def test_upload_that_ended_meanwhile_starts_anew(repository: Repository, registry: Registry, proxy: FaultProxy) -> None:
    proxy.rules.append(
        Rule("PATCH", Answer(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'))
    )
    repository.push(LARGE, BytesContent(BLOB))
    assert registry.started == 2
    assert registry.blobs == {str(LARGE.digest): BLOB}


def test_upload_out_of_step_asks_where_the_registry_is(
    repository: Repository, registry: Registry, proxy: FaultProxy
) -> None:
    proxy.rules.append(Rule("PATCH", Cut(1_000_000, of="request")))
    proxy.rules.append(Rule("PATCH", Answer(416)))
    repository.push(LARGE, BytesContent(BLOB))
    assert registry.started == 1
    assert registry.blobs == {str(LARGE.digest): BLOB}


@pytest.mark.parametrize("status", [401, 403])
def test_push_that_is_denied_says_so(repository: Repository, proxy: FaultProxy, status: int) -> None:
    proxy.rules.append(Rule("POST", Answer(status), times=None))
    with pytest.raises(AuthError) as caught:
        repository.push(LARGE, BytesContent(BLOB))
    assert caught.value.hint
    assert methods(proxy) == ["POST"]


def test_registry_that_does_not_say_where_to_upload_is_odd(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("POST", Answer(202)))
    with pytest.raises(KitcarError, match="does not say where an upload goes"):
        repository.push(SMALL, BytesContent(BLOB[:100_000]))


def test_early_refusal_of_a_large_upload_is_understood(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("PATCH", Answer(403, {"Content-Type": "text/plain"}, b"quota exceeded"), times=None))
    with pytest.raises(AuthError, match="quota exceeded"):
        repository.push(LARGE, BytesContent(BLOB))


@pytest.fixture
def github(registry: Registry) -> Iterator[tuple[StubServer, Repository]]:
    """The registry under a name whose owner wants the digest first, reached by a proxy."""
    with StubServer(registry) as server:
        connection = replace(QUICK, proxy=f"http://{server.address}")
        yield server, Repository(Reference.parse("ghcr.io/x"), connection=connection)


@pytest.mark.parametrize("known", [True, False])
def test_ingest_where_the_digest_comes_first_reads_twice_and_sends_once(
    github: tuple[StubServer, Repository], registry: Registry, known: bool
) -> None:
    server, repository = github
    stream = Bytes(BLOB, known=known)
    assert repository.ingest(stream) == (LARGE.digest, len(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}
    assert stream.opened == [0, 0]
    assert [item.method for item in server.asked] == ["HEAD", "POST", "PUT"]
    again = Bytes(BLOB, known=known)
    assert repository.ingest(again) == (LARGE.digest, len(BLOB))
    assert again.opened == [0]
    assert len(server.asked) == 4


def test_push_where_the_digest_comes_first_is_one_request(
    github: tuple[StubServer, Repository], registry: Registry
) -> None:
    server, repository = github
    repository.push(LARGE, BytesContent(BLOB))
    assert registry.blobs == {str(LARGE.digest): BLOB}
    assert [item.method for item in server.asked] == ["POST", "PUT"]


def test_upload_that_does_not_advance_is_an_error(
    repository: Repository, registry: Registry, proxy: FaultProxy
) -> None:
    registry.takes = 1_000_000
    proxy.rules.append(Rule("PATCH", Answer(202, {"Range": "0-999999"}), skip=1, times=None))
    with pytest.raises(RegistryError, match="takes no bytes"):
        repository.push(LARGE, BytesContent(BLOB))


def test_close_leaves_the_repository_usable(repository: Repository, registry: Registry) -> None:
    repository.push(SMALL, BytesContent(BLOB[:100_000]))
    repository.close()
    assert repository.exists(SMALL)
