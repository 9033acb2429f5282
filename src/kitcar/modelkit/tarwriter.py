"""Tar headers to the byte as Go's `archive/tar` writes them for kit: one owner, no times, USTAR wherever it can say the name.

Names travel as bytes, as the file system has them. A name USTAR cannot hold, or a file of 8 GiB and more, gets a PAX record
block first (POSIX.1-2001, pax, "ustar Interchange Format" and "pax Header Block").
"""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)
"""What closes an archive: two zero blocks, without padding to a record."""

_NAME, _PREFIX = 100, 155
_OCTAL_LIMIT = 8**11  # 8 GiB: what eleven octal digits can no longer say
_OWNER = b"0001750\0" + b"0000000\0"  # user 1000, group 0
_TAIL = bytes(100) + b"ustar\x0000" + bytes(64)  # link name; magic and version; user and group name
_DEVICE = b"0000000\0" * 2
_BLANK_SUM = 8 * ord(" ")  # the checksum counts its own field as blanks
_FILE, _DIRECTORY, _EXTENDED = b"0", b"5", b"x"
_USUAL_TAILS = {
    kind: (tail, sum(tail)) for kind in (_FILE, _DIRECTORY) for tail in (kind + _TAIL + _DEVICE + bytes(_PREFIX + 12),)
}


def header(name: bytes, *, mode: int, size: int = 0, directory: bool = False) -> bytes:
    """The header blocks of one file or directory; `mode` holds permission, setuid, setgid and sticky bits.

    A directory's name has no slash at its end. Always a multiple of `BLOCK` bytes.
    """
    plain = name.isascii()
    kind = _DIRECTORY if directory else _FILE
    if plain and size < _OCTAL_LIMIT:
        if len(name) <= _NAME:
            return _block(name, mode, size, kind)
        if split := _split(name):
            return _block(split[1], mode, size, kind, prefix=split[0])
    records = b"" if plain and len(name) <= _NAME else _record(b"path", name)
    if size >= _OCTAL_LIMIT:
        records += _record(b"size", b"%d" % size)
    short = _short(name if plain else _ascii(name))
    return _extension(name, records) + _block(short, mode, size if size < _OCTAL_LIMIT else 0, kind)


def header_size(name: bytes, size: int) -> int:
    """Bytes that `header` gives for this name and file size."""
    if len(name) <= _NAME and size < _OCTAL_LIMIT and name.isascii():
        return BLOCK
    return len(header(name, mode=0, size=size))


def padding(size: int) -> int:
    """Zero bytes that follow a file of `size` bytes."""
    return -size % BLOCK


def _block(name: bytes, mode: int, size: int, kind: bytes, *, prefix: bytes = b"") -> bytes:
    head = b"%b%07o\0%b%011o\x00%b" % (name.ljust(_NAME, b"\0"), mode, _OWNER, size, b"00000000000\0")
    if not prefix:
        return _checked(head, *_USUAL_TAILS[kind])
    tail = kind + _TAIL + _DEVICE + prefix.ljust(_PREFIX, b"\0") + bytes(12)
    return _checked(head, tail, sum(tail))


def _checked(head: bytes, tail: bytes, tail_sum: int) -> bytes:
    return b"%b%06o\0 %b" % (head, sum(head) + _BLANK_SUM + tail_sum, tail)


def _extension(name: bytes, records: bytes) -> bytes:
    """The extra header `<directory>/PaxHeaders.0/<base>` and its records, padded to whole blocks."""
    parent, slash, base = name.rpartition(b"/")
    title = _ascii(parent + slash + b"PaxHeaders.0/" + base)[:_NAME].rstrip(b"/")
    zero = b"0000000\0"
    head = title.ljust(_NAME, b"\0") + zero * 3 + b"%011o\x00" % len(records) + b"00000000000\0"
    tail = _EXTENDED + _TAIL + bytes(16) + bytes(_PREFIX) + bytes(12)
    return _checked(head, tail, sum(tail)) + records + bytes(padding(len(records)))


def _record(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest))
    if rest + len(str(size)) != size:
        size = rest + len(str(size))
    return b"%d %b=%b\n" % (size, key, value)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """USTAR's prefix and name of an ASCII name over 100 bytes, cut at the last slash that the prefix can hold."""
    cut = name.rfind(b"/", 0, _PREFIX + 1)
    suffix = len(name) - cut - 1
    if cut <= 0 or not 0 < suffix <= _NAME:
        return None
    return name[:cut], name[cut + 1 :]


def _ascii(name: bytes) -> bytes:
    return name if name.isascii() else bytes(byte for byte in name if byte < 0x80)


def _short(name: bytes) -> bytes:
    """What the name field keeps of a name that stands in a PAX record; never a slash at its end."""
    field = name[:_NAME]
    if len(name) > _NAME and field.endswith(b"/"):
        end = len(name[: _NAME - 1].rstrip(b"/"))
        field = field[:end] + b"\0" + field[end + 1 :]
    return field
