"""The manifest endpoints, and the lists: tags, repositories, referrers."""

from __future__ import annotations

import itertools
import json
import urllib.parse
from collections.abc import Iterable

from kitcar.errors import IntegrityError, InvalidError, NotFoundError, RegistryError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import MAX_SIZE, Index, Manifest
from kitcar.oci.reference import check_tag
from kitcar.oci.storage import BytesContent
from kitcar.oci.verify import fetch_all, fill
from kitcar.server.message import Request, Response, is_number, json_response
from kitcar.server.route import Route, parse_digest, served_name, stored_name
from kitcar.stores.layout import LayoutRepository, LayoutStore


class Manifests:
    """Answers for `/v2/NAME/manifests/…`."""

    def __init__(self, store: LayoutStore) -> None:
        self._store = store

    def get(self, request: Request, route: Route) -> Response:
        """GET and HEAD of a manifest by tag or digest.

        Raises:
            RegistryError: it is unknown, or no longer what its digest says.
        """
        repository = self._repository(route)
        descriptor = _resolve(repository, route)
        headers = (
            ("Content-Type", descriptor.media_type),
            ("Docker-Content-Digest", str(descriptor.digest)),
            ("Etag", f'"{descriptor.digest}"'),
        )
        if request.method == "HEAD":
            return Response(200, (*headers, ("Content-Length", str(descriptor.size))))
        try:
            return Response(200, headers, fetch_all(repository, descriptor))
        except (NotFoundError, IntegrityError) as error:
            raise RegistryError(str(error), status=404, code="MANIFEST_UNKNOWN") from error

    def put(self, request: Request, route: Route) -> Response:
        """PUT of a manifest under a tag or its digest.

        Raises:
            RegistryError: it is malformed, too large, names what is not here, or has another digest.
        """
        raw = _read(request)
        kind, subject = _parse(request.header("content-type"), raw)
        tag, digest = _target(route, raw)
        descriptor = Descriptor(kind, digest, len(raw))
        repository = self._repository(route)
        try:
            repository.push(descriptor, BytesContent(raw))
        except NotFoundError as error:
            raise RegistryError(str(error), status=400, code="MANIFEST_BLOB_UNKNOWN") from error
        if tag:
            repository.tag(descriptor, tag)
        headers = [("Location", f"/v2/{route.name}/manifests/{digest}"), ("Docker-Content-Digest", str(digest))]
        if subject:
            headers.append(("OCI-Subject", str(subject.digest)))
        return Response(201, tuple(headers))

    def delete(self, _request: Request, route: Route) -> Response:
        """DELETE of a manifest by its digest, or of a tag alone.

        Raises:
            RegistryError: it is unknown.
        """
        repository = self._repository(route)
        descriptor = _resolve(repository, route)
        try:
            if ":" in route.item:
                repository.delete(descriptor)
            else:
                repository.untag(route.item)
        except NotFoundError as error:
            raise _unknown(route) from error
        return Response(202)

    def tags(self, request: Request, route: Route) -> Response:
        """GET of the tags, in pages.

        Raises:
            RegistryError: the repository is unknown, or the page is asked for wrongly.
        """
        repository = self._repository(route)
        try:
            tags = repository.tags()
        except NotFoundError as error:
            raise RegistryError(f"unknown repository {route.name}", status=404, code="NAME_UNKNOWN") from error
        page, link = _page(request, tags)
        return json_response(200, {"name": route.name, "tags": page}, *link)

    def catalog(self, request: Request, _route: Route) -> Response:
        """GET of the repositories, in pages."""
        names = (served_name(name) for name in self._store.repositories())
        page, link = _page(request, sorted(name for name in names if name))
        return json_response(200, {"repositories": page}, *link)

    def referrers(self, request: Request, route: Route) -> Response:
        """GET of what refers to a digest, of one artifact type if asked; empty for what is unknown."""
        subject = Descriptor(media.MANIFEST, parse_digest(route.item), 0)
        wanted = request.query.get("artifactType", "")
        found = self._repository(route).referrers(subject, wanted)
        filtered = (("OCI-Filters-Applied", "artifactType"),) if wanted else ()
        document = {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "manifests": [item.encode() for item in found],
        }
        return json_response(200, document, *filtered, kind=media.INDEX)

    def _repository(self, route: Route) -> LayoutRepository:
        return self._store.repository(stored_name(route.name))


def _resolve(repository: LayoutRepository, route: Route) -> Descriptor:
    if ":" in route.item:
        parse_digest(route.item)
    try:
        return repository.resolve(route.item)
    except NotFoundError as error:
        raise _unknown(route) from error


def _unknown(route: Route) -> RegistryError:
    return RegistryError(f"unknown manifest {route.name}:{route.item}", status=404, code="MANIFEST_UNKNOWN")


def _read(request: Request) -> bytes:
    buffer = memoryview(bytearray(min(MAX_SIZE + 1, (request.body.length or MAX_SIZE) + 1)))
    count = fill(request.body, buffer)
    if count > MAX_SIZE or (request.body.length or 0) > MAX_SIZE:
        raise RegistryError(f"a manifest has at most {MAX_SIZE} bytes", status=413, code="MANIFEST_INVALID")
    return bytes(buffer[:count])


def _parse(content_type: str, raw: bytes) -> tuple[str, Descriptor | None]:
    """The media type and the subject of a manifest."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"the manifest is not JSON: {error}", status=400, code="MANIFEST_INVALID") from error
    said = document.get("mediaType") if isinstance(document, dict) else None
    kind = content_type.partition(";")[0].strip().lower() or said or media.MANIFEST
    try:
        if not isinstance(kind, str) or not media.is_manifest(kind):
            raise InvalidError(f"{kind} is no media type of a manifest")
        if said is not None and said != kind:
            raise InvalidError(f"the manifest says {said}, its Content-Type {kind}")
        return kind, (Index if kind in media.INDEXES else Manifest).parse(raw).subject
    except InvalidError as error:
        raise RegistryError(str(error), status=400, code="MANIFEST_INVALID") from error


def _target(route: Route, raw: bytes) -> tuple[str, Digest]:
    """The tag, if it is one, and the digest under which a manifest is put."""
    if ":" not in route.item:
        try:
            return check_tag(route.item), Digest.of(raw)
        except InvalidError as error:
            raise RegistryError(str(error), status=400, code="TAG_INVALID") from error
    wanted = parse_digest(route.item)
    actual = Digest.of(raw, wanted.algorithm)
    if actual != wanted:
        message = f"the manifest has the digest {actual}, not {wanted}"
        raise RegistryError(message, status=400, code="DIGEST_INVALID")
    return "", actual


def _page(request: Request, names: Iterable[str]) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """One page of sorted `names` and, if there are more, the header that leads to the next."""
    count, last = request.query.get("n"), request.query.get("last", "")
    if count is not None and not is_number(count):
        raise RegistryError(f"n={count!r} is no number", status=400, code="PAGINATION_NUMBER_INVALID")
    rest = (name for name in names if name > last)
    if count is None:
        return list(rest), ()
    page = list(itertools.islice(rest, int(count)))
    if not page or next(rest, None) is None:
        return page, ()
    last = urllib.parse.quote(page[-1])
    return page, (("Link", f'<{request.path}?n={count}&last={last}>; rel="next"'),)
