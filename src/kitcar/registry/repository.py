"""A repository of a registry as a `Target` (distribution specification 1.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from kitcar.errors import IntegrityError, InvalidError, KitcarError, RegistryError, UnsupportedError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import MAX_SIZE, Index
from kitcar.oci.reference import Reference, check_tag
from kitcar.oci.storage import BytesReader, Content, Reader, Stream
from kitcar.oci.verify import SMALL_RING, VerifyingReader
from kitcar.registry import link, referrers
from kitcar.registry.blob_reader import BlobReader
from kitcar.registry.client import Call, Client
from kitcar.registry.credentials import CredentialChain, CredentialSource
from kitcar.registry.settings import Connection
from kitcar.registry.transport import Response
from kitcar.registry.uploader import Uploader

_ACCEPT = ", ".join((*media.MANIFESTS, *media.INDEXES))
_LIST_LIMIT = 16 * 1024 * 1024
_TAGS_PAGE = 1000
_MAX_PAGES = 10_000
_DELETED = (200, 202, 204)
_PULL, _PUSH, _DELETE = "pull", "pull,push", "delete,pull"


class Repository:
    """One repository; implements `Target`, `RangeFetcher`, `Mounter`, `Ingester`, `TagLister`, `ReferrerLister`, `Deleter`.

    Safe for many threads. Requests that fail for a passing reason are made again as `connection.retry` says, bodies go on
    where they broke. What is fetched is unverified, as `Fetcher` says; what is resolved is not.

    Args:
        reference: registry and repository; tag and digest do not matter.
        connection: how the registry is reached.
        credentials: what to tell it, asked only when it wants to know.
        client: one that is at work already, in place of a new one.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        connection: Connection | None = None,
        credentials: CredentialSource | None = None,
        client: Client | None = None,
    ) -> None:
        self.reference = reference
        self._client = client or Client(
            reference.registry,
            connection or Connection(),
            credentials or CredentialChain(),
            repository=reference.repository,
        )
        self._path = reference.repository
        # What was resolved or pushed last is mostly asked for next; kept so that it does not travel twice.
        self._latest: tuple[Descriptor, bytes] | None = None

    def sibling(self, repository: str) -> Repository:
        """Another repository of the same registry, over the same connections."""
        reference = Reference(self.reference.registry, repository)
        connection = self._client.connection
        return Repository(reference, client=self._client.beside(repository), connection=connection)

    def ping(self) -> None:
        """See `Client.ping`."""
        self._client.ping()

    def close(self) -> None:
        """See `Client.close`."""
        self._client.close()

    def resolve(self, reference: str) -> Descriptor:
        """See `Resolver.resolve`. The digest is that of the manifest's bytes, not what the registry says of them.

        Raises:
            NotFoundError: no such tag or manifest.
            IntegrityError: the registry says another digest, or was asked for another.
            InvalidError: the reference is neither tag nor digest.
        """
        wanted = Digest.parse(reference) if ":" in reference else None
        if wanted is None:
            check_tag(reference)
        call = self._manifest_call("GET", reference, self._named(reference))
        response, raw = self._client.read(call, MAX_SIZE)
        said = response.headers.get("docker-content-digest", "").strip()
        expected = wanted or _said_digest(said)
        actual = Digest.of(raw, expected.algorithm if expected else "sha256")
        if expected is not None and actual != expected:
            raise IntegrityError(
                f"the manifest of {self._named(reference)} has the digest {actual} and should have {expected}",
                expected=str(expected),
                actual=str(actual),
                hint="it is corrupt in the registry, or was changed on the way",
            )
        descriptor = Descriptor(_media_type(response, raw), actual, len(raw))
        self._latest = (descriptor, raw)
        return descriptor

    def exists(self, descriptor: Descriptor) -> bool:
        """See `Storage.exists`."""
        if not media.is_manifest(descriptor.media_type):
            return self.has_blob(descriptor.digest)
        call = self._manifest_call("HEAD", str(descriptor.digest), f"manifest {descriptor.digest}", (200, 404))
        return self._client.discard(call).status == 200

    def has_blob(self, digest: Digest) -> bool:
        """Whether a blob is here."""
        url = f"{self._path}/blobs/{digest}"
        call = Call("HEAD", url, f"blob {digest}", (200, 404), scopes=self._scopes(_PULL))
        return self._client.discard(call).status == 200

    def fetch(self, descriptor: Descriptor) -> Reader:
        """See `Fetcher.fetch`. The stream resumes by itself where it breaks."""
        latest = self._latest
        if latest and latest[0] == descriptor:
            return BytesReader(latest[1])
        return self._open(descriptor, 0)

    def fetch_range(self, descriptor: Descriptor, offset: int) -> Reader:
        """See `RangeFetcher.fetch_range`."""
        return self._open(descriptor, offset)

    def push(self, descriptor: Descriptor, content: Content) -> None:
        """See `Storage.push`. The registry never has all bytes of content that is not what `descriptor` says."""
        if media.is_manifest(descriptor.media_type):
            self._push_manifest(descriptor, content)
        else:
            self._uploader().send(_Verified(descriptor, content), descriptor.digest)

    def ingest(self, stream: Stream) -> tuple[Digest, int]:
        """See `Ingester.ingest`. One pass, except for registries that want the digest first: see `Uploader.send`."""
        return self._uploader().send(stream)

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """See `Target.tag`."""
        check_tag(tag)
        self._put_manifest(tag, descriptor, self._raw(descriptor))

    def mount(self, descriptor: Descriptor, repository: str) -> bool:
        """See `Mounter.mount`; `repository` is a name without its registry."""
        query = urlencode({"mount": str(descriptor.digest), "from": repository}, safe=":/")
        scopes = (*self._scopes(_PUSH), *(() if repository == self._path else (f"repository:{repository}:{_PULL}",)))
        call = Call(
            "POST", f"{self._path}/blobs/uploads/?{query}", f"blob {descriptor.digest}", (201, 202), scopes=scopes
        )
        answer = self._client.discard(call)
        if answer.status == 201:
            return True
        if location := answer.headers.get("location"):
            self._client.give_up(self._client.address(location, answer.url), self._scopes(_PUSH))
        return False

    def tags(self) -> Iterator[str]:
        """See `TagLister.tags`."""
        url = f"{self._path}/tags/list?n={_TAGS_PAGE}"
        found: set[str] = set()
        for document in self._pages(url, f"repository {self.reference.name}"):
            listed = document.get("tags") or []
            if not isinstance(listed, list) or not all(isinstance(tag, str) for tag in listed):
                raise self._odd("its list of tags")
            found.update(listed)
        return iter(sorted(found))

    def referrers(self, subject: Descriptor, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """See `ReferrerLister.referrers`. Where the registry has no such API, the tag that stands in for it is read."""
        listed = self._listed_referrers(subject.digest, artifact_type)
        if listed is None:
            listed = self._tagged_referrers(subject.digest)
        return referrers.filtered(listed, artifact_type)

    def delete(self, descriptor: Descriptor) -> None:
        """See `Deleter.delete`. A manifest's entry in the tag that stands in for the referrers API goes as well."""
        kind = "manifest" if media.is_manifest(descriptor.media_type) else "blob"
        raw = self._raw(descriptor) if kind == "manifest" else b""
        self._delete(f"{self._path}/{kind}s/{descriptor.digest}", f"{kind} {descriptor.digest}")
        if self._latest and self._latest[0] == descriptor:
            self._latest = None
        if referrers.may_have_subject(raw):
            subject, described = referrers.describe(descriptor.plain(), raw)
            if subject and self._listed_referrers(subject.digest, "") is None:
                self._write_referrers(
                    subject, referrers.without_referrer(self._tagged_referrers(subject.digest), described)
                )

    def untag(self, tag: str) -> None:
        """Removes a tag alone.

        Raises:
            NotFoundError: there is no such tag.
            UnsupportedError: the registry removes manifests only.
        """
        check_tag(tag)
        self._delete(
            f"{self._path}/manifests/{tag}",
            self._named(tag),
            hint="many registries delete no tag alone; --force deletes the modelkit with all its tags",
        )

    def _scopes(self, actions: str) -> tuple[str, ...]:
        return (f"repository:{self._path}:{actions}",)

    def _named(self, reference: str) -> str:
        return f"{self.reference.name}{'@' if ':' in reference else ':'}{reference}"

    def _uploader(self) -> Uploader:
        return Uploader(self._client, self._path, self._scopes(_PUSH), self)

    def _manifest_call(self, method: str, name: str, subject: str, accepted: tuple[int, ...] = (200,)) -> Call:
        headers = {"Accept": _ACCEPT}
        return Call(method, f"{self._path}/manifests/{name}", subject, accepted, headers, scopes=self._scopes(_PULL))

    def _open(self, descriptor: Descriptor, offset: int) -> Reader:
        kind = "manifest" if media.is_manifest(descriptor.media_type) else "blob"

        def ask(position: int) -> Response:
            headers = {"Accept": _ACCEPT} if kind == "manifest" else {}
            accepted = (200, 206, 416) if position else (200,)
            if position:
                # Not every registry understands a range without an end.
                headers["Range"] = f"bytes={position}-{descriptor.size - 1}"
            url = f"{self._path}/{kind}s/{descriptor.digest}"
            subject = f"{kind} {descriptor.digest}"
            return self._client.send(Call("GET", url, subject, accepted, headers, scopes=self._scopes(_PULL)))

        return BlobReader(ask, descriptor.size, self._client.pauser, offset=offset)

    def _raw(self, descriptor: Descriptor) -> bytes:
        """A manifest's verified bytes."""
        if descriptor.size > MAX_SIZE:
            raise InvalidError(
                f"manifest {descriptor.digest} has {descriptor.size} bytes; at most {MAX_SIZE} are allowed"
            )
        return VerifyingReader(self.fetch(descriptor), descriptor).read()

    def _push_manifest(self, descriptor: Descriptor, content: Content) -> None:
        if descriptor.size > MAX_SIZE:
            raise InvalidError(
                f"manifest {descriptor.digest} has {descriptor.size} bytes; at most {MAX_SIZE} are allowed"
            )
        raw = VerifyingReader(content.open(), descriptor).read()
        response = self._put_manifest(str(descriptor.digest), descriptor, raw)
        self._latest = (descriptor.plain(), raw)
        if "oci-subject" in response.headers or not referrers.may_have_subject(raw):
            return
        subject, described = referrers.describe(descriptor.plain(), raw)
        if subject and self._listed_referrers(subject.digest, "") is None:
            self._write_referrers(subject, referrers.with_referrer(self._tagged_referrers(subject.digest), described))

    def _put_manifest(self, name: str, descriptor: Descriptor, raw: bytes) -> Response:
        headers = {"Content-Type": descriptor.media_type}
        url, subject = f"{self._path}/manifests/{name}", self._named(name)
        timeout = self._client.connection.timeouts.commit
        call = Call("PUT", url, subject, (201, 202, 200), headers, raw, self._scopes(_PUSH), timeout)
        return self._client.discard(call)

    def _listed_referrers(self, digest: Digest, artifact_type: str) -> tuple[Descriptor, ...] | None:
        """What the API lists; None where there is none."""
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        url, found = f"{self._path}/referrers/{digest}{query}", list[Descriptor]()
        for _ in range(_MAX_PAGES):
            headers = {"Accept": media.INDEX}
            call = Call(
                "GET", url, f"referrers of {digest}", (200, *referrers.UNSUPPORTED), headers, scopes=self._scopes(_PULL)
            )
            response, raw = self._client.read(call, _LIST_LIMIT)
            listed = None
            if response.status == 200:
                listed = referrers.parse_list(raw, response.headers.get("content-type", ""))
            if listed is None:
                return None
            found += listed
            following = link.following(response.headers.get("link", ""))
            if not following:
                return tuple(found)
            url = self._client.address(following, response.url)
        raise self._odd("its pages of referrers")

    def _tagged_referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        tag = referrers.tag_for(digest)
        call = self._manifest_call("GET", tag, self._named(tag), (200, 404))
        response, raw = self._client.read(call, MAX_SIZE)
        return Index.parse(raw).manifests if response.status == 200 else ()

    def _write_referrers(self, subject: Descriptor, index: Index | None) -> None:
        if index is not None:
            self._put_manifest(referrers.tag_for(subject.digest), index.descriptor, index.raw)

    def _pages(self, url: str, subject: str) -> Iterator[dict[str, Any]]:
        """JSON objects of a list that may have several pages."""
        for _ in range(_MAX_PAGES):
            response, raw = self._client.read(Call("GET", url, subject, scopes=self._scopes(_PULL)), _LIST_LIMIT)
            try:
                document = json.loads(raw)
            except (ValueError, RecursionError):
                document = None
            if not isinstance(document, dict):
                raise self._odd("a list")
            yield document
            following = link.following(response.headers.get("link", ""))
            if not following:
                return
            url = self._client.address(following, response.url)
        raise self._odd("its pages of a list")

    def _delete(self, url: str, subject: str, hint: str = "deleting may be turned off in the registry") -> None:
        call = Call("DELETE", url, subject, _DELETED, scopes=self._scopes(_DELETE))
        try:
            self._client.discard(call)
        except RegistryError as error:
            if error.status not in {400, 405, 501} and error.code != "UNSUPPORTED":
                raise
            raise UnsupportedError(
                f"{self.reference.registry} does not delete {subject}",
                hint=hint,
            ) from error

    def _odd(self, what: str) -> RegistryError:
        return RegistryError(
            f"{self.reference.registry} gives {what} in a form that is not the specification's",
            status=200,
            hint="check that the address is a container registry's",
        )


class _Verified:
    """Content as a stream that ends well only if it is what its descriptor says; see `Stream`."""

    def __init__(self, descriptor: Descriptor, content: Content) -> None:
        self.size: int | None = descriptor.size
        self._descriptor = descriptor
        self._content = content

    def chunks(self, offset: int = 0) -> Iterator[memoryview]:
        """From `offset` on; what comes before is read and verified again, and not sent."""
        skip = offset
        for chunk in VerifyingReader(self._content.open(), self._descriptor, ring=SMALL_RING).chunks():
            if skip < len(chunk):
                yield chunk[skip:]
            skip = max(0, skip - len(chunk))

    def digest(self) -> Digest:
        return self._descriptor.digest


def _media_type(response: Response, raw: bytes) -> str:
    """What kind of manifest this is: as it says itself, else as the registry says."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidError(
            "the registry answers with something that is not a manifest", hint="check the address"
        ) from error
    named = document.get("mediaType") if isinstance(document, dict) else None
    if isinstance(named, str) and media.is_manifest(named):
        return named
    said = response.headers.get("content-type", "").partition(";")[0].strip()
    if media.is_manifest(said):
        return said
    return media.INDEX if isinstance(document, dict) and "manifests" in document else media.MANIFEST


def _said_digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except KitcarError:
        return None
