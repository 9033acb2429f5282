"""Basic and Bearer authorization against real servers: who is told what, how often, and what a refusal says."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.stub import Asked, Reply, StubServer
from kitcar.errors import AuthError, KitcarError, TransportError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent, Reader
from kitcar.oci.verify import VerifyingReader
from kitcar.registry.authorization import Authorization
from kitcar.registry.client import Client
from kitcar.registry.credentials import Credential, CredentialChain, FixedCredential
from kitcar.registry.repository import Repository
from kitcar.registry.retry import RetryPolicy
from kitcar.registry.settings import Connection
from kitcar.registry.transport import Request, Transport

ME = Credential("me", "pass:word-secret")
BLOB = b"blob" * 1000
LAYER = Descriptor.of("application/x", BLOB)
LARGE = Descriptor.of("application/x", b"large" * 2_000_000)
QUICK = Connection(plain_http=True, retry=RetryPolicy(attempts=3, base=0.001))


class Tokens:
    """A token server: who asks rightly gets a token, which it remembers with its scopes."""

    def __init__(self) -> None:
        self.given: dict[str, list[str]] = {}
        self.life: object = 300
        self.anonymous = False
        self.member = "token"
        self._lock = threading.Lock()

    def __call__(self, request: Asked) -> Reply:
        query = parse_qs(urlsplit(request.path).query)
        if request.method == "POST":
            query = parse_qs(request.body.decode())
            allowed = query.get("grant_type") == ["refresh_token"] and query.get("refresh_token") == ["identity-secret"]
        else:
            allowed = request.headers.get("authorization") == basic(ME)
        if not allowed and not (self.anonymous and "authorization" not in request.headers):
            return Reply(
                401, {"Content-Type": "application/json"}, b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}'
            )
        assert query["service"] == ["the registry"]
        with self._lock:
            token = f"token-{len(self.given)}"
            self.given[token] = [scope for item in query.get("scope", []) for scope in item.split()]
        return Reply(200, {}, json.dumps({self.member: token, "expires_in": self.life}).encode())


class Guarded:
    """A registry that takes tokens of a token server, or a name and password if it has none."""

    def __init__(self) -> None:
        self.tokens: Tokens | None = None
        self.realm = ""
        self.revoked: set[str] = set()
        self.refusals = 0
        self.uploaded = b""
        self.elsewhere = ""

    def __call__(self, request: Asked) -> Reply:
        path = urlsplit(request.path).path
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(request.method, "push")
        if "/uploads/" in path and request.method == "GET":
            action = "push"
        name = path.removeprefix("/v2/").partition("/blobs/")[0]
        if not self._allowed(request, name, action):
            self.refusals += 1
            return Reply(401, {"WWW-Authenticate": self._challenge(name, action)})
        if self.elsewhere and "/uploads/" not in path:
            return Reply(307, {"Location": self.elsewhere})
        if path.endswith("/uploads/"):
            return Reply(202, {"Location": f"/v2/{name}/blobs/uploads/1"})
        if "/uploads/" in path:
            self.uploaded += request.body
            return Reply(201 if request.method == "PUT" else 202)
        return Reply(404 if path.endswith(str(LARGE.digest)) else 200, {}, BLOB)

    def _allowed(self, request: Asked, name: str, action: str) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if self.tokens is None:
            return f"{kind} {token}" == basic(ME)
        if kind != "Bearer" or token in self.revoked:
            return False
        scopes = self.tokens.given.get(token, ["repository:any:any"] if token == "fixed-secret" else [])
        resources = {scope.rpartition(":")[0]: scope.rpartition(":")[2].split(",") for scope in scopes}
        return token == "fixed-secret" or path_is_root(name) or action in resources.get(f"repository:{name}", [])

    def _challenge(self, name: str, action: str) -> str:
        if self.tokens is None:
            return 'Basic realm="the registry"'
        scope = f',scope="repository:{name}:{action}"' if name else ""
        return f'Bearer realm="{self.realm}",service="the registry"{scope}'


def path_is_root(name: str) -> bool:
    return not name


def basic(credential: Credential) -> str:
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


@pytest.fixture
def server(guarded: Guarded) -> Iterator[StubServer]:
    with StubServer(guarded) as server:
        yield server


@pytest.fixture
def tokens(guarded: Guarded) -> Iterator[StubServer]:
    guarded.tokens = Tokens()
    with StubServer(guarded.tokens) as server:
        guarded.realm = f"http://{server.address}/token"
        yield server


Make = Callable[..., Repository]


@pytest.fixture
def repository(server: StubServer) -> Make:
    def make(credential: Credential | None = None, name: str = "team/model") -> Repository:
        chain = CredentialChain([FixedCredential(credential, server.address)] if credential else [])
        return Repository(Reference.parse(f"{server.address}/{name}"), connection=QUICK, credentials=chain)

    return make


def fetch(repository: Repository) -> bytes:
    return VerifyingReader(repository.fetch(LAYER), LAYER).read()


def test_basic_is_sent_once_it_was_asked_for(repository: Make, server: StubServer) -> None:
    mine = repository(ME)
    assert fetch(mine) == BLOB
    assert fetch(mine) == BLOB
    assert [item.headers.get("authorization") for item in server.asked] == [None, basic(ME), basic(ME)]


@pytest.mark.parametrize(
    "credential", [Credential("me", "wrong-secret"), None, Credential(identity_token="identity-secret")]
)
def test_basic_that_is_refused_is_not_sent_again(
    repository: Make, server: StubServer, credential: Credential | None
) -> None:
    with pytest.raises(AuthError) as caught:
        fetch(repository(credential))
    assert caught.value.status == 401
    assert "kitcar login" in (caught.value.hint or "")
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert len(server.asked) <= 2


def test_bearer_token_is_fetched_once_and_used_again(repository: Make, server: StubServer, tokens: StubServer) -> None:
    mine = repository(ME)
    for _ in range(3):
        assert fetch(mine) == BLOB
    assert mine.exists(LAYER)
    (asked,) = tokens.asked
    assert parse_qs(urlsplit(asked.path).query)["scope"] == ["repository:team/model:pull"]
    assert len(server.asked) == 5


def test_bearer_token_is_shared_by_threads(repository: Make, guarded: Guarded, tokens: StubServer) -> None:
    mine = repository(ME)
    assert fetch(mine) == BLOB
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: fetch(mine), range(24))) == [BLOB] * 24
    assert len(tokens.asked) == 1


def test_bearer_without_credentials_asks_for_an_anonymous_token(
    repository: Make, guarded: Guarded, tokens: StubServer
) -> None:
    assert guarded.tokens
    guarded.tokens.anonymous = True
    guarded.tokens.member = "access_token"
    assert fetch(repository()) == BLOB
    assert "authorization" not in tokens.asked[0].headers


def test_bearer_with_an_identity_token_exchanges_it_by_post(repository: Make, tokens: StubServer) -> None:
    assert fetch(repository(Credential(identity_token="identity-secret"))) == BLOB
    (asked,) = tokens.asked
    assert asked.method == "POST"
    form = parse_qs(asked.body.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["scope"] == ["repository:team/model:pull"]
    assert "authorization" not in asked.headers
    assert "identity-secret" not in asked.path


def test_bearer_with_a_registry_token_shows_it_as_it_is(repository: Make, tokens: StubServer) -> None:
    mine = repository(Credential(registry_token="fixed-secret"))
    assert fetch(mine) == BLOB
    mine.push(LAYER, BytesContent(BLOB))
    assert tokens.asked == []


def test_bearer_for_a_push_asks_for_more(repository: Make, guarded: Guarded, tokens: StubServer) -> None:
    mine = repository(ME)
    assert mine.exists(LAYER)
    mine.push(LAYER, BytesContent(BLOB))
    assert guarded.uploaded == BLOB
    assert guarded.tokens
    assert list(guarded.tokens.given.values()) == [["repository:team/model:pull"], ["repository:team/model:pull,push"]]
    assert fetch(mine) == BLOB
    assert len(tokens.asked) == 2


def test_bearer_token_that_is_revoked_is_replaced(repository: Make, guarded: Guarded, tokens: StubServer) -> None:
    mine = repository(ME)
    assert fetch(mine) == BLOB
    guarded.revoked.add("token-0")
    assert fetch(mine) == BLOB
    assert len(tokens.asked) == 2


def test_bearer_token_that_ends_during_an_upload_is_replaced(
    repository: Make, guarded: Guarded, tokens: StubServer, server: StubServer
) -> None:
    data = b"large" * 2_000_000
    mine = repository(ME)
    mine.exists(LAYER)

    class Revoking(BytesContent):
        def open(self, offset: int = 0) -> Reader:
            if server.asked[-1].method == "POST" and not guarded.revoked:
                guarded.revoked |= {"token-0", "token-1"}
            return super().open(offset)

    mine.push(LARGE, Revoking(data))
    assert guarded.uploaded == data
    assert len(tokens.asked) == 3


def test_bearer_token_that_never_helps_ends_in_an_error(repository: Make, guarded: Guarded, tokens: StubServer) -> None:
    guarded.revoked = {f"token-{n}" for n in range(100)}
    with pytest.raises(AuthError, match="does not accept the credentials"):
        fetch(repository(ME))
    assert guarded.refusals == 2


@pytest.mark.parametrize(
    ("credential", "words"),
    [(Credential("me", "wrong-secret"), "does not accept the credentials"), (None, "without credentials")],
)
def test_token_server_that_refuses_is_a_clear_error(
    repository: Make, tokens: StubServer, credential: Credential | None, words: str
) -> None:
    with pytest.raises(AuthError, match=words) as caught:
        fetch(repository(credential))
    assert "UNAUTHORIZED" in str(caught.value)
    assert "kitcar login" in (caught.value.hint or "")
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nX: y"}', b"x" * 2_000_000])
def test_token_server_without_a_token_is_a_clear_error(repository: Make, guarded: Guarded, body: bytes) -> None:
    guarded.tokens = Tokens()
    with StubServer(lambda _: Reply(200, {}, body)) as server:
        guarded.realm = f"http://{server.address}/token"
        with pytest.raises(TransportError, match="without a token"):
            fetch(repository(ME))


def test_token_server_that_is_busy_is_asked_again(repository: Make, guarded: Guarded) -> None:
    guarded.tokens = Tokens()
    answers = iter([Reply(503, {"Retry-After": "0"})])
    with StubServer(lambda asked: next(answers, None) or guarded.tokens(asked)) as server:  # type: ignore[misc]
        guarded.realm = f"http://{server.address}/token"
        assert fetch(repository(ME)) == BLOB


def test_token_server_that_points_elsewhere_takes_no_credentials_along(repository: Make, guarded: Guarded) -> None:
    guarded.tokens = Tokens()
    with StubServer(lambda _: Reply(403)) as thief:
        with StubServer(lambda _: Reply(307, {"Location": f"http://{thief.address}/token"})) as server:
            guarded.realm = f"http://{server.address}/token"
            with pytest.raises(AuthError):
                fetch(repository(ME))
            with pytest.raises(KitcarError):
                fetch(repository(Credential(identity_token="identity-secret")))
        assert [(item.method, item.headers.get("authorization"), item.body) for item in thief.asked] == [
            ("GET", None, b"")
        ]


def test_redirect_to_storage_takes_no_credentials_along(repository: Make, guarded: Guarded, tokens: StubServer) -> None:
    with StubServer(lambda _: Reply(200, {}, BLOB)) as storage:
        guarded.elsewhere = f"http://{storage.address}/blob?signature=x"
        assert fetch(repository(ME)) == BLOB
        assert [item.headers.get("authorization") for item in storage.asked] == [None]


def test_upload_to_another_host_takes_no_credentials_along(repository: Make, guarded: Guarded) -> None:
    with StubServer(lambda _: Reply(201)) as storage:

        def answer(request: Asked) -> Reply:
            if request.headers.get("authorization") != basic(ME):
                return Reply(401, {"WWW-Authenticate": "Basic"})
            return Reply(202, {"Location": f"http://{storage.address}/upload"})

        with StubServer(answer) as registry:
            chain = CredentialChain([FixedCredential(ME)])
            mine = Repository(Reference.parse(f"{registry.address}/x"), connection=QUICK, credentials=chain)
            mine.push(LAYER, BytesContent(BLOB))
        assert [(item.method, item.headers.get("authorization")) for item in storage.asked] == [("PUT", None)]


def test_credentials_of_another_registry_are_not_sent(server: StubServer) -> None:
    chain = CredentialChain([FixedCredential(ME, "ghcr.io")])
    with pytest.raises(AuthError, match="wants credentials"):
        fetch(Repository(Reference.parse(f"{server.address}/x"), connection=QUICK, credentials=chain))
    assert all("authorization" not in item.headers for item in server.asked)


def test_mount_asks_for_a_token_of_both_repositories(repository: Make, guarded: Guarded, tokens: StubServer) -> None:
    repository(ME).mount(LAYER, "other/model")
    assert guarded.tokens
    assert guarded.tokens.given["token-0"] == ["repository:other/model:pull", "repository:team/model:pull,push"]


@pytest.mark.parametrize(
    "challenge", [{}, {"WWW-Authenticate": "Negotiate"}, {"WWW-Authenticate": 'Bearer service="x"'}]
)
def test_challenge_that_cannot_be_answered_is_a_clear_error(challenge: dict[str, str]) -> None:
    with StubServer(lambda _: Reply(401, challenge)) as server:
        chain = CredentialChain([FixedCredential(ME)])
        with pytest.raises(AuthError):
            fetch(Repository(Reference.parse(f"{server.address}/x"), connection=QUICK, credentials=chain))
        assert len(server.asked) == 1


def test_ping_with_right_and_wrong_credentials_and_no_registry(server: StubServer, tokens: StubServer) -> None:
    Client(server.address, QUICK, FixedCredential(ME)).ping()
    with pytest.raises(AuthError):
        Client(server.address, QUICK, FixedCredential(Credential("me", "wrong"))).ping()
    with StubServer(lambda _: Reply(404)) as other, pytest.raises(KitcarError, match="is not a container registry"):
        Client(other.address, QUICK, CredentialChain()).ping()


def test_token_is_renewed_before_it_ends(server: StubServer, guarded: Guarded, tokens: StubServer) -> None:
    now = [1000.0]
    transport = Transport(QUICK)
    authorization = Authorization(transport, FixedCredential(ME), server.address, clock=lambda: now[0])
    scopes = ("repository:a:pull",)
    assert authorization.header(scopes) is None
    refused = transport.send(Request("GET", f"http://{server.address}/v2/a/blobs/x"))
    assert authorization.learn(refused, None, scopes) == scopes
    assert guarded.tokens
    for life, last in ((300, 294), (None, 54), ("soon", 54), (4, 1.9)):
        guarded.tokens.life = life
        now[0] += 1000
        first = authorization.header(scopes)
        now[0] += last
        assert authorization.header(scopes) == first
        now[0] += 2
        assert authorization.header(scopes) != first
        now[0] += 1000


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_challenge_of_the_storage_that_a_registry_points_to_is_not_answered(
    repository: Make, guarded: Guarded, server: StubServer, scheme: str
) -> None:
    with StubServer(lambda _: Reply(200, {}, b'{"token": "x"}')) as thief:
        challenge = {"WWW-Authenticate": f'{scheme} realm="http://{thief.address}/token"'}
        with StubServer(lambda _: Reply(401, challenge)) as storage:
            mine = repository(ME)
            assert fetch(mine) == BLOB
            guarded.elsewhere = f"http://{storage.address}/blob"
            with pytest.raises(AuthError):
                fetch(mine)
            guarded.elsewhere = ""
            assert fetch(mine) == BLOB
            assert all("authorization" not in item.headers for item in storage.asked)
        assert thief.asked == []


@pytest.mark.parametrize("realm", ["http://[::1", "http://host:99999/token", "http://", "http://a\\@b/token"])
def test_challenge_with_a_realm_that_is_no_address_is_a_clear_error(realm: str) -> None:
    escaped = realm.replace("\\", "\\\\")
    with StubServer(lambda _: Reply(401, {"WWW-Authenticate": f'Bearer realm="{escaped}"'})) as server:
        for chain in (CredentialChain([FixedCredential(ME)]), CredentialChain()):
            with pytest.raises(KitcarError, match="token server"):
                fetch(Repository(Reference.parse(f"{server.address}/x"), connection=QUICK, credentials=chain))


@pytest.mark.parametrize("token", ["fixed-secret\n", "fixed-secret\r\nX-Other: 1", "fixed-secret-\u4e2d"])
def test_registry_token_that_no_header_can_hold_is_a_clear_error(
    repository: Make, tokens: StubServer, token: str
) -> None:
    with pytest.raises(AuthError) as caught:
        fetch(repository(Credential(registry_token=token)))
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("body", ['{"token": "\u4e2d\u6587"}', "[" * 100_000])
def test_token_server_with_an_unusable_token_is_a_clear_error(repository: Make, guarded: Guarded, body: str) -> None:
    with StubServer(lambda _: Reply(200, {}, body.encode())) as server:
        guarded.tokens = Tokens()
        guarded.realm = f"http://{server.address}/token"
        with pytest.raises(TransportError, match="without a token"):
            fetch(repository(ME))


@pytest.mark.parametrize("life", ["1" + "0" * 400, "Infinity", "NaN"])
def test_token_with_an_absurd_life_is_used(repository: Make, guarded: Guarded, life: str) -> None:
    with StubServer(lambda _: Reply(200, {}, b'{"token": "fixed-secret", "expires_in": %s}' % life.encode())) as server:
        guarded.tokens = Tokens()
        guarded.realm = f"http://{server.address}/token"
        assert fetch(repository(ME)) == BLOB


def test_secrets_are_in_no_representation() -> None:
    from kitcar.registry.authorization import _Token
    from kitcar.registry.client import Call

    shown = repr(
        (
            Request("POST", "https://h/", {"Authorization": "Bearer secret"}, b"refresh_token=secret"),
            Call("PUT", "x", "x", headers={"Authorization": "secret"}),
            _Token(None, "Bearer secret", 1.0),
        )
    )
    assert "secret" not in shown
