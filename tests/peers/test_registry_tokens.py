"""Bearer tokens with Docker's registry, which checks their signatures, and credentials shared with a real kit."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from harness.kit import Kit
from harness.processes import Server, server
from harness.stub import Asked, Reply, StubServer
from kitcar.errors import AuthError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import Manifest
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent
from kitcar.oci.verify import VerifyingReader
from kitcar.registry.credentials import (
    ConfigFile,
    Credential,
    CredentialChain,
    CredentialSource,
    CredentialStore,
    FixedCredential,
)
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection

PLAIN = Connection(plain_http=True)
BLOB = hashlib.sha256(b"tokens").digest() * 200_000
LAYER = Descriptor.of("application/x.layer", BLOB)
CONFIG = Descriptor.of("application/x.config", b"{}")
MANIFEST = Manifest.build(CONFIG, (LAYER,))
READER, WRITER = Credential("reader", "pw"), Credential("writer", "pw")
ACTIONS = {"reader": {"pull"}, "writer": {"pull", "push", "delete"}}


class TokenServer:
    """Signs what an account may do of what it asks for; `identity` is exchanged for the writer's."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        leaf = self._authority.issue_cert("tokens")
        self._certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
        key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self.asked: list[str] = []

    @property
    def root(self) -> bytes:
        return self._authority.cert_pem.bytes()

    def __call__(self, request: Asked) -> Reply:
        query = parse_qs(request.body.decode() if request.method == "POST" else urlsplit(request.path).query)
        account = self._account(request, query)
        if not account:
            return Reply(401, {"Content-Type": "application/json"}, b'{"errors":[{"code":"UNAUTHORIZED"}]}')
        self.asked.append(account)
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": sorted(set(actions.split(",")) & ACTIONS[account])})
        return Reply(200, {}, json.dumps({"token": self._sign(account, access), "expires_in": 300}).encode())

    def _account(self, request: Asked, query: dict[str, list[str]]) -> str:
        if query.get("grant_type") == ["refresh_token"]:
            return "writer" if query["refresh_token"] == ["identity"] else ""
        encoded = request.headers.get("authorization", "").removeprefix("Basic ")
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        return name if name in ACTIONS and password == "pw" else ""

    def _sign(self, account: str, access: list[dict[str, object]]) -> str:
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims = {"iss": "tests", "sub": account, "aud": "registry", "exp": now + 300, "nbf": now - 10, "iat": now}
        text = ".".join(encoded(json.dumps(part).encode()) for part in (head, {**claims, "jti": "1", "access": access}))
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture
def tokens() -> TokenServer:
    return TokenServer()


@pytest.fixture
def registry(tokens: TokenServer, docker_registry_binary: Path, tmp_path: Path) -> Iterator[Server]:
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "root.pem").write_bytes(tokens.root)
    with StubServer(tokens) as stub:
        (tmp_path / "config.yml").write_text(
            f"""\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{root}"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
auth:
  token:
    realm: "http://{stub.address}/token"
    service: registry
    issuer: tests
    rootcertbundle: "{tmp_path / "root.pem"}"
"""
        )
        command: list[str | Path] = [docker_registry_binary, "serve", tmp_path / "config.yml"]
        with server(command, root=root, log=tmp_path / "log", port=r"listening on 127\.0\.0\.1:(\d+)") as running:
            yield dataclasses.replace(running)


def at(address: str, source: CredentialSource | None, name: str = "team/model") -> Repository:
    return Repository(Reference.parse(f"{address}/{name}"), connection=PLAIN, credentials=source or CredentialChain())


@pytest.mark.parametrize("credential", [WRITER, Credential(identity_token="identity")])
def test_token_registry_takes_an_artifact_and_gives_it(
    registry: Server, tokens: TokenServer, credential: Credential
) -> None:
    writer = at(registry.address, FixedCredential(credential))
    writer.ping()
    writer.push(LAYER, BytesContent(BLOB))
    writer.push(CONFIG, BytesContent(b"{}"))
    writer.push(MANIFEST.descriptor, BytesContent(MANIFEST.raw))
    writer.tag(MANIFEST.descriptor, "v1")
    reader = at(registry.address, FixedCredential(READER))
    assert reader.resolve("v1") == MANIFEST.descriptor
    assert b"".join(map(bytes, VerifyingReader(reader.fetch(LAYER), LAYER).chunks())) == BLOB
    assert list(reader.tags()) == ["v1"]
    other = writer.sibling("team/other")
    assert other.mount(LAYER, "team/model") is True
    writer.delete(MANIFEST.descriptor)
    assert len(tokens.asked) <= 7


def test_token_registry_refuses_what_the_account_may_not_do(registry: Server) -> None:
    with pytest.raises(AuthError, match=r"denies access|does not accept") as caught:
        at(registry.address, FixedCredential(READER)).push(LAYER, BytesContent(BLOB))
    assert caught.value.hint
    with pytest.raises(AuthError, match="without credentials"):
        at(registry.address, None).resolve("v1")
    with pytest.raises(AuthError, match="does not accept the credentials"):
        at(registry.address, FixedCredential(Credential("reader", "wrong"))).resolve("v1")


@pytest.mark.parametrize("mode", ["kit writes", "kitcar writes"])
def test_credentials_are_shared_with_kit(
    kit: Callable[..., Kit], docker_registry_auth: Server, tmp_path: Path, mode: str
) -> None:
    auth = docker_registry_auth
    runner, path = kit(), tmp_path / "kit-home" / "credentials.json"
    credential = Credential(auth.username, auth.password)
    if mode == "kit writes":
        runner("login", auth.address, "--plain-http", "-u", auth.username, "--password-stdin", stdin=auth.password)
    else:
        CredentialStore(path).save(auth.address, credential)
    assert ConfigFile(path).find(auth.address) == credential
    at(auth.address, CredentialChain.from_environment({}, path.parent)).ping()

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "Kitfile").write_text("manifestVersion: 1.0.0\ndocs:\n  - path: README.md\n")
    (folder / "README.md").write_text("hello\n")
    name = f"{auth.address}/shared/{mode.replace(' ', '-')}:v1"
    runner("pack", folder, "-t", name)
    runner("push", name, "--plain-http")

    if mode == "kit writes":
        assert CredentialStore(path).erase(auth.address) is True
    else:
        runner("logout", auth.address)
    assert ConfigFile(path).find(auth.address) is None
    assert runner("push", name, "--plain-http", check=False).returncode != 0


def test_file_that_kitcar_writes_is_kits_to_the_byte(
    kit: Callable[..., Kit], docker_registry_auth: Server, tmp_path: Path
) -> None:
    auth = docker_registry_auth
    runner = kit()
    runner("login", auth.address, "--plain-http", "-u", auth.username, "--password-stdin", stdin=auth.password)
    CredentialStore(tmp_path / "own.json").save(auth.address, Credential(auth.username, auth.password))
    theirs = tmp_path / "kit-home" / "credentials.json"
    assert (tmp_path / "own.json").read_bytes() == theirs.read_bytes()
    assert (tmp_path / "own.json").stat().st_mode == theirs.stat().st_mode
