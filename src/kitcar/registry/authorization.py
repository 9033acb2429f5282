"""Answers to a registry's challenges: Basic, or tokens of the token server that it names, kept until they end.

Distribution's token specification: docs/spec/auth/token (GET) and docs/spec/auth/oauth (POST).
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from kitcar.errors import AuthError, IntegrityError, KitcarError, TransportError
from kitcar.registry.challenge import Challenge, choose, covers, merge_scopes, parse_challenges
from kitcar.registry.credentials import Credential, CredentialSource
from kitcar.registry.fault import Refusal
from kitcar.registry.retry import Pauser
from kitcar.registry.transport import Request, Response, Transport, is_address

_TOKEN_LIMIT = 1024 * 1024
_LIFE = 60.0
_LONGEST = 86_400.0 * 365
_MARGIN = 5.0
_CLIENT = "kitcar"


@dataclass(frozen=True, slots=True)
class _Token:
    scopes: tuple[str, ...] | None
    header: str = field(repr=False)
    until: float


class Authorization:
    """The `Authorization` header of one registry's requests; safe for many threads, which share one token.

    `registry` is the name that credentials are kept under, `repository` narrows them where they are kept by path.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: CredentialSource,
        registry: str,
        repository: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        pauser: Pauser | None = None,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._registry = registry
        self._repository = repository
        self._clock = clock
        self._pauser = pauser or Pauser(transport.connection.retry)
        self._lock = threading.RLock()
        self._challenge: Challenge | None = None
        self._tokens: list[_Token] = []
        self._found: Credential | None = None
        self._searched = False

    @property
    def has_credential(self) -> bool:
        """Whether there is anything to tell the registry."""
        return bool(self._credential())

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """What to send for `scopes`; None before the registry has asked for anything.

        Raises:
            AuthError: the token server refuses.
            TransportError: it cannot be reached.
        """
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                return self._basic()
            now = self._clock()
            self._tokens = [token for token in self._tokens if token.until > now]
            for token in self._tokens:
                if token.scopes is None or covers(token.scopes, scopes):
                    return token.header
            token = self._pauser.run(lambda: self._fetch(merge_scopes(scopes)))
            self._tokens.append(token)
            return token.header

    def learn(self, response: Response, sent: str | None, scopes: tuple[str, ...]) -> tuple[str, ...] | None:
        """Takes a 401 in; the scopes to ask for next, or None if there is no point in asking again.

        `sent` is the header that was refused.
        """
        offered = choose(parse_challenges(response.headers.get("www-authenticate", "")))
        if offered is None:
            return None
        with self._lock:
            if offered.scheme == "basic":
                self._challenge = offered
                return scopes if self._basic() not in {None, sent} else None
            self._challenge = offered
            self._tokens = [token for token in self._tokens if token.header != sent]
            return merge_scopes((*scopes, *offered.scopes))

    def _credential(self) -> Credential | None:
        with self._lock:
            if not self._searched:
                self._found = self._credentials.find(self._registry, self._repository)
                self._searched = True
            return self._found

    def _basic(self) -> str | None:
        credential = self._credential()
        if credential is None or not (credential.username or credential.password):
            return None
        return _basic_header(credential.username, credential.password)

    def _fetch(self, scopes: tuple[str, ...]) -> _Token:
        challenge, credential = self._challenge, self._credential()
        assert challenge is not None
        if credential and credential.registry_token:
            if not _fits_header(credential.registry_token):
                raise AuthError(
                    f"the token that is kept for {self._registry} has characters that no token may have",
                    status=401,
                    hint="look for a line break at its end where it is kept",
                )
            return _Token(None, f"Bearer {credential.registry_token}", float("inf"))
        self._check_realm(challenge.realm, credential)
        started = self._clock()
        answer = self._ask(challenge, scopes, credential)
        token = answer.get("access_token") or answer.get("token")
        if not isinstance(token, str) or not _fits_header(token):
            raise _useless(challenge.realm)
        seconds = answer.get("expires_in")
        life = float(min(seconds, _LONGEST)) if isinstance(seconds, (int, float)) and seconds > 0 else _LIFE
        return _Token(scopes, f"Bearer {token}", started + max(life - _MARGIN, life / 2))

    def _ask(self, challenge: Challenge, scopes: tuple[str, ...], credential: Credential | None) -> Mapping[str, Any]:
        if credential and credential.identity_token:
            grant = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
            return self._answer(_grant(challenge, scopes, grant), challenge.realm)
        query = [
            *([("service", challenge.service)] if challenge.service else []),
            *(("scope", item) for item in scopes),
        ]
        joint = "&" if "?" in challenge.realm else "?"
        url = f"{challenge.realm}{joint}{urlencode(query)}" if query else challenge.realm
        headers = {"Authorization": _basic_header(credential.username, credential.password)} if credential else {}
        return self._answer(Request("GET", url, headers), challenge.realm)

    def _answer(self, request: Request, realm: str) -> Mapping[str, Any]:
        response = self._transport.send(request)
        host = urlsplit(realm).netloc.rpartition("@")[2]
        if response.status != 200:
            body = response.read_some(_TOKEN_LIMIT)
            refusal = Refusal(response.status, response.reason, response.headers, body, host)
            raise _token_refusal(refusal, self._registry, authenticated=self.has_credential)
        try:
            answer = json.loads(response.read(_TOKEN_LIMIT))
        except (ValueError, RecursionError, IntegrityError):
            raise _useless(realm) from None
        if not isinstance(answer, dict):
            raise _useless(realm)
        return answer

    def _check_realm(self, realm: str, credential: Credential | None) -> None:
        """A registry that is reached by TLS may not have its credentials sent in the clear."""
        if not is_address(realm):
            raise TransportError(
                f"{self._registry} names a token server whose address is malformed",
                hint="ask the registry's owner to mend it",
                transient=False,
            )
        scheme = urlsplit(realm).scheme
        if scheme == "https" or (scheme == "http" and (self._transport.connection.plain_http or not credential)):
            return
        raise AuthError(
            f"{self._registry} wants its credentials sent to {_shown(realm)}, which does not use TLS",
            status=401,
            hint="ask the registry's owner to mend it; only with --plain-http are credentials sent in the clear",
        )


def _fits_header(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable()


def _grant(challenge: Challenge, scopes: tuple[str, ...], grant: Mapping[str, str]) -> Request:
    form = {**grant, "client_id": _CLIENT, "service": challenge.service, "scope": " ".join(scopes)}
    body = urlencode({name: value for name, value in form.items() if value}).encode()
    # A redirect would carry the token to wherever it points.
    return Request("POST", challenge.realm, {"Content-Type": "application/x-www-form-urlencoded"}, body, redirect=False)


def _token_refusal(refusal: Refusal, registry: str, *, authenticated: bool) -> KitcarError:
    if refusal.status in {400, 401, 403}:
        words = "does not accept the credentials" if authenticated else "gives nothing away without credentials"
        said = f" ({refusal.said})" if refusal.said else ""
        return AuthError(
            f"the token server of {registry} {words}: {refusal.status} {refusal.reason}{said}",
            status=refusal.status,
            code=refusal.code,
            hint=f"log in again: kitcar login {registry}"
            if authenticated
            else f"log in first: kitcar login {registry}",
        )
    return refusal.error(f"a token for {registry}", authenticated=authenticated)


def _useless(realm: str) -> TransportError:
    return TransportError(f"the token server {_shown(realm)} gives an answer without a token", transient=False)


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _basic_header(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
