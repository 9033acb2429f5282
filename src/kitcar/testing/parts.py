"""Sources made of bytes in memory, that fail on cue; layers of any tar, hostile ones too; trees as values."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kitcar.errors import KitcarError, TransportError, UnsupportedError
from kitcar.files.paths import Scope
from kitcar.modelkit import tarwriter
from kitcar.oci.digest import Digest
from kitcar.oci.storage import BytesReader, Reader
from kitcar.sources.source import Check, Layout, SingleFile, TarLayer

BLOCK = tarwriter.BLOCK


@dataclass(slots=True)
class BytesPart:
    """A part over `content`, by default one that promises the right digest; see `kitcar.sources.Part`.

    Each opening takes the next of `faults`: None works, a number cuts after so many bytes, an error is raised at once.
    `opened` has the offsets that were asked for, `read` counts bytes; without `ranges` it opens at the start only.
    """

    content: bytes
    layout: Layout
    promised: Digest | None = None
    known: bool = True
    ranges: bool = True
    found: bool = False
    name: str = "part"
    faults: list[int | KitcarError | None] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    read: int = 0

    @property
    def key(self) -> str:
        """See `Part.key`."""
        return f"{self.name} {self.digest} {self.layout!r}"

    @property
    def size(self) -> int | None:
        """See `Part.size`."""
        return len(self.content)

    @property
    def digest(self) -> Digest | None:
        """See `Part.digest`."""
        return (self.promised or Digest.of(self.content)) if self.known else None

    def open(self, offset: int = 0) -> Reader:
        """See `Part.open`."""
        if offset and not self.ranges:
            raise UnsupportedError("this part cannot be read from the middle")
        self.opened.append(offset)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, KitcarError):
            raise fault
        return _CountingReader(self, memoryview(self.content)[offset:], fault)

    def present(self, root: Path, check: Check) -> bool:  # noqa: ARG002 - the protocol's
        """See `Part.present`."""
        check()
        return self.found

    def announcement(self, root: Path, *, found: bool) -> str:  # noqa: ARG002 - the protocol's
        """See `Part.announcement`."""
        return f"{self.name} {'found' if found else 'wanted'}"


class _CountingReader:
    def __init__(self, part: BytesPart, data: memoryview, left: int | None) -> None:
        self._part, self._inner, self._left = part, BytesReader(data), left

    def readinto(self, buffer: memoryview, /) -> int:
        if self._left is not None:
            buffer = buffer[: self._left]
            if not buffer:
                raise TransportError("the connection was cut")
        count = self._inner.readinto(buffer)
        self._part.read += count
        if self._left is not None:
            self._left -= count
        return count

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True, slots=True)
class ListSource:
    """A source of given parts."""

    items: tuple[BytesPart, ...]

    def parts(self) -> tuple[BytesPart, ...]:
        """See `Source.parts`."""
        return self.items


class Member(NamedTuple):
    """One entry of a tar, of whatever kind; `link` is what it points to."""

    name: str
    data: bytes = b""
    mode: int = 0o644
    kind: bytes = b"0"
    link: str = ""


def directory(name: str, mode: int = 0o755) -> Member:
    """A directory's entry."""
    return Member(name, b"", mode, b"5")


def tar(members: Iterable[Member], *, end: bytes = bytes(2 * BLOCK)) -> bytes:
    """A tar of the entries, as kit writes it as far as they are ordinary."""
    written = bytearray()
    for member in members:
        header = bytearray(
            tarwriter.header(os.fsencode(member.name), mode=member.mode, size=len(member.data), directory=False)
        )
        block = memoryview(header)[-BLOCK:]
        block[156:157] = member.kind
        link = os.fsencode(member.link)
        block[157 : 157 + len(link)] = link
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        written += header + member.data + bytes(tarwriter.padding(len(member.data)))
    return bytes(written) + end


def tar_part(*members: Member, scope: str = ".", others: tuple[str, ...] = (), base: str = ".") -> BytesPart:
    """A part that is an uncompressed tar layer of the entries."""
    return BytesPart(tar(members), TarLayer(Scope(scope, others), base), name=scope)


def file_part(path: str, content: bytes, mode: int = 0o644) -> BytesPart:
    """A part that is one file."""
    return BytesPart(content, SingleFile(path, mode), name=path)


def tree(root: Path) -> dict[str, tuple[int, bytes | str | None]]:
    """All below `root`: path to permission bits and content, a link's target, or None for a directory."""
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        content: bytes | str | None = None
        if stat.S_ISLNK(state.st_mode):
            content = str(path.readlink())
        elif stat.S_ISREG(state.st_mode):
            content = path.read_bytes()
        found[str(path.relative_to(root))] = (stat.S_IMODE(state.st_mode), content)
    return found
