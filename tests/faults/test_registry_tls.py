"""TLS and proxies: what is trusted, what is shown, and what a mismatch says."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from harness.stub import Asked, Reply, StubServer
from kitcar.errors import AuthError, InvalidError, RegistryError, TransportError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent
from kitcar.oci.verify import VerifyingReader
from kitcar.registry.credentials import Credential, CredentialChain, FixedCredential
from kitcar.registry.repository import Repository
from kitcar.registry.retry import NEVER
from kitcar.registry.settings import Connection
from kitcar.testing.proxy import Answer, FaultProxy, Rule

BLOB = bytes(range(256)) * 20_000
LAYER = Descriptor.of("application/x", BLOB)


class Store:
    """Gives the blob, and takes what is sent."""

    def __init__(self) -> None:
        self.taken = b""

    def __call__(self, request: Asked) -> Reply:
        if request.method in {"GET", "HEAD"}:
            return Reply(200, {}, BLOB)
        self.taken += request.body
        return Reply(201 if request.method == "PUT" else 202, {"Location": "/v2/x/blobs/uploads/1"})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def server(authority: trustme.CA, store: Store) -> Iterator[StubServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with StubServer(store, tls=context) as server:
        yield server


@pytest.fixture
def plain(store: Store) -> Iterator[StubServer]:
    with StubServer(store) as server:
        yield server


def at(address: str, connection: Connection, credential: Credential | None = None) -> Repository:
    chain = CredentialChain([FixedCredential(credential)] if credential else [])
    return Repository(Reference.parse(f"{address}/x"), connection=connection, credentials=chain)


def fetch(repository: Repository) -> bytes:
    return VerifyingReader(repository.fetch(LAYER), LAYER).read()


def trusting(*ca_files: str, **settings: object) -> Connection:
    return Connection(ca_files=ca_files, retry=NEVER, **settings)  # type: ignore[arg-type]


def test_authority_that_was_added_is_trusted(server: StubServer, store: Store, ca_file: str) -> None:
    mine = at(server.address, trusting(ca_file))
    assert fetch(mine) == BLOB
    mine.push(LAYER, BytesContent(BLOB))
    assert store.taken == BLOB


def test_bundle_of_the_environment_is_trusted_in_the_systems_place(server: StubServer, ca_file: str) -> None:
    connection = Connection.from_environment({"SSL_CERT_FILE": ca_file}, retry=NEVER)
    assert fetch(at(server.address, connection)) == BLOB


def test_unknown_authority_is_refused_at_once_with_a_hint(server: StubServer) -> None:
    with pytest.raises(TransportError, match=r"certificate of .* cannot be verified") as caught:
        fetch(at(server.address, Connection()))
    assert not caught.value.transient
    assert "--tls-cert" in (caught.value.hint or "")
    assert server.asked == []


def test_certificate_of_another_name_is_refused(authority: trustme.CA, store: Store, ca_file: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("registry.example").configure_cert(context)
    with StubServer(store, tls=context) as server, pytest.raises(TransportError, match="cannot be verified"):
        fetch(at(server.address, trusting(ca_file)))


def test_verification_that_is_turned_off_takes_any_certificate_without_a_warning(server: StubServer) -> None:
    assert fetch(at(server.address, trusting(verify_tls=False))) == BLOB


def test_client_certificate_is_shown(authority: trustme.CA, store: Store, ca_file: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    own = authority.issue_cert("client@example.org")
    (tmp_path / "cert.pem").write_bytes(b"".join(item.bytes() for item in own.cert_chain_pems))
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    files = {"client_cert": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")}
    with StubServer(store, tls=context) as server:
        assert fetch(at(server.address, trusting(ca_file, **files))) == BLOB
        with pytest.raises(TransportError):
            fetch(at(server.address, trusting(ca_file)))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_to_a_plain_server_says_plain_http_also_on_this_machine(plain: StubServer, host: str) -> None:
    address = plain.address.replace("127.0.0.1", host)
    with pytest.raises(TransportError, match=f"{address} does not speak TLS") as caught:
        fetch(at(address, Connection()))
    assert "--plain-http" in (caught.value.hint or "")
    assert not caught.value.transient


def test_plain_http_to_a_tls_server_is_a_clear_error(server: StubServer) -> None:
    with pytest.raises((TransportError, RegistryError)) as caught:
        fetch(at(server.address, Connection(plain_http=True, retry=NEVER)))
    assert server.address in str(caught.value)


@pytest.mark.parametrize("field", ["ca_bundle", "client_cert"])
def test_certificate_file_that_cannot_be_used_is_named(tmp_path: Path, field: str) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for path in (tmp_path / "absent.pem", junk):
        with pytest.raises(InvalidError, match=path.name):
            fetch(at("127.0.0.1:9", Connection(retry=NEVER, **{field: str(path)})))  # type: ignore[arg-type]
        with pytest.raises(InvalidError, match=path.name):
            fetch(at("127.0.0.1:9", trusting(str(path))))


def test_credentials_are_not_sent_to_a_token_server_in_the_clear(
    authority: trustme.CA, ca_file: str, plain: StubServer
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{plain.address}/token"'}
    with (
        StubServer(lambda _: Reply(401, challenge), tls=context) as server,
        pytest.raises(AuthError, match="does not use TLS"),
    ):
        fetch(at(server.address, trusting(ca_file), Credential("me", "pw")))
    assert plain.asked == []


def test_location_of_a_registry_that_believes_in_plain_http_stays_with_tls(authority: trustme.CA, ca_file: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def answer(request: Asked) -> Reply:
        if request.method == "POST":
            return Reply(202, {"Location": "http://127.0.0.1/v2/x/blobs/uploads/1"})
        return Reply(201)

    with StubServer(answer, tls=context) as server:
        small = Descriptor.of("application/x", b"small")
        at(server.address, trusting(ca_file)).push(small, BytesContent(b"small"))
        assert [item.method for item in server.asked] == ["POST", "PUT"]


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", 9) as proxy:
        yield proxy


def test_proxy_forwards_plain_requests(proxy: FaultProxy, plain: StubServer) -> None:
    mine = at(plain.address, Connection(plain_http=True, proxy=f"http://me:pw@{proxy.address}", retry=NEVER))
    assert fetch(mine) == BLOB
    (asked,) = proxy.requests
    assert asked.path.startswith(f"http://{plain.address}/v2/x/blobs/")
    assert asked.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"me:pw").decode()


def test_proxy_tunnels_tls_and_sees_no_credentials(proxy: FaultProxy, server: StubServer, ca_file: str) -> None:
    mine = at(server.address, trusting(ca_file, proxy=f"http://me:pw@{proxy.address}"))
    assert fetch(mine) == BLOB
    assert mine.exists(LAYER)
    (asked,) = proxy.requests
    assert (asked.method, asked.path) == ("CONNECT", server.address)
    assert "proxy-authorization" in asked.headers
    assert all("proxy-authorization" not in item.headers for item in server.asked)


def test_proxy_that_refuses_is_a_clear_error_without_its_password(
    proxy: FaultProxy, server: StubServer, ca_file: str
) -> None:
    with pytest.raises(TransportError) as caught:
        fetch(at(server.address, trusting(ca_file, proxy="http://me:secret@127.0.0.1:9")))
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_proxy_of_the_environment_is_not_asked_for_this_machine(proxy: FaultProxy, plain: StubServer) -> None:
    environ = {"HTTP_PROXY": f"http://{proxy.address}", "HTTPS_PROXY": f"http://{proxy.address}"}
    connection = Connection.from_environment(environ, plain_http=True)
    assert fetch(at(plain.address, connection)) == BLOB
    assert proxy.requests == []


def test_proxy_that_answers_in_the_registrys_place_is_told_apart(proxy: FaultProxy, plain: StubServer) -> None:
    proxy.rules.append(Rule("GET", Answer(407, {"Proxy-Authenticate": "Basic"}), times=None))
    with pytest.raises(RegistryError, match="407"):
        fetch(at(plain.address, Connection(plain_http=True, proxy=f"http://{proxy.address}", retry=NEVER)))
