"""The JSON files of a store, in kit's form: `index.json` and, for each repository, an index and a tags file.

kit writes them in place, so a reader may meet one half-written: it looks again before it calls a file damaged. Members
that are unknown here are kept when a file is written again.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitcar.errors import InvalidError, KitcarError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.encoding import encode
from kitcar.stores.disk import disk_errors, sync_folder, write_all

_INDEX_NAME = re.compile(r"([A-Za-z0-9_-]+={0,2})-index\.json")
_ATTEMPTS = 6
_PAUSE = 0.02
"""Seconds between attempts: kit writes a file of some kilobytes in far less."""


@dataclass(frozen=True, slots=True)
class Listing:
    """An index file: the manifests it lists, as they are written there, and its other members."""

    members: dict[str, Any]
    entries: tuple[dict[str, Any], ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of all entries, in order."""
        return tuple(entry["digest"] for entry in self.entries)

    def entry(self, digest: Digest) -> dict[str, Any] | None:
        """The entry of `digest`."""
        return next((entry for entry in self.entries if entry["digest"] == str(digest)), None)

    def adding(self, *entries: dict[str, Any]) -> Listing:
        """With `entries` at the end, those left out that are there."""
        there = set(self.digests)
        new = {entry["digest"]: entry for entry in entries if entry["digest"] not in there}
        return Listing(self.members, (*self.entries, *new.values()))

    def without(self, digest: Digest) -> Listing:
        """With no entry of `digest`."""
        return Listing(self.members, tuple(entry for entry in self.entries if entry["digest"] != str(digest)))

    def encode(self) -> bytes:
        """The file's bytes."""
        return encode({**self.members, "manifests": list(self.entries)})


NEW_INDEX = Listing({"schemaVersion": 2, "mediaType": media.INDEX}, ())
NEW_REPOSITORY = Listing({"schemaVersion": 2}, ())


def entry_of(descriptor: Descriptor) -> dict[str, Any]:
    """The form a manifest has in an index or tags file."""
    return descriptor.plain().encode()


def read_listing(path: Path) -> Listing | None:
    """The index in `path`; None if there is no file.

    Raises:
        InvalidError: the file is damaged; the message names it.
    """
    document = _read(path)
    if document is None:
        return None
    manifests = document.get("manifests") or []
    if not isinstance(manifests, list):
        raise _damaged(path, "manifests is no list")
    for entry in manifests:
        _decode(path, entry)
    members = {name: value for name, value in document.items() if name != "manifests"}
    return Listing(members, tuple({entry["digest"]: entry for entry in manifests}.values()))


def read_tags(path: Path) -> dict[str, dict[str, Any]]:
    """The tags in `path`, each with its descriptor as it is written; empty if there is no file.

    Raises:
        InvalidError: the file is damaged; the message names it.
    """
    tags = _read(path) or {}
    for entry in tags.values():
        _decode(path, entry)
    return tags


def encode_tags(tags: dict[str, dict[str, Any]]) -> bytes:
    """The bytes of a tags file."""
    return encode(dict(sorted(tags.items())))


def write_document(path: Path, data: bytes, scratch: Path) -> None:
    """Replaces `path` in one step that survives a power cut; only under the store's exclusive lock.

    Raises:
        KitcarError: the disk is full or refuses.
    """
    with disk_errors("write", path):
        file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            write_all(file, memoryview(data))
            os.fsync(file)
        finally:
            os.close(file)
        scratch.rename(path)
        sync_folder(path.parent)


def index_name(repository: str) -> str:
    """The name of the index file of `registry/repository`."""
    return f"{_encoded(repository)}-index.json"


def tags_name(repository: str) -> str:
    """The name of the tags file of `registry/repository`."""
    return f"{_encoded(repository)}-tags.json"


def repository_of(name: str) -> str | None:
    """The `registry/repository` whose index file has this name; None if it is another file."""
    if not (match := _INDEX_NAME.fullmatch(name)):
        return None
    try:
        return base64.urlsafe_b64decode(match[1]).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _encoded(repository: str) -> str:
    return base64.urlsafe_b64encode(repository.encode()).decode()


def _read(path: Path) -> dict[str, Any] | None:
    for attempt in range(_ATTEMPTS):
        try:
            with disk_errors("read", path):
                document = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            document = None
        except KitcarError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        if isinstance(document, dict):
            return document
        if attempt < _ATTEMPTS - 1:
            time.sleep(_PAUSE)
    raise _damaged(path, "it is not a JSON object")


def _decode(path: Path, entry: Any) -> Descriptor:
    try:
        return Descriptor.decode(entry)
    except InvalidError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> InvalidError:
    return InvalidError(
        f"{path} is damaged: {reason}",
        hint="restore the file, or remove it and pull or pack its ModelKits again; blobs that are there are reused",
    )
