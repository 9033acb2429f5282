from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.privilege import file_modes_count
from kitcar.errors import CancelledError, IntegrityError, KitcarError, NotFoundError
from kitcar.files.tree import Tree
from kitcar.modelkit.compression import Method, compressor
from kitcar.modelkit.ignore import IgnoreRules
from kitcar.modelkit.plan import LayerPlan, plan_raw, plan_tar
from kitcar.modelkit.stream import LayerStream
from kitcar.oci.verify import Ring

SMALL = Ring(4, 700)
CONTENTS = {"a": b"", "b": bytes(range(256)) * 20, "dir/c": b"x" * 512, "dir/d": b"y" * 3000, "ä": b"z"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dir").mkdir()
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def planned(root: Path, path: str = ".") -> LayerPlan:
    return plan_tar(Tree(root), path, IgnoreRules.parse())


def drain(stream: LayerStream, offset: int = 0) -> bytes:
    return b"".join(bytes(chunk) for chunk in stream.chunks(offset))


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("ring", [Ring(), SMALL, Ring(2, 1), Ring(1, 512)])
def test_stream_is_the_archive_whatever_the_ring(root: Path, ring: Ring) -> None:
    plan = planned(root)
    stream = LayerStream(plan, ring=ring)
    data = drain(stream)
    assert len(data) == plan.size == stream.size
    assert str(stream.digest()) == str(stream.diff_id()) == digest_of(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isreg()}
        assert {name: file.read() for name, file in files.items() if file} == CONTENTS


@given(st.integers(0, 13000), st.integers(0, 13000), st.sampled_from([Ring(), SMALL]))
@settings(max_examples=60, deadline=None)
def test_stream_cut_anywhere_and_resumed_before_that_has_the_same_digest(
    tmp_path_factory: pytest.TempPathFactory, cut: int, back: int, ring: Ring
) -> None:
    root = tmp_path_factory.getbasetemp() / "resumed"
    if not root.exists():
        (root / "dir").mkdir(parents=True)
        for name, content in CONTENTS.items():
            (root / name).write_bytes(content)
    plan = planned(root)
    whole = drain(LayerStream(plan))
    stream, got = LayerStream(plan, ring=ring), b""
    for chunk in (chunks := stream.chunks()):
        got += bytes(chunk)
        if len(got) >= cut:
            break
    chunks.close()  # type: ignore[attr-defined]
    resumed = min(len(got), back)
    assert got[:resumed] + drain(stream, resumed) == whole
    assert str(stream.digest()) == digest_of(whole)


@pytest.mark.parametrize("offset", [0, 1, 511, 512, 513, 1024, 6000])
def test_stream_from_an_offset_gives_the_rest(root: Path, offset: int) -> None:
    plan = planned(root)
    assert drain(LayerStream(plan, ring=SMALL), offset) == drain(LayerStream(plan))[offset:]


def test_stream_of_a_raw_layer_is_the_file(root: Path) -> None:
    stream = LayerStream(plan_raw(Tree(root), "b"), ring=SMALL)
    assert drain(stream) == CONTENTS["b"]
    assert drain(stream, 100) == CONTENTS["b"][100:]
    assert drain(LayerStream(plan_raw(Tree(root), "a"))) == b""


def inflated(data: bytes, method: Method) -> bytes:
    if method is Method.ZSTD:
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    inflater = zlib.decompressobj(31)
    content = inflater.decompress(data)
    assert inflater.eof
    assert inflater.unused_data == b""
    return content


@pytest.mark.parametrize("method", [Method.GZIP, Method.GZIP_FASTEST, Method.ZSTD])
@pytest.mark.parametrize("ring", [Ring(), SMALL])
def test_compressed_stream_holds_the_same_archive(root: Path, method: Method, ring: Ring) -> None:
    plan = planned(root)
    archive = drain(LayerStream(plan))
    stream = LayerStream(plan, method, ring=ring)
    data = drain(stream)
    assert stream.size is None
    assert inflated(data, method) == archive
    assert (str(stream.digest()), str(stream.diff_id())) == (digest_of(data), digest_of(archive))
    for offset in (0, 1, 10, len(data) // 2, len(data)):
        assert drain(stream, offset) == data[offset:]
        assert (str(stream.digest()), str(stream.diff_id())) == (digest_of(data), digest_of(archive))


def test_gzip_stream_has_the_header_of_go(root: Path) -> None:
    assert drain(LayerStream(planned(root), Method.GZIP))[:10].hex() == "1f8b08000000000000ff"
    assert drain(LayerStream(planned(root), Method.GZIP_FASTEST))[:10].hex() == "1f8b08000000000004ff"


def test_compressor_for_no_compression_gives_what_it_takes() -> None:
    untouched = compressor(Method.NONE)
    assert untouched.compress(memoryview(b"abc")) + untouched.flush() == b"abc"


def test_large_compressed_stream_uses_each_buffer_again(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(200_000))
    plan = planned(tmp_path)
    stream = LayerStream(plan, Method.GZIP, ring=Ring(2, 1000))
    assert inflated(drain(stream), Method.GZIP) == drain(LayerStream(plan))


def test_stream_tells_how_many_bytes_were_read_and_no_byte_twice(root: Path) -> None:
    counts: list[int] = []
    stream = LayerStream(planned(root), ring=SMALL, watch=counts.append)
    drain(stream)
    drain(stream, 100)
    assert sum(counts) == stream.size


def test_stream_ends_when_the_watcher_raises(root: Path) -> None:
    def stop(_: int) -> None:
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        drain(LayerStream(planned(root), ring=SMALL, watch=stop))


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 5121, b"y" * 5120])
@pytest.mark.parametrize("ring", [Ring(), SMALL])
def test_file_that_changed_since_it_was_planned_is_an_error(root: Path, content: bytes, ring: Ring) -> None:
    plan = planned(root)
    (root / "b").write_bytes(content)
    os.utime(root / "b", ns=(1, 1))
    with pytest.raises(IntegrityError, match="b was changed while it was packed"):
        drain(LayerStream(plan, ring=ring))


def test_file_that_grows_while_it_is_read_is_an_error(root: Path) -> None:
    plan = planned(root, "b")
    chunks = LayerStream(plan, ring=SMALL).chunks()
    next(iter(chunks))
    with (root / "b").open("ab") as file:
        file.write(b"more")
    with pytest.raises(IntegrityError, match="changed"):
        list(chunks)


def test_file_that_is_gone_is_an_error(root: Path) -> None:
    plan = planned(root)
    (root / "dir/c").unlink()
    with pytest.raises(NotFoundError, match="path dir/c does not exist"):
        drain(LayerStream(plan))


def test_file_that_became_a_pipe_does_not_block(root: Path) -> None:
    plan = planned(root)
    (root / "b").unlink()
    os.mkfifo(root / "b")
    with pytest.raises(IntegrityError):
        drain(LayerStream(plan))


def test_file_that_became_a_directory_is_an_error(root: Path) -> None:
    plan = planned(root)
    (root / "b").unlink()
    (root / "b").mkdir()
    with pytest.raises(KitcarError, match="cannot read b: is a directory"):
        drain(LayerStream(plan))


def test_file_that_may_not_be_read_is_an_error(root: Path) -> None:
    (root / "b").chmod(0)
    with file_modes_count(), pytest.raises(KitcarError, match="cannot read b: permission denied"):
        drain(LayerStream(planned(root)))


def test_stream_given_up_leaves_no_file_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    chunks = LayerStream(planned(root, "b"), ring=SMALL).chunks()
    next(iter(chunks))
    chunks.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before
