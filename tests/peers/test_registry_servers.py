"""`Repository` against real registries: Docker's, open and with a password, and go-containerregistry's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes import Server
from kitcar.errors import AuthError, IntegrityError, KitcarError, NotFoundError, RegistryError, UnsupportedError
from kitcar.oci import media
from kitcar.oci.copy import CopyOptions, copy
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Index, Manifest
from kitcar.oci.progress import Event, Step
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent
from kitcar.oci.verify import VerifyingReader, fill
from kitcar.registry.client import Client
from kitcar.registry.credentials import Credential, CredentialChain, FixedCredential
from kitcar.registry.repository import Repository
from kitcar.registry.retry import RetryPolicy
from kitcar.registry.settings import Connection
from kitcar.testing.proxy import Cut, Drop, FaultProxy, Flip, Rule, Truncate

BLOB = hashlib.sha256(b"peers").digest() * 300_000
LAYER = Descriptor.of("application/x.layer", BLOB)
CONFIG = Descriptor.of("application/x.config", b"{}")
MANIFEST = Manifest.build(CONFIG, (LAYER,), artifact_type="application/x")
QUICK = Connection(plain_http=True, retry=RetryPolicy(base=0.001))


@pytest.fixture(params=["docker", "crane"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"{request.param}_registry")
    return found


def at(address: str, name: str, credential: Credential | None = None) -> Repository:
    chain = CredentialChain([FixedCredential(credential)] if credential else [])
    return Repository(Reference.parse(f"{address}/{name}"), connection=QUICK, credentials=chain)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of this test alone."""
    return "kitcar/" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]


@pytest.fixture
def repository(server: Server, name: str) -> Repository:
    return at(server.address, name)


def fill_with_artifact(repository: Repository) -> None:
    repository.push(LAYER, BytesContent(BLOB))
    repository.push(CONFIG, BytesContent(b"{}"))
    repository.push(MANIFEST.descriptor, BytesContent(MANIFEST.raw))
    repository.tag(MANIFEST.descriptor, "v1")


def read(repository: Repository, descriptor: Descriptor) -> bytes:
    return b"".join(bytes(chunk) for chunk in VerifyingReader(repository.fetch(descriptor), descriptor).chunks())


class Made:
    """A stream over bytes that counts how often it was opened; see `Stream`."""

    def __init__(self, data: bytes, *, known: bool = True) -> None:
        self.size = len(data) if known else None
        self.opened: list[int] = []
        self._data = data

    def chunks(self, offset: int = 0) -> Iterator[memoryview]:
        self.opened.append(offset)
        for start in range(offset, len(self._data), 1 << 20):
            yield memoryview(self._data)[start : start + (1 << 20)]

    def digest(self) -> Digest:
        return Digest.of(self._data)


def test_artifact_that_was_pushed_is_found_resolved_and_fetched(repository: Repository) -> None:
    assert not repository.exists(LAYER)
    assert not repository.exists(MANIFEST.descriptor)
    fill_with_artifact(repository)
    assert repository.exists(LAYER)
    assert repository.exists(MANIFEST.descriptor)
    assert repository.resolve("v1") == repository.resolve(str(MANIFEST.descriptor.digest)) == MANIFEST.descriptor
    fresh = repository.sibling(repository.reference.repository)
    assert read(fresh, MANIFEST.descriptor) == MANIFEST.raw
    assert read(fresh, LAYER) == BLOB
    with pytest.raises(NotFoundError):
        repository.resolve("v2")
    with pytest.raises(NotFoundError):
        repository.fetch(Descriptor.of("x", b"none"))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("data", [b"", b"small", BLOB + b"x"])
def test_ingest_stores_what_has_no_digest_yet(repository: Repository, known: bool, data: bytes) -> None:
    stream = Made(data, known=known)
    assert repository.ingest(stream) == (Digest.of(data), len(data))
    assert read(repository, Descriptor.of("application/x", data)) == data
    assert len(stream.opened) <= (1 if len(data) > len(BLOB) else 2)


def test_fetch_range_starts_in_the_middle(docker_registry: Server, name: str) -> None:
    repository = at(docker_registry.address, name)
    repository.push(LAYER, BytesContent(BLOB))
    buffer = memoryview(bytearray(100))
    assert fill(repository.fetch_range(LAYER, len(BLOB) - 50), buffer) == 50
    assert bytes(buffer[:50]) == BLOB[-50:]


def test_copy_between_registries_and_again_sends_nothing(
    docker_registry: Server, crane_registry: Server, name: str
) -> None:
    source, target = at(docker_registry.address, name), at(crane_registry.address, name)
    fill_with_artifact(source)
    copy(source, target, source.resolve("v1"), tags=("v1", "v2"))
    assert list(target.tags()) == ["v1", "v2"]
    assert read(target, LAYER) == BLOB
    seen: list[Event] = []
    copy(source, target, source.resolve("v1"), options=CopyOptions(listener=seen.append))
    assert {event.step for event in seen} == {Step.EXISTS}


def test_mount_spares_the_upload(docker_registry: Server, name: str) -> None:
    repository = at(docker_registry.address, name)
    repository.push(LAYER, BytesContent(BLOB))
    other = repository.sibling(f"{name}-other")
    assert not other.exists(LAYER)
    assert other.mount(LAYER, name) is True
    assert read(other, LAYER) == BLOB
    assert other.mount(Descriptor.of("x", b"none"), name) is False


def test_tags_over_more_than_one_page(repository: Repository) -> None:
    fill_with_artifact(repository)
    wanted = sorted(["v1", *(f"t{n}" for n in range(30))])
    for tag in wanted:
        repository.tag(MANIFEST.descriptor, tag)
    assert list(repository.tags()) == wanted


def test_referrers_by_the_api_or_by_the_tag(repository: Repository) -> None:
    fill_with_artifact(repository)
    kinds = ("application/x.signature", "application/x.report")
    # go-containerregistry reports the config's type as the artifact's, so here they are the same.
    made = [
        Manifest.build(Descriptor.of(kind, b"{}"), (), annotations={"of": kind}, subject=MANIFEST.descriptor)
        for kind in kinds
    ]
    for manifest in made:
        repository.push(manifest.descriptor, BytesContent(manifest.raw))
    found = repository.referrers(MANIFEST.descriptor)
    assert set(found) == {manifest.descriptor for manifest in made}
    (one,) = repository.referrers(MANIFEST.descriptor, kinds[1])
    assert (one.artifact_type, one.annotations) == (kinds[1], {"of": kinds[1]})
    repository.delete(made[0].descriptor)
    assert repository.referrers(MANIFEST.descriptor) == (made[1].descriptor,)


def test_delete_removes_manifests_and_blobs(docker_registry: Server, name: str) -> None:
    repository = at(docker_registry.address, name)
    fill_with_artifact(repository)
    repository.delete(MANIFEST.descriptor)
    assert list(repository.tags()) == []
    with pytest.raises(NotFoundError):
        repository.resolve("v1")
    repository.delete(LAYER)
    assert not repository.exists(LAYER)
    with pytest.raises(NotFoundError):
        repository.delete(LAYER)
    with pytest.raises((UnsupportedError, NotFoundError)):
        repository.untag("v1")


def test_index_of_manifests_is_a_manifest_too(repository: Repository) -> None:
    fill_with_artifact(repository)
    index = Index.build((MANIFEST.descriptor,))
    repository.push(index.descriptor, BytesContent(index.raw))
    repository.tag(index.descriptor, "all")
    assert repository.resolve("all") == Descriptor(media.INDEX, Digest.of(index.raw), len(index.raw))


def test_manifest_whose_layers_are_missing_is_refused_with_the_registrys_words(
    docker_registry: Server, name: str
) -> None:
    with pytest.raises(RegistryError, match=r"MANIFEST_BLOB_UNKNOWN|MANIFEST_INVALID"):
        at(docker_registry.address, name).push(MANIFEST.descriptor, BytesContent(MANIFEST.raw))


@pytest.fixture
def proxy(docker_registry: Server) -> Iterator[FaultProxy]:
    host, _, port = docker_registry.address.rpartition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield proxy


@pytest.mark.parametrize("after", [0, 1, 5_000_000, len(BLOB) - 1])
@pytest.mark.parametrize("reset", [False, True])
def test_upload_that_is_cut_is_whole_in_the_end(proxy: FaultProxy, name: str, after: int, reset: bool) -> None:
    proxy.rules.append(Rule("PATCH", Cut(after, of="request", reset=reset)))
    repository = at(proxy.address, name)
    assert repository.ingest(Made(BLOB)) == (LAYER.digest, len(BLOB))
    assert read(repository, LAYER) == BLOB


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_upload_whose_answer_is_lost_is_whole_in_the_end(proxy: FaultProxy, name: str, method: str) -> None:
    proxy.rules.append(Rule(method, Drop()))
    repository = at(proxy.address, name)
    repository.push(LAYER, BytesContent(BLOB))
    assert read(repository, LAYER) == BLOB


def test_upload_that_is_changed_on_the_way_is_sent_again(proxy: FaultProxy, name: str) -> None:
    proxy.rules.append(Rule("PATCH", Flip(6_000_000, of="request")))
    repository = at(proxy.address, name)
    repository.push(LAYER, BytesContent(BLOB))
    assert read(repository, LAYER) == BLOB


@pytest.mark.parametrize("fault", [Cut(5_000_000), Cut(5_000_000, reset=True), Truncate(5_000_000)])
def test_download_that_is_cut_goes_on_by_range(proxy: FaultProxy, name: str, fault: Cut | Truncate) -> None:
    repository = at(proxy.address, name)
    repository.push(LAYER, BytesContent(BLOB))
    proxy.rules.append(Rule("GET .*/blobs/", fault))
    assert read(repository, LAYER) == BLOB
    assert "range" in proxy.seen("GET .*/blobs/")[1].headers


def test_download_that_is_changed_on_the_way_is_refused(proxy: FaultProxy, name: str) -> None:
    repository = at(proxy.address, name)
    repository.push(LAYER, BytesContent(BLOB))
    proxy.rules.append(Rule("GET .*/blobs/", Flip(5_000_000)))
    with pytest.raises(IntegrityError):
        read(repository, LAYER)


def test_password_registry_takes_the_right_one_only(docker_registry_auth: Server, name: str) -> None:
    server = docker_registry_auth
    right, wrong = Credential(server.username, server.password), Credential(server.username, "wrong")
    repository = at(server.address, name, right)
    fill_with_artifact(repository)
    assert read(repository, LAYER) == BLOB
    Client(server.address, QUICK, FixedCredential(right)).ping()
    for credential, words in ((wrong, "does not accept"), (None, "wants credentials")):
        with pytest.raises(AuthError, match=words):
            at(server.address, name, credential).resolve("v1")
        with pytest.raises(AuthError, match=words):
            at(server.address, name, credential).push(LAYER, BytesContent(BLOB))


def test_plain_registry_asked_by_tls_says_plain_http(docker_registry: Server, tmp_path: Path) -> None:
    repository = Repository(Reference.parse(f"{docker_registry.address}/x"), connection=Connection())
    with pytest.raises(KitcarError, match="does not speak TLS") as caught:
        repository.resolve("v1")
    assert "--plain-http" in (caught.value.hint or "")
