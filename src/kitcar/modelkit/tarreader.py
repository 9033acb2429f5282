"""Reads a layer's tar stream as it arrives: USTAR, PAX and GNU long names, files and directories only.

The reader is pushed chunks of any size and hands bodies on as views of them, nothing is copied. Rules: POSIX.1-2017 pax
Interchange Format; GNU tar manual, Basic Tar Format. What kit's layers never hold (links, devices, sparse files) is refused.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from kitcar.errors import InvalidError, UnsafePathError
from kitcar.files.paths import clean, shown

BLOCK = 512
_EXTENSION_LIMIT = 1024 * 1024
"""Bytes of a PAX or long-name block that are read at most; Go's reader has the same limit."""

_FILES, _DIRECTORY = (b"0", b"\0"), b"5"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_ADLER_MODULUS = 65521
_NOT_ORDINARY: Mapping[bytes, str] = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"S": "a sparse file",
}


class Entry(NamedTuple):
    """A file or directory; a tuple because a layer may have very many. `raw` is all bytes of its headers."""

    path: str
    mode: int
    size: int
    raw: bytes


class TarSink(Protocol):
    """What the entries go to."""

    def directory(self, entry: Entry) -> None:
        """Takes a directory."""
        ...

    def file(self, entry: Entry) -> None:
        """Takes a file's header; `data` follows as long as there is any, then `end`."""
        ...

    def data(self, view: memoryview) -> None:
        """Takes the file's next bytes; `view` is valid during the call only."""
        ...

    def end(self) -> None:
        """The file is complete."""
        ...


class TarReader:
    """Parses a tar stream; the state between two chunks is all it keeps, so memory does not grow with the archive."""

    def __init__(self, sink: TarSink) -> None:
        self._sink = sink
        self.position = 0
        """Bytes of the stream that were consumed."""
        self.body_left = 0
        """Bytes that the current file still lacks."""
        self.padding_left = 0
        """Bytes between the current file's end and the next header."""
        self._block = bytearray()
        self._raw: list[bytes] = []
        self._extension = b""
        self._extension_size = 0
        self._extension_left = 0
        self._extension_data = bytearray()
        self._names: dict[str, bytes] = {}
        self._zero_blocks = 0

    @property
    def ended(self) -> bool:
        """Whether the archive has said that it ends."""
        return bool(self._zero_blocks)

    def feed(self, chunk: memoryview) -> None:
        """Takes the next bytes of the stream.

        Raises:
            InvalidError: they are not tar.
            UnsafePathError: an entry is no ordinary file or directory, or its name is unsafe.
        """
        at, end = 0, len(chunk)
        while at < end:
            if self.body_left:
                taken = min(self.body_left, end - at)
                self._sink.data(chunk[at : at + taken])
                self._body(taken)
            elif self.padding_left:
                taken = min(self.padding_left, end - at)
                self.padding_left -= taken
            elif self._extension_left:
                taken = min(self._extension_left, end - at)
                self._extend(bytes(chunk[at : at + taken]))
            else:
                taken = min(BLOCK - len(self._block), end - at)
                self._header(chunk[at : at + taken])
            at += taken
            self.position += taken

    def skip(self, count: int) -> None:
        """Passes over `count` bytes of the current body or the padding after it, that the caller has from elsewhere."""
        self.position += count
        in_body = min(count, self.body_left)
        if in_body:
            self._body(in_body)
        self.padding_left -= count - in_body

    def close(self) -> None:
        """Ends the stream.

        Raises:
            InvalidError: it ended within an entry.
        """
        if self.body_left or self.padding_left or self._extension_left or self._block or self._raw:
            raise InvalidError("the layer's tar ends in the middle of an entry")

    def _body(self, taken: int) -> None:
        self.body_left -= taken
        if not self.body_left:
            self._sink.end()

    def _header(self, piece: memoryview) -> None:
        if len(piece) == BLOCK:
            self._parse(bytes(piece))
            return
        self._block += piece
        if len(self._block) == BLOCK:
            block = bytes(self._block)
            self._block.clear()
            self._parse(block)

    def _parse(self, block: bytes) -> None:
        if not block[0] and not any(block):
            self._zero_blocks += 1
            return
        if self._zero_blocks:
            raise InvalidError("the layer's tar has data after its end", hint="the artifact is malformed or hostile")
        _check(block)
        kind = block[156:157]
        if kind in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
            self._begin_extension(kind, block)
            return
        self._raw.append(block)
        raw, self._raw = b"".join(self._raw) if len(self._raw) > 1 else block, []
        names, self._names = self._names, {}
        self._emit(kind, block, raw, names)

    def _emit(self, kind: bytes, block: bytes, raw: bytes, names: Mapping[str, bytes]) -> None:
        name = names.get("path") or names.get("long") or _name(block)
        text = os.fsdecode(name)
        size = _number(names["size"], 10) if "size" in names else _field(block, 124, 136)
        is_file = kind in _FILES
        if kind == b"\0" and name.endswith(b"/"):
            is_file, kind = False, _DIRECTORY
        if not is_file and kind != _DIRECTORY:
            what = _NOT_ORDINARY.get(kind, f"of the unknown type {kind!r}")
            raise UnsafePathError(
                f"'{shown(text)}' is {what}, not an ordinary file or directory",
                hint="the artifact is malformed or hostile; kit never packs such entries",
            )
        entry = Entry(clean(text), _field(block, 100, 108) & 0o777, size, raw)
        if not is_file:
            if size:
                raise InvalidError(f"directory '{shown(text)}' has content in the layer's tar")
            self._sink.directory(entry)
            return
        if name.endswith(b"/") or entry.path == ".":
            raise UnsafePathError(f"'{shown(text)}' is no file name")
        self.body_left, self.padding_left = size, -size % BLOCK
        self._sink.file(entry)
        if not size:
            self._sink.end()

    def _begin_extension(self, kind: bytes, block: bytes) -> None:
        size = _field(block, 124, 136)
        if size + sum(map(len, self._raw)) > _EXTENSION_LIMIT:
            raise InvalidError("the layer's tar has an extended header that is too long")
        self._raw.append(block)
        self._extension, self._extension_size, self._extension_left = kind, size, size + -size % BLOCK
        self._extension_data = bytearray()

    def _extend(self, piece: bytes) -> None:
        self._extension_data += piece
        self._extension_left -= len(piece)
        if self._extension_left:
            return
        data = bytes(self._extension_data)
        self._raw.append(data)
        data = data[: self._extension_size]
        if self._extension == _LONG_NAME:
            self._names["long"] = data.rstrip(b"\0")
        elif self._extension == _PAX:
            self._names.update(_wanted(_records(data)))
        elif self._extension == _PAX_GLOBAL and _wanted(_records(data)):
            raise InvalidError("the layer's tar sets names or sizes for all its entries at once")


def _check(block: bytes) -> None:
    """Compares the header's checksum, the sum of its bytes with blanks in place of the checksum itself.

    Adler-32 holds that sum (modulo 65521) in its lower half and is ten times as fast as `sum` here.
    """
    stored = _field(block, 148, 156)
    actual = (zlib.adler32(b"        ", zlib.adler32(block[156:], zlib.adler32(block[:148]))) & 0xFFFF) - 1
    if (stored - actual) % _ADLER_MODULUS:
        raise InvalidError("the layer is not tar: a header's checksum is wrong")


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        return block[345:500].partition(b"\0")[0] + b"/" + name
    return name


def _field(block: bytes, start: int, end: int) -> int:
    """A numeric field: octal digits, or base 256 where the first bit is set (GNU)."""
    if block[start] & 0x80:
        if block[start] != 0x80:
            raise InvalidError("the layer's tar has a number that is negative or too large")
        value = int.from_bytes(block[start + 1 : end], "big")
        if value >> 62:
            raise InvalidError("the layer's tar has a number that is negative or too large")
        return value
    return _number(block[start:end].strip(b" \0") or b"0", 8)


def _number(text: bytes, base: int) -> int:
    try:
        # int() alone would take signs, blanks and underscores.
        value = int(text, base) if text.isdigit() else -1
    except ValueError:
        value = -1
    if value < 0 or value >> 62:
        raise InvalidError(f"the layer's tar has {text[:32]!r} where a number belongs")
    return value


def _records(data: bytes) -> dict[bytes, bytes]:
    """The records of a PAX header, `length key=value` each."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        length = _number(data[at:blank], 10) if blank > at else 0
        key, equals, value = data[blank + 1 : at + length - 1].partition(b"=")
        if not equals or not key or at + length > len(data) or data[at + length - 1 : at + length] != b"\n":
            raise InvalidError("the layer's tar has a malformed PAX record")
        records[key] = value
        at += length
    return records


def _wanted(records: Mapping[bytes, bytes]) -> dict[str, bytes]:
    """The records that matter here; times, owners and comments do not."""
    if any(key.startswith(b"GNU.sparse.") for key in records):
        raise UnsafePathError("the layer holds a sparse file, which kit never packs")
    return {key.decode(): value for key, value in records.items() if key in (b"path", b"size") and value}
