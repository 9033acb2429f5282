"""Requests to one registry: addresses, authorization, retries, and refusals as errors."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kitcar.errors import InvalidError, KitcarError, NotFoundError, RegistryError
from kitcar.oci.reference import DEFAULT_REGISTRY
from kitcar.registry.authorization import Authorization
from kitcar.registry.credentials import CredentialSource
from kitcar.registry.fault import Refusal
from kitcar.registry.retry import Pauser
from kitcar.registry.settings import Connection
from kitcar.registry.transport import Body, Request, Response, Transport, origin, resolved

_HUB = "registry-1.docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io"})
_ERROR_LIMIT = 64 * 1024
_FAREWELL = 5.0
"""Seconds that are waited for a registry to note the end of an upload."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the registry's API.

    `url` may be a path below `/v2/`. `subject` is what people call the thing that is asked for; `accepted` are the statuses
    that the caller deals with. `once` forbids to send it again, as for a body that can be read only once.
    """

    method: str
    url: str
    subject: str
    accepted: tuple[int, ...] = (200,)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Body = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()
    timeout: float | None = None
    once: bool = False


class Client:
    """Talks to one registry; safe for many threads.

    Args:
        registry: the name as people write it, with a port where there is one.
        connection: how it is reached.
        credentials: what to tell it, asked only when it wants to know.
        repository: narrows credentials that are kept by path.
        transport: connections to share with other clients.
        pauser: waits between attempts.
    """

    def __init__(
        self,
        registry: str,
        connection: Connection,
        credentials: CredentialSource,
        *,
        repository: str = "",
        transport: Transport | None = None,
        pauser: Pauser | None = None,
    ) -> None:
        if registry == DEFAULT_REGISTRY:
            raise InvalidError(
                "the reference names no registry",
                hint="put the registry before it: REGISTRY/REPOSITORY, or HOST:PORT/REPOSITORY",
            )
        self.registry = registry
        self.transport = transport or Transport(connection)
        self.pauser = pauser or Pauser(connection.retry)
        self.connection = connection
        host = _HUB if registry in _HUB_NAMES else registry
        self._base = f"{connection.scheme}://{host}/v2/"
        self._credentials = credentials
        self._authorization = Authorization(self.transport, credentials, registry, repository, pauser=self.pauser)

    def beside(self, repository: str) -> Client:
        """A client for another repository of the same registry, over the same connections."""
        return Client(
            self.registry,
            self.connection,
            self._credentials,
            repository=repository,
            transport=self.transport,
            pauser=self.pauser,
        )

    def ping(self) -> None:
        """Makes sure that a registry answers and takes the credentials.

        Raises:
            AuthError: it does not take them, or wants some.
            RegistryError: what answers is no registry.
            TransportError: nothing answers.
        """
        try:
            response = self.send(Call("GET", "", "its API"))
        except NotFoundError:
            raise RegistryError(
                f"{self.registry} is not a container registry", status=404, hint="check the registry's name and port"
            ) from None
        response.drain()

    def send(self, call: Call) -> Response:
        """The answer, with one of the accepted statuses; the caller reads or closes it.

        Raises:
            NotFoundError: the subject is not there.
            AuthError: the registry wants other credentials.
            RegistryError: it refuses.
            TransportError: no answer came.
        """
        if call.once:
            return self._send(call)
        return self.pauser.run(lambda: self._send(call))

    def read(self, call: Call, limit: int) -> tuple[Response, bytes]:
        """The answer and its whole body, which is asked for again if it breaks off.

        Raises:
            IntegrityError: the body has more than `limit` bytes.
            KitcarError: see `send`.
        """

        def attempt() -> tuple[Response, bytes]:
            response = self._send(call)
            return response, response.read(limit)

        return attempt() if call.once else self.pauser.run(attempt)

    def discard(self, call: Call) -> Response:
        """The answer's status and headers alone.

        Raises:
            KitcarError: see `send`.
        """
        response = self.send(call)
        response.drain()
        return response

    def give_up(self, location: str, scopes: tuple[str, ...]) -> None:
        """Ends an upload that nobody will go on with; that the registry does not listen is no fault."""
        call = Call("DELETE", location, "an upload", (200, 202, 204), scopes=scopes, timeout=_FAREWELL, once=True)
        with contextlib.suppress(KitcarError):
            self.discard(call)

    def close(self) -> None:
        """Closes the connections that are not in use; what shares them is not harmed."""
        self.transport.close()

    def address(self, url: str, base: str = "") -> str:
        """The absolute form of a path or `Location`; the registry's own host is never spoken to in the clear by redirection.

        Raises:
            TransportError: it is malformed, or no address of HTTP.
        """
        absolute = resolved(base or self._base, url)
        scheme, host, port = origin(absolute)
        own_scheme, own_host, own_port = origin(self._base)
        # Behind a proxy that ends TLS, registries believe to be served by plain HTTP, and forget the proxy's port.
        if own_scheme == "https" and scheme == "http" and host == own_host and port in {80, own_port}:
            netloc = urlsplit(self._base).netloc
            return urlsplit(absolute)._replace(scheme="https", netloc=netloc).geturl()
        return absolute

    def _send(self, call: Call) -> Response:
        url = self.address(call.url)
        scopes = call.scopes
        trusted = origin(url) == origin(self._base)
        for again in (True, False):
            secret = self._authorization.header(scopes) if trusted else None
            headers = {**call.headers, "Authorization": secret} if secret else call.headers
            response = self.transport.send(Request(call.method, url, headers, call.body, call.timeout))
            if response.status in call.accepted:
                return response
            wanted = None
            # Where a redirect led to may not say whom the credentials are told.
            if response.status == 401 and trusted and origin(response.url) == origin(self._base):
                wanted = self._authorization.learn(response, secret, scopes)
            replayable = call.body is None or isinstance(call.body, bytes)
            if wanted is None or not again or not replayable:
                break
            response.drain()
            scopes = wanted
        raise self._refused(call, response, trusted=trusted)

    def _refused(self, call: Call, response: Response, *, trusted: bool) -> Exception:
        body = b"" if call.method == "HEAD" else response.read_some(_ERROR_LIMIT)
        response.close()
        refusal = Refusal(
            response.status,
            response.reason,
            response.headers,
            body,
            self.registry if trusted else urlsplit(response.url).netloc.rpartition("@")[2],
            plain_http=self.connection.plain_http,
        )
        known = response.status in {401, 403} and self._authorization.has_credential
        return refusal.error(call.subject, authenticated=known)
