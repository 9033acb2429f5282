"""Parts arrive whole and verified, or not at all; what is there is not fetched; what breaks is tried again."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.delivery import MIB, noise, run
from kitcar.deliver import Existing, Limits
from kitcar.errors import (
    IntegrityError,
    InvalidError,
    KitcarError,
    NotFoundError,
    TransportError,
    UnsafePathError,
)
from kitcar.files.paths import RESERVED, Scope
from kitcar.oci.digest import Digest
from kitcar.oci.progress import Event, Step
from kitcar.registry.retry import Pauser, RetryPolicy
from kitcar.sources.source import SingleFile, TarLayer
from kitcar.testing.parts import BytesPart, Member, directory, file_part, tar, tar_part, tree


def test_deliver_tar_and_files_arrive(tmp_path: Path) -> None:
    report = run(
        tmp_path / "out",
        tar_part(directory("d", 0o750), Member("d/x", b"1" * 1000, 0o600), directory("d/empty")),
        file_part("m/model.bin", noise(3000), 0o4755),
        file_part("nothing", b""),
    )
    assert tree(tmp_path / "out") == {
        "d": (0o750, None),
        "d/empty": (0o755, None),
        "d/x": (0o600, b"1" * 1000),
        "m": (0o755, None),
        "m/model.bin": (0o755, noise(3000)),
        "nothing": (0o644, b""),
    }
    assert report.files == 3
    assert report.bytes_fetched == report.bytes_total == sum(part.size or 0 for part in report.parts)
    assert report.kept == 0
    assert report.seconds >= 0


def test_deliver_nothing_makes_the_directory(tmp_path: Path) -> None:
    assert run(tmp_path / "out").parts == ()
    assert tree(tmp_path) == {"out": (0o755, None)}


def test_deliver_part_that_is_present_is_not_fetched(tmp_path: Path) -> None:
    there, missing = file_part("a", b"1"), file_part("b", b"2")
    there.found = True
    lines: list[str] = []
    events: list[Event] = []
    report = run(tmp_path, there, missing, log=lines.append, listener=events.append)
    assert lines == ["a found", "b wanted"]
    assert [part.present for part in report.parts] == [True, False]
    assert there.opened == []
    assert [event.step for event in events if event.key == there.key] == [Step.EXISTS]


def test_deliver_all_present_touches_nothing(tmp_path: Path) -> None:
    part = file_part("a", b"1")
    part.found = True
    tmp_path.chmod(0o555)
    run(tmp_path, part)
    assert tree(tmp_path) == {}


def test_deliver_all_present_clears_what_a_killed_run_left(tmp_path: Path) -> None:
    (tmp_path / RESERVED / "old").mkdir(parents=True)
    (tmp_path / RESERVED / "old/x").write_bytes(b"1")
    part = file_part("a", b"1")
    part.found = True
    run(tmp_path, part)
    assert tree(tmp_path) == {}


def test_deliver_progress_adds_up(tmp_path: Path) -> None:
    events: list[Event] = []
    part = file_part("m", noise(5 * MIB))
    part.faults = [2 * MIB]
    report = run(tmp_path, part, listener=events.append)
    assert [event.step for event in events if event.step is not Step.ADVANCED] == [
        Step.STARTED,
        Step.RETRIED,
        Step.DONE,
    ]
    assert sum(event.count for event in events) == part.size
    assert report.bytes_fetched == part.read


@pytest.mark.parametrize("kind", ["file", "tar"])
def test_deliver_cut_stream_goes_on_where_it_was(tmp_path: Path, kind: str) -> None:
    content = noise(9 * MIB)
    members = (Member("a", content), Member("b", noise(700_000)), Member("c", noise(3)))
    part = file_part("a", content) if kind == "file" else tar_part(*members)
    part.faults = [5 * MIB, 3 * MIB]
    run(tmp_path, part)
    assert (tmp_path / "a").read_bytes() == content
    assert part.opened[0] == 0
    assert 0 < part.opened[1] <= part.opened[2]
    # What had arrived is not asked for again, but for the buffer that was not full yet.
    assert part.read <= len(part.content) + 2 * 4 * MIB
    assert set(tree(tmp_path)) == ({"a"} if kind == "file" else {"a", "b", "c"})


def test_deliver_source_without_ranges_starts_over(tmp_path: Path) -> None:
    part = file_part("m", noise(9 * MIB))
    part.ranges = False
    part.faults = [5 * MIB]
    run(tmp_path, part)
    assert (tmp_path / "m").read_bytes() == part.content
    assert part.opened == [0, 0]


def test_deliver_transient_faults_are_tried_a_few_times_only(tmp_path: Path) -> None:
    part = file_part("m", b"x")
    part.faults = [TransportError("refused") for _ in range(9)]
    waits: list[float] = []
    pauser = Pauser(RetryPolicy(attempts=4, base=1, limit=3), sleep=waits.append, jitter=lambda: 1.0)
    with pytest.raises(TransportError):
        run(tmp_path, part, pauser=pauser)
    assert waits == [1, 2, 3]
    assert tree(tmp_path) == {}


def test_deliver_final_fault_is_not_tried_again(tmp_path: Path) -> None:
    part = file_part("m", b"x")
    part.faults = [NotFoundError("gone")]
    with pytest.raises(NotFoundError):
        run(tmp_path, part)
    assert len(part.opened) == 1


def test_deliver_failing_part_stops_its_siblings(tmp_path: Path) -> None:
    stopped = threading.Event()

    class Endless:
        def readinto(self, buffer: memoryview, /) -> int:
            return 1

        def close(self) -> None:
            stopped.set()

    class Slow(BytesPart):
        def open(self, offset: int = 0) -> Endless:  # type: ignore[override]
            return Endless()

    slow = Slow(noise(6 * MIB), SingleFile("slow"))
    broken = file_part("broken", b"x")
    broken.faults = [NotFoundError("gone")]
    with pytest.raises(NotFoundError):
        run(tmp_path, slow, broken, concurrency=2)
    assert stopped.is_set()
    assert "slow" not in tree(tmp_path)


@pytest.mark.parametrize("size", [1000, 9 * MIB])
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_deliver_corrupt_content_is_never_shown(tmp_path: Path, size: int, where: float) -> None:
    right = tar([Member("a", noise(size))])
    wrong = bytearray(right)
    wrong[int(where * (size + 511))] ^= 1
    part = BytesPart(bytes(wrong), TarLayer(Scope("a")), promised=Digest.of(right))
    with pytest.raises(IntegrityError):
        run(tmp_path, part)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("size", [1000, 9 * MIB])
@pytest.mark.parametrize("change", [-1, 1])
def test_deliver_content_of_another_size_is_never_shown(tmp_path: Path, size: int, change: int) -> None:
    content = noise(size)

    class Lying(BytesPart):
        @property
        def size(self) -> int:
            return size

    part = Lying(content[:-1] if change < 0 else content + b"x", SingleFile("m"), promised=Digest.of(content))
    with pytest.raises(IntegrityError):
        run(tmp_path, part)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("form", ["file", "tar"])
def test_deliver_compressed_content_is_expanded_and_verified(tmp_path: Path, compression: str, form: str) -> None:
    content = noise(2 * MIB) + bytes(5 * MIB) + noise(100)
    plain = content if form == "file" else tar([directory("d"), Member("d/m", content)])
    layer = gzip.compress(plain, 1) if compression == "gzip" else zstandard.compress(plain)
    for diff_id in (Digest.of(plain), None, Digest.of(plain, "sha512")):
        root = tmp_path / (str(diff_id) or "none")[:6]
        layout = (
            SingleFile("d/m", 0o644, compression, diff_id, len(content))
            if form == "file"
            else TarLayer(Scope("d"), ".", compression, diff_id)
        )
        part = BytesPart(layer, layout)
        part.faults = [TransportError("cut before it began"), MIB // 2]
        run(root, part)
        assert tree(root) == {"d": (0o755, None), "d/m": (0o644, content)}
    wrong = SingleFile("d/m", 0o644, compression, Digest.of(b""))
    with pytest.raises(IntegrityError, match="diffId"):
        run(tmp_path / "wrong", BytesPart(layer, wrong))
    assert tree(tmp_path / "wrong") == {}


def test_deliver_raw_content_of_another_size_than_its_metadata_is_refused(tmp_path: Path) -> None:
    part = BytesPart(b"12345", SingleFile("m", content_size=6))
    with pytest.raises(IntegrityError, match="does not match metadata annotation"):
        run(tmp_path, part)
    packed = BytesPart(gzip.compress(b"12345"), SingleFile("m", compression="gzip", content_size=4))
    with pytest.raises(InvalidError, match="expands to more"):
        run(tmp_path, packed)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_deliver_bomb_is_refused(tmp_path: Path, compression: str) -> None:
    plain = tar([Member("m", bytes(32 * MIB))])
    layer = gzip.compress(plain, 9) if compression == "gzip" else zstandard.compress(plain)
    part = BytesPart(layer, TarLayer(Scope("m"), ".", compression, Digest.of(plain)))
    with pytest.raises(InvalidError, match="expands to more than"):
        run(tmp_path, part, limits=Limits(expansion=100, expansion_floor=MIB))
    assert tree(tmp_path) == {}
    run(tmp_path, part)
    assert (tmp_path / "m").stat().st_size == 32 * MIB


def test_deliver_zstd_layer_that_just_ends_is_refused(tmp_path: Path) -> None:
    layer = zstandard.compress(tar([Member("m", noise(300_000))]))
    part = BytesPart(layer[: len(layer) // 2], TarLayer(Scope("m"), ".", "zstd"))
    with pytest.raises(InvalidError):
        run(tmp_path, part)
    assert tree(tmp_path) == {}


def test_deliver_part_without_digest_is_checked_for_size(tmp_path: Path) -> None:
    part = file_part("m", noise(5 * MIB))
    part.known = False
    part.faults = [2 * MIB]
    run(tmp_path, part)
    assert part.opened == [0, 0]
    assert (tmp_path / "m").read_bytes() == part.content

    class Short(BytesPart):
        @property
        def size(self) -> int:
            return 99

    with pytest.raises(IntegrityError, match="of 99 bytes"):
        run(tmp_path, Short(b"12", SingleFile("short"), known=False))
    assert set(tree(tmp_path)) == {"m"}


def test_deliver_other_digest_algorithm_is_verified(tmp_path: Path) -> None:
    content = noise(3 * MIB)
    run(tmp_path, BytesPart(content, SingleFile("m"), promised=Digest.of(content, "sha512")))
    assert (tmp_path / "m").read_bytes() == content


def test_deliver_without_room_fails_before_fetching(tmp_path: Path) -> None:
    class Huge(BytesPart):
        @property
        def size(self) -> int:
            return 1 << 60

    part = Huge(b"x", SingleFile("m"))
    with pytest.raises(KitcarError, match="are needed"):
        run(tmp_path, part)
    assert part.opened == []
    assert tree(tmp_path) == {}


def test_deliver_second_run_over_right_files_changes_nothing(tmp_path: Path) -> None:
    parts = [tar_part(directory("d"), Member("d/x", b"1" * 5000), scope="d"), file_part("m", noise(100_000))]
    run(tmp_path, *parts)
    before = {path: path.lstat().st_ino for path in tmp_path.rglob("*")}
    for existing in Existing:
        run(tmp_path, *parts, existing=existing)
    assert {path: path.lstat().st_ino for path in tmp_path.rglob("*")} == before


def test_deliver_two_parts_into_one_directory_at_once(tmp_path: Path) -> None:
    parts = [tar_part(directory("d"), *(Member(f"d/{p}-{n}", b"x") for n in range(50)), scope="d") for p in range(8)]
    for number, part in enumerate(parts):
        part.name = str(number)
    report = run(tmp_path, *parts, concurrency=8)
    assert report.files == 400
    assert len(list((tmp_path / "d").iterdir())) == 400


def test_deliver_kits_of_old_have_names_relative_to_the_entry(tmp_path: Path) -> None:
    run(tmp_path, tar_part(Member("x.bin", b"1"), scope="a/x.bin", base="a"))
    assert tree(tmp_path) == {"a": (0o755, None), "a/x.bin": (0o644, b"1")}
    with pytest.raises(UnsafePathError, match="lies outside"):
        run(tmp_path, tar_part(Member("a/x.bin", b"1"), scope="a/x.bin", base="a"))


def test_deliver_many_small_files_need_few_open_files(tmp_path: Path) -> None:
    members = [Member(f"d{n % 100}/{n}", b"%d" % n) for n in range(600)]
    report = run(tmp_path, tar_part(*members))
    assert report.files == 600
    assert (tmp_path / "d7/507").read_bytes() == b"507"


def test_deliver_hostile_part_leaves_no_trace_of_its_siblings_either(tmp_path: Path) -> None:
    good = file_part("good", noise(4 * MIB))
    with pytest.raises(UnsafePathError):
        run(tmp_path, tar_part(Member("../evil", b"x")), good, concurrency=1)
    assert RESERVED not in tree(tmp_path)
    assert not (tmp_path.parent / "evil").exists()


names = st.text("ab.é ", min_size=1, max_size=8).filter(lambda name: name.strip(".") != "")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    files=st.dictionaries(
        st.lists(names, min_size=1, max_size=3).map("/".join),
        st.tuples(st.integers(0, 0o777), st.binary(max_size=2000)),
        max_size=8,
    ),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_deliver_any_tree_that_tarfile_packed_arrives(
    tmp_path: Path, files: dict[str, tuple[int, bytes]], form: int
) -> None:
    files = {
        path: content
        for path, content in files.items()
        if not any(other.startswith(f"{path}/") for other in files) and "/." not in path
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for path, (mode, content) in files.items():
            info = tarfile.TarInfo(path)
            info.mode, info.size = mode, len(content)
            archive.addfile(info, io.BytesIO(content))
    root = Path(tempfile.mkdtemp(dir=tmp_path)) / "root"
    run(root, BytesPart(buffer.getvalue(), TarLayer(Scope())))
    for path, (mode, content) in files.items():
        state = (root / path).stat()
        assert state.st_mode & 0o7777 == mode & ~0o022
        (root / path).chmod(0o600)
        assert (root / path).read_bytes() == content
    assert sum(1 for path in root.rglob("*") if path.is_file()) == len(files)


def test_deliver_diff_id_other_than_the_digest_of_plain_content_is_refused(tmp_path: Path) -> None:
    wrong = Digest.of(b"other")
    for part in (
        BytesPart(b"x", SingleFile("m", diff_id=wrong)),
        BytesPart(b"x", SingleFile("m", diff_id=wrong), known=False),
        BytesPart(b"x", SingleFile("m", diff_id=Digest.of(b"other", "sha512"))),
    ):
        with pytest.raises(IntegrityError, match="diffId"):
            run(tmp_path, part)
        assert tree(tmp_path) == {}


def test_deliver_diff_id_of_another_algorithm_is_verified(tmp_path: Path) -> None:
    content = noise(5 * MIB)
    run(tmp_path, BytesPart(content, SingleFile("m", diff_id=Digest.of(content, "sha512"))))
    assert (tmp_path / "m").read_bytes() == content


def test_deliver_refused_content_that_was_damaged_on_its_way_is_called_damaged(tmp_path: Path) -> None:
    right = tar([Member("m", noise(MIB))])
    for wrong in (b"\xff" + right[1:], tar([Member("../m", noise(MIB))])):
        for compression in ("", "gzip"):
            layout = TarLayer(Scope("m"), ".", compression)
            content, promised = (gzip.compress(wrong, 1), gzip.compress(right, 1)) if compression else (wrong, right)
            part = BytesPart(content, layout, promised=Digest.of(promised))
            with pytest.raises(IntegrityError):
                run(tmp_path, part, memory=MIB)
    assert tree(tmp_path) == {}


def test_deliver_bytes_after_compressed_content_are_refused(tmp_path: Path) -> None:
    for compression, content in (("gzip", gzip.compress(b"x")), ("zstd", zstandard.compress(b"x"))):
        part = BytesPart(content + b"\0" * 40, SingleFile("m", compression=compression))
        with pytest.raises(InvalidError):
            run(tmp_path, part)


def test_deliver_durable_files_arrive(tmp_path: Path) -> None:
    run(tmp_path, file_part("m", b"x"), durable=True)
    assert tree(tmp_path) == {"m": (0o644, b"x")}


def test_deliver_raw_metadata_tells_how_much_room_is_needed(tmp_path: Path) -> None:
    part = BytesPart(gzip.compress(b"x"), SingleFile("m", compression="gzip", content_size=1 << 60))
    with pytest.raises(KitcarError, match="are needed"):
        run(tmp_path, part)
    assert part.opened == []
