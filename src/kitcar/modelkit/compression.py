"""gzip and zstd: the only importer of `isal` and `zstandard`.

gzip is written with ISA-L: at level 1 it packs model weights as small as zlib's default and is thirty times faster, at level 3
text comes within a seventh of zlib's size (docs/performance.md). What it makes is deterministic for one version on one kind of
processor, but it is not what Go's deflate makes: a compressed layer's own digest differs from kit's, its diffId does not.
"""

from __future__ import annotations

import enum
from typing import Protocol

_FASTEST, _SMALLER = 1, 3
_ZSTD_LEVEL = 3


class Method(enum.Enum):
    """How layers are compressed; the values are kit's words for it."""

    NONE = "none"
    GZIP = "gzip"
    GZIP_FASTEST = "gzip-fastest"
    ZSTD = "zstd"


class Compressor(Protocol):
    """Takes bytes, gives compressed ones, possibly later."""

    def compress(self, data: memoryview, /) -> bytes:
        """What is ready after taking `data`; may be empty."""
        ...

    def flush(self) -> bytes:
        """The rest; nothing is taken after it."""
        ...


def compressor(method: Method) -> Compressor:
    """A fresh compressor; memory is bounded and does not grow with the content."""
    if method is Method.NONE:
        return _Untouched()
    if method is Method.ZSTD:
        return _zstd()
    return _Gzip(_FASTEST if method is Method.GZIP_FASTEST else _SMALLER)


class _Untouched:
    def compress(self, data: memoryview, /) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


class _Gzip:
    """One gzip member with the header of Go's `compress/gzip`: no name, no time, system "unknown" (RFC 1952)."""

    def __init__(self, level: int) -> None:
        from isal import isal_zlib

        self._deflate = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
        self._crc32 = isal_zlib.crc32
        self._checksum = self._size = 0
        self._head = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4 if level == _FASTEST else 0, 0xFF])

    def compress(self, data: memoryview, /) -> bytes:
        self._checksum = self._crc32(data, self._checksum)
        self._size += len(data)
        head, self._head = self._head, b""
        return head + bytes(self._deflate.compress(data))

    def flush(self) -> bytes:
        tail = self._checksum.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        return self._head + bytes(self._deflate.flush()) + tail


def _zstd() -> Compressor:
    import zstandard

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
