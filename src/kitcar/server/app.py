"""The registry as a WSGI application: a request in, a response out (OCI distribution specification 1.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from kitcar.errors import InvalidError, KitcarError, RegistryError
from kitcar.server.blobs import Blobs
from kitcar.server.htpasswd import Passwords
from kitcar.server.manifests import Manifests
from kitcar.server.message import FileBody, Request, Response, json_response, refusal
from kitcar.server.route import Endpoint, Route
from kitcar.server.upload import Uploads
from kitcar.stores.layout import LayoutStore

Handler = Callable[[Request, Route], Response]
_READING = ("GET", "HEAD")


class RegistryApp:
    """A distribution-spec registry over a layout.

    Args:
        store: where the content is; repository `team/iris` is kept as `localhost/team/iris`.
        passwords: who may use it; None lets everybody.
        read_only: whether every change is refused.
        clock: seconds, for giving up idle uploads.
    """

    def __init__(
        self,
        store: LayoutStore,
        *,
        passwords: Passwords | None = None,
        read_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._passwords = passwords
        self._read_only = read_only
        self._uploads = Uploads(store, clock)
        blobs, manifests = Blobs(store, self._uploads), Manifests(store)
        self._handlers: dict[tuple[Endpoint, str], Handler] = {
            (Endpoint.BASE, "GET"): lambda _request, _route: json_response(200, {}),
            (Endpoint.CATALOG, "GET"): manifests.catalog,
            (Endpoint.TAGS, "GET"): manifests.tags,
            (Endpoint.REFERRERS, "GET"): manifests.referrers,
            (Endpoint.MANIFEST, "GET"): manifests.get,
            (Endpoint.MANIFEST, "PUT"): manifests.put,
            (Endpoint.MANIFEST, "DELETE"): manifests.delete,
            (Endpoint.BLOB, "GET"): blobs.get,
            (Endpoint.BLOB, "DELETE"): blobs.delete,
            (Endpoint.UPLOADS, "POST"): blobs.post,
            (Endpoint.UPLOAD, "GET"): blobs.status,
            (Endpoint.UPLOAD, "PATCH"): blobs.patch,
            (Endpoint.UPLOAD, "PUT"): blobs.put,
            (Endpoint.UPLOAD, "DELETE"): blobs.cancel,
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes] | FileBody:
        """See PEP 3333; a blob is answered with a `FileBody`, which a server may send itself."""
        try:
            request = Request.read(environ)
            response = self.answer(request)
        except RegistryError as error:
            response = refusal(error.status, error.code, str(error))
        start_response(response.line, response.all_headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return response.body if isinstance(response.body, FileBody) else [response.body]

    def answer(self, request: Request) -> Response:
        """The response to a request; every error of ours is one in the specification's form."""
        try:
            if self._passwords and not self._passwords.accept(request.header("authorization")):
                return _challenge(given=bool(request.header("authorization")))
            route = Route.parse(request.path)
            return self._handler(request, route)(request, route)
        except RegistryError as error:
            headers = (("Retry-After", "1"),) if error.transient else ()
            return refusal(error.status, error.code, str(error), *headers)
        except InvalidError as error:
            return refusal(400, "MANIFEST_INVALID", str(error))
        except KitcarError as error:
            return refusal(500, "UNKNOWN", str(error))

    def close(self) -> None:
        """Ends all uploads."""
        self._uploads.close()

    def _handler(self, request: Request, route: Route) -> Handler:
        method = "GET" if request.method == "HEAD" else request.method
        handler = self._handlers.get((route.endpoint, method))
        if handler is None:
            raise RegistryError(f"{request.method} is not for {request.path}", status=405, code="UNSUPPORTED")
        if self._read_only and request.method not in _READING:
            raise RegistryError("this registry is read-only", status=405, code="UNSUPPORTED")
        return handler


def _challenge(*, given: bool) -> Response:
    said = "no such name, or another password" if given else "a name and a password are needed"
    return refusal(401, "UNAUTHORIZED", said, ("Www-Authenticate", 'Basic realm="kitcar"'))
