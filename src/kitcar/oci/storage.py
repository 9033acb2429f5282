"""What a place that holds content can do. One protocol an ability; the optional ones are asked for where they pay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from kitcar.errors import UnsupportedError
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest


class Reader(Protocol):
    """A stream of bytes that are not yet believed (see `oci.verify`)."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fills the start of `buffer`; gives the number of bytes, 0 at the end.

        Raises:
            TransportError: the stream broke and could not be resumed.
        """
        ...

    def close(self) -> None:
        """Gives the stream up; harmless when repeated."""
        ...


class Content(Protocol):
    """Bytes that can be opened again, for whoever must start over or resume."""

    def open(self, offset: int = 0) -> Reader:
        """A stream that starts `offset` bytes in.

        Raises:
            UnsupportedError: `offset` is not 0 and this content opens at the start only.
        """
        ...


class Stream(Protocol):
    """Bytes made on the way, whose digest is known only after the last of them."""

    size: int | None
    """Bytes in all, where known beforehand."""

    def chunks(self, offset: int = 0) -> Iterator[memoryview]:
        """The bytes from `offset` on; a chunk is valid until the next is asked for. May be called again, to resume."""
        ...

    def digest(self) -> Digest:
        """The digest of all bytes; only after `chunks` has ended."""
        ...


class Fetcher(Protocol):
    """Gives content."""

    def fetch(self, descriptor: Descriptor) -> Reader:
        """A stream of the content, unverified.

        Raises:
            NotFoundError: it is not here.
            TransportError, RegistryError: it could not be asked for.
        """
        ...


class Storage(Fetcher, Protocol):
    """Gives and takes content."""

    def exists(self, descriptor: Descriptor) -> bool:
        """Whether the content is here."""
        ...

    def push(self, descriptor: Descriptor, content: Content) -> None:
        """Stores `content` if it is what `descriptor` says; shows it whole or not at all. Existing content is left as it is.

        Raises:
            IntegrityError: the bytes are not what the descriptor promises.
            TransportError, RegistryError: it could not be stored.
        """
        ...


class Resolver(Protocol):
    """Knows what a tag or digest stands for."""

    def resolve(self, reference: str) -> Descriptor:
        """The manifest that a tag or digest names, as a plain descriptor.

        Raises:
            NotFoundError: no such tag or manifest.
        """
        ...


class ReadTarget(Fetcher, Resolver, Protocol):
    """A place to copy from."""


class Target(Storage, Resolver, Protocol):
    """A place to copy from and to."""

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Lets `tag` name a manifest that is here.

        Raises:
            NotFoundError: the manifest is not here.
            InvalidError: the tag is malformed.
        """
        ...


@runtime_checkable
class RangeFetcher(Protocol):
    """Gives content from the middle."""

    def fetch_range(self, descriptor: Descriptor, offset: int) -> Reader:
        """A stream of the content from byte `offset` to its end.

        Raises:
            NotFoundError: it is not here.
            UnsupportedError: this place cannot start in the middle.
        """
        ...


@runtime_checkable
class Mounter(Protocol):
    """Takes content from another repository of its own registry."""

    def mount(self, descriptor: Descriptor, repository: str) -> bool:
        """Mounts the blob from `repository`; False if the registry wants it uploaded instead."""
        ...


@runtime_checkable
class Ingester(Protocol):
    """Takes content whose digest is not known yet, in one pass."""

    def ingest(self, stream: Stream) -> tuple[Digest, int]:
        """Stores all bytes of `stream`; gives their digest and number. Shows them whole or not at all.

        Raises:
            TransportError, RegistryError: it could not be stored.
        """
        ...


@runtime_checkable
class TagLister(Protocol):
    """Knows its tags."""

    def tags(self) -> Iterator[str]:
        """All tags, in the order of their text.

        Raises:
            NotFoundError: the repository does not exist.
        """
        ...


@runtime_checkable
class ReferrerLister(Protocol):
    """Knows what refers to a manifest."""

    def referrers(self, subject: Descriptor, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Manifests whose subject is `subject`, of one artifact type if given."""
        ...


@runtime_checkable
class Deleter(Protocol):
    """Gives content up."""

    def delete(self, descriptor: Descriptor) -> None:
        """Removes a manifest and its tags, or a blob.

        Raises:
            NotFoundError: it is not here.
            UnsupportedError: this place deletes nothing.
        """
        ...


class BytesReader:
    """A stream over bytes in memory."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._rest = memoryview(data)

    def readinto(self, buffer: memoryview, /) -> int:
        """See `Reader.readinto`."""
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """See `Reader.close`."""


class BytesContent:
    """Content in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self, offset: int = 0) -> Reader:
        """See `Content.open`."""
        return BytesReader(memoryview(self._data)[offset:])


class StoredContent:
    """Content of another place, fetched when opened."""

    def __init__(self, source: Fetcher, descriptor: Descriptor) -> None:
        self._source = source
        self._descriptor = descriptor

    def open(self, offset: int = 0) -> Reader:
        """See `Content.open`."""
        if not offset:
            return self._source.fetch(self._descriptor)
        if isinstance(self._source, RangeFetcher):
            return self._source.fetch_range(self._descriptor, offset)
        raise UnsupportedError("the source cannot be read from the middle")
