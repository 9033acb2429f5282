from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.modelkit import tarwriter

GIB = 1024**3
NAMES = st.lists(
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=120).filter(
        lambda part: part not in {".", ".."}
    ),
    min_size=1,
    max_size=8,
).map("/".join)


def read(header: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(header + tarwriter.END)) as archive:
        member = archive.next()
    assert member is not None
    return member


def test_header_of_a_file_is_one_block_with_a_fixed_owner_and_no_time() -> None:
    header = tarwriter.header(b"dir/model.bin", mode=0o4755, size=4096)
    member = read(header)
    assert len(header) == tarwriter.BLOCK
    assert (member.name, member.size, member.mode, member.uid, member.gid, member.mtime) == (
        "dir/model.bin",
        4096,
        0o4755,
        1000,
        0,
        0,
    )
    assert (member.uname, member.gname, member.isreg()) == ("", "", True)
    assert header[257:265] == b"ustar\x0000"
    assert header[329:345] == b"0000000\0" * 2


def test_header_of_a_directory_has_no_slash_at_the_end_of_its_name() -> None:
    header = tarwriter.header(b"dir", mode=0o755, directory=True)
    assert header[:4] == b"dir\0"
    assert read(header).isdir()


def test_header_of_a_long_name_is_split_at_the_last_slash_that_fits() -> None:
    name = b"a" * 60 + b"/" + b"b" * 60 + b"/" + b"c" * 90
    header = tarwriter.header(name, mode=0o644)
    assert len(header) == tarwriter.BLOCK
    assert header[:100] == b"c" * 90 + bytes(10)
    assert header[345:500].rstrip(b"\0") == name[:121]


def test_header_of_a_name_that_cannot_be_split_has_a_path_record() -> None:
    name = b"x" * 101
    header = tarwriter.header(name, mode=0o644)
    assert len(header) == 3 * tarwriter.BLOCK
    assert header[:100] == b"PaxHeaders.0/" + b"x" * 87
    assert header[512:].startswith(b"111 path=" + name + b"\n")
    assert header[1024:1124] == name[:100]


def test_header_of_a_name_with_bytes_that_are_no_utf8_keeps_them() -> None:
    header = tarwriter.header(b"a\xff/b", mode=0o644)
    assert b" path=a\xff/b\n" in header
    assert header[1024:1028] == b"a/b\0"


def test_header_of_a_cut_name_does_not_end_with_a_slash() -> None:
    header = tarwriter.header(b"d" * 99 + "/é/x".encode(), mode=0o644)
    assert header[1024:1124] == b"d" * 99 + b"\0"


def test_header_of_a_file_up_to_eight_gibibytes_is_one_block() -> None:
    assert len(tarwriter.header(b"big", mode=0o644, size=8 * GIB - 1)) == tarwriter.BLOCK


@pytest.mark.parametrize("size", [8 * GIB, 9663676416, 2**43])
def test_header_of_a_larger_file_has_a_size_record(size: int) -> None:
    header = tarwriter.header(b"big", mode=0o644, size=size)
    assert b" size=%d\n" % size in header
    assert header[1024 + 124 : 1024 + 136] == b"00000000000\0"
    assert read(header).size == size


def test_header_of_nine_gibibytes_has_the_record_kit_writes() -> None:
    header = tarwriter.header(b"big", mode=0o644, size=9663676416)
    assert header[124:136] == b"00000000023\0"
    assert header[512:531] == b"19 size=9663676416\n"


@given(NAMES, st.integers(0, 0o7777), st.integers(0, 2**40), st.booleans())
def test_header_of_anything_is_read_back_by_tarfile(name: str, mode: int, size: int, directory: bool) -> None:
    size = 0 if directory else size
    header = tarwriter.header(name.encode(), mode=mode, size=size, directory=directory)
    member = read(header)
    assert (member.name, member.size, member.mode, member.isdir()) == (name.rstrip("/"), size, mode, directory)
    assert len(header) % tarwriter.BLOCK == 0
    assert len(header) == tarwriter.header_size(name.encode(), size)


def test_archive_of_the_published_vector_has_its_digest() -> None:
    body = b"".join(
        [
            tarwriter.header(b"m", mode=0o755, directory=True),
            tarwriter.header(b"m/a.bin", mode=0o644, size=5) + b"hello" + bytes(tarwriter.padding(5)),
            tarwriter.header(b"m/sub", mode=0o755, directory=True),
            tarwriter.header(b"m/sub/b.bin", mode=0o600, size=1) + b"x" + bytes(tarwriter.padding(1)),
            tarwriter.END,
        ]
    )
    assert hashlib.sha256(body).hexdigest() == "215a617453747e1e3d00dc14f1ec9d49b7d53cb76fdb3bf98dc5a5d4258af22e"


@given(st.integers(0, 2**50))
def test_padding_fills_the_last_block(size: int) -> None:
    assert (size + tarwriter.padding(size)) % tarwriter.BLOCK == 0
    assert 0 <= tarwriter.padding(size) < tarwriter.BLOCK
