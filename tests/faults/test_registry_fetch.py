"""Reading from a registry over a connection that fails on cue: right bytes, or a clear error."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.stub import Asked, Reply, StubServer
from kitcar.errors import (
    AuthError,
    IntegrityError,
    KitcarError,
    NotFoundError,
    RegistryError,
    TransportError,
    UnsupportedError,
)
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent
from kitcar.oci.verify import Ring, VerifyingReader
from kitcar.registry.repository import Repository
from kitcar.registry.retry import RetryPolicy
from kitcar.registry.settings import Connection, Timeouts
from kitcar.testing.proxy import Action, Alter, Answer, Cut, FaultProxy, Flip, Rule, Stall, Truncate

BLOB = hashlib.sha256(b"seed").digest() * 100_000
LAYER = Descriptor.of("application/x.layer", BLOB)
MANIFEST = Manifest.build(Descriptor.of("application/x.config", b"{}"), (LAYER,))
QUICK = Connection(
    plain_http=True,
    retry=RetryPolicy(attempts=3, base=0.001, retry_after_limit=0.01),
    timeouts=Timeouts(connect=20, read=20, idle=20),
)
IMPATIENT = replace(
    QUICK, timeouts=Timeouts(connect=20, read=0.5, idle=0.3), retry=RetryPolicy(attempts=20, base=0.001)
)


def registry(request: Asked) -> Reply:
    if "/blobs/" in request.path:
        content, kind = BLOB, media.OCTETS
    elif request.path.endswith(("/manifests/v1", str(MANIFEST.descriptor.digest))):
        content, kind = MANIFEST.raw, media.MANIFEST
    else:
        return Reply(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
    headers = {"Content-Type": kind, "Docker-Content-Digest": str(Digest.of(content))}
    if asked := request.headers.get("range"):
        start = int(asked.removeprefix("bytes=").partition("-")[0])
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Reply(206, headers, content[start:])
    return Reply(200, headers, content)


@pytest.fixture(scope="module")
def server() -> Iterator[StubServer]:
    with StubServer(registry) as server:
        yield server


@pytest.fixture
def proxy(server: StubServer) -> Iterator[FaultProxy]:
    host, _, port = server.address.rpartition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield proxy


@pytest.fixture
def repository(proxy: FaultProxy) -> Repository:
    return at(proxy.address)


@pytest.fixture
def unused_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def at(address: str, connection: Connection = QUICK) -> Repository:
    return Repository(Reference.parse(f"{address}/team/model"), connection=connection)


def fetched(repository: Repository) -> bytes:
    reader = VerifyingReader(repository.fetch(LAYER), LAYER, ring=Ring(4, 256 * 1024))
    return b"".join(bytes(chunk) for chunk in reader.chunks())


@pytest.mark.parametrize("after", [0, 1, 65_537, 2_000_000, len(BLOB) - 1])
@pytest.mark.parametrize("reset", [False, True])
def test_fetch_cut_mid_blob_resumes_from_what_was_received(
    repository: Repository, proxy: FaultProxy, after: int, reset: bool
) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Cut(after, reset=reset)))
    assert fetched(repository) == BLOB
    ranges = [item.headers.get("range") for item in proxy.seen("/blobs/")]
    assert len(ranges) == 2
    if not reset and after:
        assert ranges == [None, f"bytes={after}-{len(BLOB) - 1}"]


def test_fetch_cut_several_times_goes_on_while_something_arrives(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Cut(700_000), times=4))
    assert fetched(repository) == BLOB


def test_fetch_cut_for_ever_fails_as_transient(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Cut(0), times=None))
    with pytest.raises(TransportError, match=r"closed the connection \d+ bytes before the end") as caught:
        fetched(repository)
    assert caught.value.transient
    assert len(proxy.seen("/blobs/")) == 3


def test_fetch_stalled_mid_blob_resumes(proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Stall(1_500_000, seconds=600)))
    assert fetched(at(proxy.address, IMPATIENT)) == BLOB


def test_fetch_without_an_answer_in_time_tries_again(proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Stall(0, of="request", seconds=600)))
    assert fetched(at(proxy.address, IMPATIENT)) == BLOB


@pytest.mark.parametrize("after", [0, 1_000_000])
def test_fetch_of_a_blob_that_looks_complete_and_is_short_fetches_the_rest(
    repository: Repository, proxy: FaultProxy, after: int
) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Truncate(after)))
    if after:
        assert fetched(repository) == BLOB
    else:
        with pytest.raises(IntegrityError, match="ends after 0 of"):
            fetched(repository)


def test_fetch_of_a_blob_that_stays_short_is_refused(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Truncate(1000)))
    proxy.rules.append(Rule("GET .*/blobs/", Answer(416), times=None))
    with pytest.raises(IntegrityError, match=f"ends after 1000 of {len(BLOB)} bytes"):
        fetched(repository)


@pytest.mark.parametrize("at", [0, 1_234_567, len(BLOB) - 1])
def test_fetch_of_corrupt_bytes_is_refused(repository: Repository, proxy: FaultProxy, at: int) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Flip(at)))
    with pytest.raises(IntegrityError, match="has the digest"):
        fetched(repository)


def test_fetch_resumed_without_ranges_is_still_whole(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Cut(1_000_000)))
    proxy.rules.append(Rule("GET .*/blobs/", Alter(request={"Range": None})))
    assert fetched(repository) == BLOB


def test_fetch_range_starts_in_the_middle_or_says_that_it_cannot(repository: Repository, proxy: FaultProxy) -> None:
    buffer = memoryview(bytearray(10))
    assert repository.fetch_range(LAYER, len(BLOB) - 10).readinto(buffer) == 10
    assert bytes(buffer) == BLOB[-10:]
    proxy.rules.append(Rule("GET .*/blobs/", Alter(request={"Range": None})))
    with pytest.raises(UnsupportedError, match="from the middle"):
        repository.fetch_range(LAYER, 10)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_fetch_of_a_busy_registry_waits_and_tries_again(repository: Repository, proxy: FaultProxy, status: int) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Answer(status, {"Retry-After": "3600"}), times=2))
    assert fetched(repository) == BLOB
    assert len(proxy.seen("/blobs/")) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(401), AuthError, "wants credentials for blob"),
        (Answer(403), AuthError, "denies access to blob"),
        (Answer(404), NotFoundError, "blob sha256:.* not found"),
        (Answer(429, {"Retry-After": "0"}), RegistryError, "asks to slow down"),
        (Answer(503), RegistryError, "failed .*503 Service Unavailable"),
        (Answer(400, {"Content-Type": "text/plain"}, b"why not"), RegistryError, r"400 Bad Request \(why not\)"),
    ],
)
def test_fetch_that_is_refused_for_good_says_why(
    repository: Repository, proxy: FaultProxy, answer: Answer, kind: type[KitcarError], words: str
) -> None:
    proxy.rules.append(Rule("GET", answer, times=None))
    with pytest.raises(kind, match=words) as caught:
        repository.fetch(LAYER)
    assert caught.value.hint or answer.status == 400
    assert len(proxy.requests) == (3 if answer.status in {429, 503} else 1)


def test_resolve_gives_the_digest_of_the_bytes_and_spares_the_next_request(
    repository: Repository, proxy: FaultProxy
) -> None:
    descriptor = repository.resolve("v1")
    assert descriptor == MANIFEST.descriptor
    assert VerifyingReader(repository.fetch(descriptor), descriptor).read() == MANIFEST.raw
    assert len(proxy.requests) == 1
    assert repository.resolve(str(descriptor.digest)) == descriptor


@pytest.mark.parametrize("action", [Flip(20), Alter(response={"Docker-Content-Digest": str(Digest.of(b"other"))})])
def test_resolve_of_bytes_that_are_not_what_the_registry_says_is_refused(
    repository: Repository, proxy: FaultProxy, action: Action
) -> None:
    proxy.rules.append(Rule("/manifests/", action))
    with pytest.raises(IntegrityError, match="has the digest"):
        repository.resolve("v1")


def test_resolve_by_digest_does_not_believe_what_the_registry_says(repository: Repository, proxy: FaultProxy) -> None:
    wanted = str(MANIFEST.descriptor.digest)
    proxy.rules.append(
        Rule("/manifests/", Answer(200, {"Docker-Content-Digest": wanted, "Content-Type": media.MANIFEST}, b"{}"))
    )
    with pytest.raises(IntegrityError):
        repository.resolve(wanted)


def test_resolve_without_a_digest_header_computes_it(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("/manifests/", Alter(response={"Docker-Content-Digest": None})))
    assert repository.resolve("v1") == MANIFEST.descriptor


@pytest.mark.parametrize("after", [0, 100])
def test_resolve_cut_mid_manifest_tries_again(repository: Repository, proxy: FaultProxy, after: int) -> None:
    proxy.rules.append(Rule("/manifests/", Cut(after)))
    assert repository.resolve("v1") == MANIFEST.descriptor


def test_resolve_of_what_is_not_there_names_it(repository: Repository) -> None:
    with pytest.raises(NotFoundError, match=r"127\.0\.0\.1:\d+/team/model:v2 not found .*MANIFEST_UNKNOWN"):
        repository.resolve("v2")


def test_resolve_of_something_else_than_a_manifest_is_refused(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("/manifests/", Answer(200, {"Content-Type": "text/html"}, b"<html>")))
    with pytest.raises(KitcarError, match="not a manifest"):
        repository.resolve("v1")


def test_resolve_of_an_endless_manifest_stops_reading(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("/manifests/", Answer(200, {}, b" " * (5 << 20))))
    with pytest.raises(IntegrityError, match="more than"):
        repository.resolve("v1")


def test_fetch_of_a_registry_that_is_not_there_is_a_clear_error(unused_address: str) -> None:
    with pytest.raises(TransportError, match=rf"{unused_address} refuses connections") as caught:
        at(unused_address).resolve("v1")
    assert caught.value.hint


@pytest.mark.parametrize(("hasty", "transient"), [(False, True), (True, False)])
def test_registry_that_never_answered_is_asked_again_only_by_the_patient(
    unused_address: str, hasty: bool, transient: bool
) -> None:
    with pytest.raises(TransportError, match="refuses connections") as caught:
        at(unused_address, QUICK.hasty() if hasty else QUICK).resolve("v1")
    assert caught.value.transient is transient


def test_registry_that_answered_and_then_went_away_is_asked_again_by_the_hasty_too() -> None:
    with StubServer(registry) as server:
        repository = at(server.address, QUICK.hasty())
        repository.resolve("v1")
        repository.close()
    with pytest.raises(TransportError, match="refuses connections") as caught:
        repository.resolve("v1")
    assert caught.value.transient


def test_redirect_to_another_host_gets_the_request_and_not_the_credentials(
    repository: Repository, proxy: FaultProxy, server: StubServer
) -> None:
    seen: list[Asked] = []

    def storage(request: Asked) -> Reply:
        seen.append(request)
        return registry(request)

    with StubServer(storage) as other:
        proxy.rules.append(
            Rule("GET .*/blobs/", Answer(307, {"Location": f"http://{other.address}/cdn/blobs/x?sig=1"}), times=None)
        )
        assert fetched(repository) == BLOB
    assert [item.path for item in seen] == ["/cdn/blobs/x?sig=1"]


def test_redirect_in_circles_ends(repository: Repository, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Answer(302, {"Location": "again"}), times=None))
    with pytest.raises(TransportError, match="redirects in circles"):
        repository.fetch(LAYER)


@pytest.mark.parametrize("location", ["ftp://x/y", "file:///etc/passwd", "http://[broken/"])
def test_redirect_to_something_else_than_http_is_not_followed(
    repository: Repository, proxy: FaultProxy, location: str
) -> None:
    proxy.rules.append(Rule("GET .*/blobs/", Answer(302, {"Location": location}), times=None))
    with pytest.raises(KitcarError):
        repository.fetch(LAYER)


def test_connections_serve_again(repository: Repository, server: StubServer) -> None:
    direct = at(server.address)
    before = len(server.asked)
    for _ in range(3):
        assert fetched(direct) == BLOB
        assert direct.exists(LAYER)
    assert len(server.asked) - before == 6


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        (media.MANIFEST, b'{"schemaVersion":2}', media.MANIFEST),
        (f"{media.INDEX}; charset=utf-8", b'{"schemaVersion":2}', media.INDEX),
        ("application/json", b'{"manifests":[]}', media.INDEX),
        ("application/json", b'{"layers":[]}', media.MANIFEST),
        (media.MANIFEST, b'{"mediaType":"%s"}' % media.INDEX.encode(), media.INDEX),
    ],
)
def test_resolve_takes_the_kind_from_the_manifest_then_from_the_registry(
    repository: Repository, proxy: FaultProxy, kind: str, raw: bytes, expected: str
) -> None:
    proxy.rules.append(Rule("/manifests/", Answer(200, {"Content-Type": kind}, raw)))
    assert repository.resolve("v1") == Descriptor(expected, Digest.of(raw), len(raw))


def test_manifest_larger_than_registries_take_is_refused_before_it_is_asked_for(
    repository: Repository, proxy: FaultProxy
) -> None:
    huge = Descriptor(media.MANIFEST, Digest.of(b"x"), 5 << 20)
    for action in (lambda: repository.push(huge, BytesContent(b"x")), lambda: repository.tag(huge, "v1")):
        with pytest.raises(KitcarError, match="at most"):
            action()
    assert proxy.requests == []


def test_read_of_an_endless_answer_is_bounded(proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET", Answer(500, {"Content-Type": "text/plain"}, b"x" * (1 << 20)), times=None))
    with pytest.raises(RegistryError) as caught:
        at(proxy.address).resolve("v1")
    assert len(str(caught.value)) < 600
