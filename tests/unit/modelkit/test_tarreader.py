"""The tar reader gives what `tarfile` and GNU tar wrote, and refuses what is no ordinary file or directory."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError, KitcarError, UnsafePathError
from kitcar.modelkit import tarwriter
from kitcar.modelkit.tarreader import Entry, TarReader
from kitcar.testing.parts import BLOCK, Member, directory, tar

END = bytes(2 * BLOCK)


class Collector:
    """A sink that keeps everything, and the raw headers."""

    def __init__(self) -> None:
        self.found: list[tuple[str, int, bytes | None]] = []
        self.raw: list[bytes] = []
        self._entry: Entry | None = None
        self._data = bytearray()

    def directory(self, entry: Entry) -> None:
        self.raw.append(entry.raw)
        self.found.append((entry.path, entry.mode, None))

    def file(self, entry: Entry) -> None:
        assert self._entry is None
        self.raw.append(entry.raw)
        self._entry = entry
        self._data = bytearray()

    def data(self, view: memoryview) -> None:
        assert view
        self._data += view

    def end(self) -> None:
        assert self._entry is not None
        assert len(self._data) == self._entry.size
        self.found.append((self._entry.path, self._entry.mode, bytes(self._data)))
        self._entry = None


def read(archive: bytes, step: int = 1 << 20) -> list[tuple[str, int, bytes | None]]:
    sink = Collector()
    reader = TarReader(sink)
    view = memoryview(archive)
    for at in range(0, len(view), step):
        reader.feed(view[at : at + step])
    reader.close()
    assert reader.position == len(archive)
    return sink.found


def made(entries: list[tuple[str, int, bytes | None]], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, mode, data in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = mode, 1_700_000_000
            if data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


names = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
        lambda part: part not in {".", "..", ".kitcar-staging"}
    ),
    min_size=1,
    max_size=6,
).map("/".join)


@given(
    entries=st.dictionaries(names, st.tuples(st.integers(0, 0o777), st.none() | st.binary(max_size=1500)), max_size=6),
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    step=st.integers(1, 3000),
)
def test_tarreader_gives_what_tarfile_wrote_in_chunks_of_any_size(
    entries: dict[str, tuple[int, bytes | None]], form: int, step: int
) -> None:
    wanted = [(name, mode, data) for name, (mode, data) in entries.items()]
    try:
        archive = made(wanted, form)
    except ValueError:  # a name that USTAR cannot hold
        return
    assert read(archive, step) == wanted


@given(
    entries=st.dictionaries(names, st.tuples(st.integers(0, 0o777), st.none() | st.binary(max_size=1500)), max_size=6)
)
def test_tarreader_gives_what_our_writer_wrote(entries: dict[str, tuple[int, bytes | None]]) -> None:
    archive = bytearray()
    for name, (mode, data) in entries.items():
        archive += tarwriter.header(name.encode(), mode=mode, size=len(data or b""), directory=data is None)
        archive += (data or b"") + bytes(tarwriter.padding(len(data or b"")))
    archive += tarwriter.END
    assert read(bytes(archive)) == [(name, mode, data) for name, (mode, data) in entries.items()]


@given(
    entries=st.lists(st.tuples(names, st.binary(max_size=1500)), min_size=1, max_size=5, unique_by=lambda item: item[0])
)
def test_tarreader_skipped_bodies_count_as_read(entries: list[tuple[str, bytes]]) -> None:
    archive = made([(name, 0o644, data) for name, data in entries], tarfile.PAX_FORMAT)
    sink = Collector()
    TarReader(sink).feed(memoryview(archive))
    seen: list[str] = []

    class Names(Collector):
        def end(self) -> None:
            assert self._entry
            seen.append(self._entry.path)
            self._entry = None

    reader = TarReader(Names())
    for raw, (_, data) in zip(sink.raw, entries, strict=True):
        reader.feed(memoryview(raw))
        assert reader.body_left == len(data)
        reader.skip(len(data) // 2)
        reader.skip(reader.body_left + reader.padding_left)
        assert not reader.padding_left
    assert seen == [name for name, _ in entries]
    assert archive[reader.position :].strip(b"\0") == b""


@pytest.mark.parametrize("form", ["ustar", "pax", "gnu", "oldgnu", "v7"])
def test_tarreader_reads_gnu_tar(tmp_path: Path, form: str) -> None:
    source = tmp_path / "in"
    long = "d" * 80 + "/" + "e" * 10
    (source / long).mkdir(parents=True)
    (source / "empty").mkdir()
    (source / long / "f.bin").write_bytes(b"x" * 700)
    (source / "a").write_bytes(b"")
    if form not in ("ustar", "v7"):
        (source / ("n" * 180)).write_bytes(b"long")
        (source / "モデル.bin").write_bytes(b"u")
    subprocess.run(["tar", f"--format={form}", "-C", source, "-cf", tmp_path / "x.tar", "."], check=True)
    found = {path: data for path, _, data in read((tmp_path / "x.tar").read_bytes())}
    wanted = {
        str(path.relative_to(source)): path.read_bytes() if path.is_file() else None for path in source.rglob("*")
    }
    assert found == {".": None, **wanted}


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (b"1", "a hard link"),
        (b"2", "a symbolic link"),
        (b"3", "a character device"),
        (b"4", "a block device"),
        (b"6", "a FIFO"),
        (b"7", "a contiguous file"),
        (b"S", "a sparse file"),
        (b"V", "of the unknown type"),
    ],
)
def test_tarreader_entry_of_another_kind_is_refused(kind: bytes, what: str) -> None:
    with pytest.raises(UnsafePathError, match=what):
        read(tar([Member("x", kind=kind, link="/etc/passwd")]))


@pytest.mark.parametrize("name", ["../x", "code/../../x", "/etc/passwd", "a/../b", ".kitcar-staging/lock"])
def test_tarreader_unsafe_name_is_refused(name: str) -> None:
    with pytest.raises(UnsafePathError):
        read(tar([Member(name, b"evil")]))


def test_tarreader_control_characters_do_not_reach_the_message() -> None:
    with pytest.raises(UnsafePathError) as caught:
        read(tar([Member("../\x1b[2J\n")]))
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tarreader_setuid_setgid_and_sticky_are_dropped() -> None:
    assert read(tar([Member("x", mode=0o7755), directory("d", 0o7777)])) == [("x", 0o755, b""), ("d", 0o777, None)]


@pytest.mark.parametrize("name", ["x/", "."])
def test_tarreader_file_with_a_directorys_name_is_refused(name: str) -> None:
    with pytest.raises(UnsafePathError, match="no file name"):
        read(tar([Member(name, b"1")]))


def test_tarreader_old_directory_is_known_by_its_slash() -> None:
    assert read(tar([Member("d/", kind=b"\0"), Member("d/x", b"1", kind=b"\0")])) == [
        ("d", 0o644, None),
        ("d/x", 0o644, b"1"),
    ]


def test_tarreader_directory_with_content_is_refused() -> None:
    with pytest.raises(InvalidError, match="has content"):
        read(tar([Member("d", b"1", kind=b"5")]))


def test_tarreader_data_after_the_end_is_refused() -> None:
    archive = tar([Member("x", b"1")])
    assert read(archive + bytes(10240)) == [("x", 0o644, b"1")]
    with pytest.raises(InvalidError, match="data after its end"):
        read(archive + tar([Member("y")]))


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 513, 700])
def test_tarreader_archive_that_is_cut_is_refused(cut: int) -> None:
    archive = tar([Member("x", b"1" * 600), Member("y", b"2" * 512)], end=b"")
    with pytest.raises(InvalidError, match="in the middle"):
        read(archive[:-cut])


def test_tarreader_archive_without_an_end_is_taken_and_says_so() -> None:
    reader = TarReader(Collector())
    reader.feed(memoryview(tar([Member("x", b"1")], end=b"")))
    reader.close()
    assert not reader.ended
    reader.feed(memoryview(END))
    assert reader.ended


def test_tarreader_wrong_checksum_is_refused() -> None:
    archive = bytearray(tar([Member("x", b"1")]))
    archive[0] ^= 1
    with pytest.raises(InvalidError, match="checksum"):
        read(bytes(archive))


def extended(kind: bytes, data: bytes, name: str = "x", size: int | None = None) -> bytes:
    header = tar([Member("header", data, kind=kind)], end=b"")
    if size is not None:
        block = bytearray(header[:BLOCK])
        block[124:136] = b"%011o\0" % size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        header = bytes(block) + header[BLOCK:]
    return header + tar([Member(name, b"body")])


def test_tarreader_pax_records_that_matter_are_taken() -> None:
    records = b"".join(
        b"%d %b\n" % (len(body) + 4, body) for body in (b"mtime=1700000000", b"path=a/b/c", b"SCHILY.xattr.user.x=1")
    )
    assert read(extended(b"x", records)) == [("a/b/c", 0o644, b"body")]
    assert read(extended(b"g", b"17 comment=hello\n")) == [("x", 0o644, b"body")]


def test_tarreader_pax_size_overrides_the_header() -> None:
    data = b"9 size=4\n"
    archive = bytearray(extended(b"x", data))
    block = memoryview(archive)[2 * BLOCK : 3 * BLOCK]
    block[124:136] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert read(bytes(archive)) == [("x", 0o644, b"body")]


@pytest.mark.parametrize(
    ("kind", "data", "error"),
    [
        (b"x", b"13 path=../x\n", UnsafePathError),
        (b"x", b"12 path=a\0b\n", UnsafePathError),
        (b"x", b"99 path=a\n", InvalidError),
        (b"x", b"path=a\n", InvalidError),
        (b"x", b"-9 path=a\n", InvalidError),
        (b"x", b"0 path=a\n", InvalidError),
        (b"x", b"9 path=a ", InvalidError),
        (b"x", b"6 pat\n", InvalidError),
        (b"x", b"11 size=-1\n", InvalidError),
        (b"x", b"12 size=1_0\n", InvalidError),
        (b"x", b"22 GNU.sparse.major=1\n", UnsafePathError),
        (b"g", b"11 path=ab\n", InvalidError),
        (b"L", b"../../x\0", UnsafePathError),
    ],
)
def test_tarreader_hostile_extension_is_refused(kind: bytes, data: bytes, error: type[KitcarError]) -> None:
    with pytest.raises(error):
        read(extended(kind, data))


def test_tarreader_extension_without_end_is_refused() -> None:
    with pytest.raises(InvalidError, match="too long"):
        read(extended(b"x", b"", size=2 << 20))
    one = tar([Member("header", b"x" * (1 << 19), kind=b"L")], end=b"")
    with pytest.raises(InvalidError, match="too long"):
        read(one * 3)


@pytest.mark.parametrize(
    "field", [b"\x80" + bytes(2) + b"\x10" + bytes(7) + b"\x04", b"\xff" * 12, b"12 34567890\0", b"9" * 11 + b"\0"]
)
def test_tarreader_absurd_number_is_refused(field: bytes) -> None:
    archive = bytearray(tar([Member("x", b"body")]))
    archive[124:136] = field
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:BLOCK])
    with pytest.raises(InvalidError, match="number"):
        read(bytes(archive))


def test_tarreader_base_256_size_is_read() -> None:
    archive = bytearray(tar([Member("x", b"body")]))
    archive[124:136] = b"\x80" + bytes(10) + b"\x04"
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:BLOCK])
    assert read(bytes(archive)) == [("x", 0o644, b"body")]


@given(st.binary(max_size=3000), st.integers(1, 1200))
def test_tarreader_any_bytes_give_entries_or_our_error(data: bytes, step: int) -> None:
    with contextlib.suppress(KitcarError):
        read(data, step)


@given(at=st.integers(0, 3 * BLOCK), value=st.integers(0, 255))
def test_tarreader_any_changed_byte_gives_entries_or_our_error(at: int, value: int) -> None:
    archive = bytearray(tar([directory("d"), Member("d/" + "x" * 120, b"body" * 9)]))
    archive[at] = value
    try:
        found = read(bytes(archive))
    except KitcarError:
        return
    assert all(not path.startswith(("/", "..")) for path, _, _ in found)
