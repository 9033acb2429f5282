"""gzip and zstd: the only importer of `isal` and `zstandard`.

gzip is written with ISA-L: at level 1 it packs model weights as small as zlib's default and is thirty times faster, at level 3
text comes within a sixth of zlib's size (docs/performance.md). What it makes is deterministic for one version on one kind of
processor, but it is not what Go's deflate makes: a compressed layer's own digest differs from kit's, its diffId does not.

Expanding goes on as bytes arrive, in bounded memory and up to a limit.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import IO, Protocol, cast

from kitcar.errors import InvalidError, UnsupportedError

OUTPUT = 512 * 1024
"""Bytes of expanded content handed on at a time."""

WINDOW = 8 * 1024 * 1024
"""Bytes of zstd's window: what every decoder should support (RFC 8878, 3.1.1.1.2), and what kit's own encoder uses."""

_INPUT = 128 * 1024
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


def expand(chunks: Iterator[memoryview], compression: str, *, limit: int, window: int = WINDOW) -> Iterator[memoryview]:
    """The expanded bytes of `chunks`; each view is immutable and stays valid.

    A zstd stream that ends too early just ends here: its content is not what its digest says, or lacks its archive's end.

    Args:
        chunks: the compressed bytes; read to their end, so that whoever verifies them has seen all.
        compression: `gzip` or `zstd`.
        limit: bytes of expanded content that are given at most.
        window: bytes of zstd's window that are allowed; so much memory may be used.

    Raises:
        InvalidError: the stream is malformed, or expands to more than `limit` bytes.
        UnsupportedError: it needs a larger window than is safe, or the compression is unknown.
    """
    if compression not in ("gzip", "zstd"):
        raise UnsupportedError(f"compression {compression!r} is not supported", hint="gzip and zstd are")
    total = 0
    for piece in _gunzip(chunks) if compression == "gzip" else _unzstd(chunks, window):
        total += len(piece)
        if total > limit:
            raise InvalidError(
                f"the layer expands to more than {limit} bytes",
                hint="if you trust it, let layers expand further: KITCAR_EXPANSION=10000 is that many times their size",
            )
        yield memoryview(piece)


def _pieces(chunks: Iterator[memoryview]) -> Iterator[memoryview]:
    """Smaller views: what a decompressor cannot use at once, it copies."""
    for chunk in chunks:
        for at in range(0, len(chunk), _INPUT):
            yield chunk[at : at + _INPUT]


def _gunzip(chunks: Iterator[memoryview]) -> Iterator[bytes]:
    from isal import igzip_lib

    # The library's stub takes the exception's class for an exception.
    fault = cast("type[Exception]", igzip_lib.IsalError)
    member: igzip_lib.IgzipDecompressor | None = None
    for piece in _pieces(chunks):
        data: bytes | memoryview = piece
        while True:
            if member is None:
                if not data:
                    break
                member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            try:
                expanded = member.decompress(data, OUTPUT)
            except fault as error:
                raise InvalidError("the layer is not gzip, or is damaged") from error
            if expanded:
                yield expanded
            data = b""
            if member.eof:
                data, member = member.unused_data, None
            elif member.needs_input:
                break
    if member is not None:
        raise InvalidError("the layer's gzip stream ends too early")


def _unzstd(chunks: Iterator[memoryview], window: int) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=window)
    source = cast("IO[bytes]", _ChunkFile(chunks))
    with decompressor.stream_reader(source, read_size=_INPUT, read_across_frames=True) as reader:
        while True:
            try:
                piece = reader.read(OUTPUT)
            except zstandard.ZstdError as error:
                if "too much memory" in str(error):
                    raise UnsupportedError(
                        f"the layer's zstd frame needs a window of more than {window} bytes",
                        hint="pack it again with a lower zstd level and without long-distance matching",
                    ) from error
                raise InvalidError("the layer is not zstd, or is damaged") from error
            if not piece:
                return
            yield piece


class _ChunkFile:
    """Chunks as the file that zstandard reads from."""

    def __init__(self, chunks: Iterator[memoryview]) -> None:
        self._pieces = _pieces(chunks)

    def read(self, _size: int = -1) -> memoryview:
        """The next bytes; zstandard takes any number."""
        return next(self._pieces, memoryview(b""))
