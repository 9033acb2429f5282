"""An access token of Google Cloud: workload identity through the metadata server, or the file that names a credential.

The only importer of google-auth; its requests go through our own transport, with its proxies and certificates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kitcar.errors import AuthError, KitcarError, TransportError, UnsupportedError
from kitcar.initializer.login import GarLogin
from kitcar.registry.credentials import Credential
from kitcar.registry.settings import Connection
from kitcar.registry.transport import Request, Transport

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_ANSWER_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    data: bytes


class _Requests:
    """google-auth's transport (`google.auth.transport.Request`), made of ours.

    Only the metadata server is spoken to without TLS; it is on the node, where no proxy reaches.
    """

    def __init__(self, connection: Connection, failed: type[Exception]) -> None:
        self._transport, self._failed = Transport(connection), failed
        self._node = Transport(replace(connection, proxy=None, http_proxy=None, https_proxy=None))

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Answer:
        try:
            data = body.encode() if isinstance(body, str) else body
            transport = self._transport if url.startswith("https:") else self._node
            response = transport.send(Request(method, url, dict(headers or {}), data, timeout))
            return _Answer(response.status, response.headers, response.read(_ANSWER_LIMIT))
        except KitcarError as error:
            raise self._failed(error.message) from error


def gar_credential(login: GarLogin, connection: Connection) -> Credential:
    """Asks Google for an access token, as its application default credentials say.

    Raises:
        UnsupportedError: google-auth is not installed.
        AuthError: there are no credentials, or Google refused them.
        TransportError: Google did not answer.
    """
    try:
        import google.auth
        from google.auth import exceptions
    except ImportError:
        hint = "install kitcar[gcp], or give KIT_USER and KIT_PASSWORD"
        raise UnsupportedError("logging in to Google Artifact Registry needs google-auth", hint=hint) from None
    where = f"logging in to {login.registry}"
    requests: Any = _Requests(connection, exceptions.TransportError)
    try:
        found: Any = google.auth.default(scopes=_SCOPES, request=requests)
        credentials = found[0]
        credentials.refresh(requests)
    except exceptions.DefaultCredentialsError as error:
        hint = "run with a service account of workload identity, or name a file in GOOGLE_APPLICATION_CREDENTIALS"
        raise AuthError(f"{where}: {_first_line(error)}", status=401, hint=hint) from error
    except exceptions.GoogleAuthError as error:
        if isinstance(error, exceptions.TransportError) or error.retryable:
            raise TransportError(f"{where}: {_first_line(error)}") from error
        raise AuthError(f"{where}: {_first_line(error)}", status=401, hint="check the service account") from error
    return Credential(login.user, str(credentials.token))


def _first_line(error: Exception) -> str:
    return str(error.args[0] if error.args else error).partition("\n")[0]
