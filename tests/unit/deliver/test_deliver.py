"""Parts arrive whole and verified, or not at all; what is there is not fetched; what broke is taken up."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitcar.deliver import DeliverOptions, Existing, Limits, Report, deliver
from kitcar.deliver.attempt import REUSE_FROM
from kitcar.errors import (
    ExistsError,
    IntegrityError,
    InvalidError,
    KitcarError,
    NotFoundError,
    TransportError,
    UnsafePathError,
)
from kitcar.files.destination import Destination
from kitcar.files.paths import RESERVED, Scope
from kitcar.oci.digest import Digest
from kitcar.oci.progress import Event, Step
from kitcar.registry.retry import Pauser, RetryPolicy
from kitcar.sources.source import SingleFile, TarLayer
from kitcar.testing.parts import BytesPart, ListSource, Member, directory, file_part, tar, tar_part, tree

MIB = 1 << 20
QUICK = Pauser(RetryPolicy(attempts=3), sleep=lambda _: None)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def run(root: Path, *parts: BytesPart, **options: object) -> Report:
    given = {"pauser": QUICK, **options}
    return deliver(ListSource(parts), root, DeliverOptions(**given))  # type: ignore[arg-type]


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


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


# What an earlier run left


class Killed(BaseException):
    """Ends a run as a signal does: nothing is cleaned up."""


def kill_after(root: Path, part: BytesPart, count: int) -> None:
    """Delivers until `count` bytes of the part were read, then leaves everything as it is."""
    part.faults = []
    before = part.read

    class Ends(BytesPart):
        def open(self, offset: int = 0):  # type: ignore[no-untyped-def]
            reader = part.open(offset)

            class Reader:
                def readinto(self, buffer: memoryview, /) -> int:
                    if part.read - before >= count:
                        raise Killed
                    return reader.readinto(buffer[: count - (part.read - before)])

                def close(self) -> None:
                    reader.close()

            return Reader()

    killed = Ends(part.content, part.layout, part.promised, name=part.name)
    assert killed.key == part.key
    try:
        run(root, killed, memory=4 * MIB)
    except Killed:
        return
    assert part.read - before < count


def test_deliver_after_a_kill_goes_on_from_the_middle_of_a_file(tmp_path: Path) -> None:
    content = noise(12 * MIB)
    for part in (file_part("m", content), tar_part(Member("m", content), Member("n", b"1"))):
        root = tmp_path / str(isinstance(part.layout, TarLayer))
        kill_after(root, part, 8 * MIB)
        assert [name for name in tree(root) if not name.startswith(RESERVED)] == []
        part.opened.clear()
        report = run(root, part)
        assert part.opened == [8 * MIB]
        assert report.bytes_fetched == len(part.content) - 8 * MIB
        assert (root / "m").read_bytes() == content
        assert RESERVED not in tree(root)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_deliver_after_kills_anywhere_gives_the_right_tree(tmp_path: Path, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 511, 512, 4096, 300_000, 1_200_000]), min_size=1, max_size=6))
    members = [directory("d", 0o750)]
    members += [Member(f"d/{n}{'x' * 120 * (n % 2)}", noise(size, n), 0o600 + n) for n, size in enumerate(sizes)]
    part = tar_part(*members, scope="d")
    root = Path(tempfile.mkdtemp(dir=tmp_path)) / "root"
    for count in data.draw(st.lists(st.integers(0, len(part.content) - 1), max_size=3)):
        kill_after(root, part, count)
    part.faults = []
    run(root, part, memory=4 * MIB)
    assert tree(root) == {
        "d": (0o750, None),
        **{member.name: (member.mode & ~0o022, member.data) for member in members[1:]},
    }


def test_deliver_after_a_kill_with_damaged_leftovers_starts_over(tmp_path: Path) -> None:
    content = noise(12 * MIB)
    part = tar_part(Member("a", noise(3 * MIB, 1)), Member("m", content))
    for damage in ("body", "journal", "torn", "gone", "longer"):
        root = tmp_path / damage
        kill_after(root, part, 10 * MIB)
        stage = next(path for path in (root / RESERVED).iterdir() if path.is_dir())
        if damage == "body":
            with (stage / "tree/a").open("r+b") as file:
                file.write(b"damaged")
        elif damage == "journal":
            with (stage / "journal").open("r+b") as file:
                file.seek(20)
                file.write(b"\xff")
        elif damage == "torn":
            os.truncate(stage / "journal", 100)
        elif damage == "gone":
            (stage / "tree/a").unlink()
        else:
            with (stage / "tree/a").open("ab") as file:
                file.write(b"more")
        run(root, part)
        assert {name: content for name, (_, content) in tree(root).items()} == {
            "a": noise(3 * MIB, 1),
            "m": content,
        }


def test_deliver_killed_while_publishing_finishes_without_fetching(tmp_path: Path) -> None:
    members = [Member(f"f{n}", noise(200_000, n)) for n in range(6)]
    part = tar_part(*members)
    kill_after(tmp_path, part, len(part.content) - 1)
    stage = next(path for path in (tmp_path / RESERVED).iterdir() if path.is_dir())
    for name in ("f0", "f3"):
        (stage / "tree" / name).rename(tmp_path / name)
    part.opened.clear()
    report = run(tmp_path, part)
    assert report.bytes_fetched < 3 * 512 + MIB
    assert tree(tmp_path) == {member.name: (0o644, member.data) for member in members}


def test_deliver_kill_then_another_kit_leaves_nothing_behind(tmp_path: Path) -> None:
    kill_after(tmp_path, file_part("big", noise(9 * MIB)), 5 * MIB)
    run(tmp_path, file_part("other", b"1"))
    assert tree(tmp_path) == {"other": (0o644, b"1")}


def test_deliver_space_that_was_spent_is_not_asked_for_again(tmp_path: Path) -> None:
    part = file_part("m", noise(9 * MIB))
    kill_after(tmp_path, part, 5 * MIB)
    with Destination(tmp_path) as destination:
        assert destination.staged(part.key) >= 4 * MIB


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


# What is at the place already


@pytest.mark.parametrize("existing", list(Existing))
def test_deliver_big_file_that_is_there_is_hashed_not_fetched(tmp_path: Path, existing: Existing) -> None:
    content = noise(REUSE_FROM + 5 * MIB)
    (tmp_path / "m").write_bytes(content)
    part = tar_part(Member("m", content, 0o664), Member("n", b"new"))
    report = run(tmp_path, part, existing=existing)
    assert len(part.opened) == 2
    assert report.bytes_fetched < 5 * MIB
    assert report.kept == 0
    assert tree(tmp_path) == {"m": (0o644, content), "n": (0o644, b"new")}


def test_deliver_big_file_that_differs_late_follows_the_policy(tmp_path: Path) -> None:
    content = noise(REUSE_FROM + 5 * MIB)
    other = content[:-10] + b"0123456789"
    for existing in Existing:
        root = tmp_path / existing.value
        root.mkdir()
        (root / "m").write_bytes(other)
        part = tar_part(Member("m", content), Member("n", b"new"))
        if existing is Existing.FAIL:
            with pytest.raises(ExistsError, match="path 'm' already exists"):
                run(root, part, existing=existing)
            assert tree(root) == {"m": (0o644, other)}
        else:
            report = run(root, part, existing=existing)
            assert report.kept == (1 if existing is Existing.KEEP else 0)
            kept = other if existing is Existing.KEEP else content
            assert tree(root) == {"m": (0o644, kept), "n": (0o644, b"new")}


@pytest.mark.parametrize("part", [file_part("d/m", b"right"), tar_part(Member("d/m", b"right"), scope="d/m")])
def test_deliver_single_file_to_keep_is_not_fetched(tmp_path: Path, part: BytesPart) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/m").write_bytes(b"mine, and longer")
    part.opened.clear()
    report = run(tmp_path, part, existing=Existing.KEEP)
    assert part.opened == []
    assert report.kept == 1
    assert (tmp_path / "d/m").read_bytes() == b"mine, and longer"


def test_deliver_existing_other_content_fails_and_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"mine")
    with pytest.raises(ExistsError):
        run(tmp_path, tar_part(Member("a", b"1"), Member("x", b"2")))
    assert tree(tmp_path) == {"x": (0o644, b"mine")}


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
