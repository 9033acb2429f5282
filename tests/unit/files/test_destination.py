"""A destination shows files whole, never follows links, and is one process's at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitcar.errors import ExistsError, KitcarError, UnsafePathError
from kitcar.files import space
from kitcar.files.destination import Destination, mapped_errors
from kitcar.files.directories import Directories
from kitcar.files.draft import Draft, Existing, Terms
from kitcar.files.paths import RESERVED
from kitcar.testing.parts import tree


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


pytestmark = pytest.mark.usefixtures("umask")


def put(draft: Draft, path: str, content: bytes, mode: int = 0o644) -> None:
    draft.begin(path, mode, len(content))
    draft.write(memoryview(content))
    draft.end()


def show(root: Path, files: dict[str, bytes], existing: Existing = Existing.FAIL) -> Draft:
    with Destination(root, Terms(existing)) as destination:
        draft = destination.draft("part")
        try:
            for path, content in files.items():
                put(draft, path, content)
            destination.publish(draft)
        finally:
            draft.close()
            destination.discard("part")
    return draft


def test_destination_unpublished_files_are_not_shown(tmp_path: Path) -> None:
    with Destination(tmp_path / "a/b") as destination:
        draft = destination.draft("part")
        put(draft, "d/x", b"1")
        assert set(tree(tmp_path / "a/b")) == {RESERVED} | {
            name for name in tree(tmp_path / "a/b") if name.startswith(f"{RESERVED}/")
        }
        destination.publish(draft)
        draft.close()
        destination.discard("part")
    assert tree(tmp_path / "a/b") == {"d": (0o755, None), "d/x": (0o644, b"1")}


def test_destination_into_existing_directories_merges(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d").chmod(0o700)
    (tmp_path / "d/mine").write_bytes(b"m")
    draft = show(tmp_path, {"d/e/x": b"1", "d/f/y": b"2"})
    assert draft.files == 2
    assert tree(tmp_path) == {
        "d": (0o700, None),
        "d/e": (0o755, None),
        "d/e/x": (0o644, b"1"),
        "d/f": (0o755, None),
        "d/f/y": (0o644, b"2"),
        "d/mine": (0o644, b"m"),
    }


@pytest.mark.parametrize("existing", list(Existing))
def test_destination_same_content_is_fine_whatever_the_policy(tmp_path: Path, existing: Existing) -> None:
    (tmp_path / "x").write_bytes(b"same")
    inode = (tmp_path / "x").stat().st_ino
    draft = show(tmp_path, {"x": b"same", "new": b""}, existing)
    assert (draft.files, draft.kept) == (2, 0)
    assert (tmp_path / "x").stat().st_ino == inode
    assert (tmp_path / "new").read_bytes() == b""


@pytest.mark.parametrize("content", [b"sama", b"longer than it", b""])
def test_destination_other_content_follows_the_policy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ExistsError, match=r"^path 'x' already exists$"):
        show(tmp_path, {"x": b"same"})
    assert tree(tmp_path) == {"x": (0o644, content)}
    assert show(tmp_path, {"x": b"same"}, Existing.KEEP).kept == 1
    assert tree(tmp_path) == {"x": (0o644, content)}
    show(tmp_path, {"x": b"same"}, Existing.REPLACE)
    assert tree(tmp_path) == {"x": (0o644, b"same")}


def test_destination_difference_after_a_long_common_start_is_replaced_whole(tmp_path: Path) -> None:
    wanted = b"a" * 3_000_000 + b"b"
    (tmp_path / "x").write_bytes(b"a" * 3_000_000 + b"c")
    with Destination(tmp_path, Terms(Existing.REPLACE)) as destination:
        draft = destination.draft("part")
        draft.begin("x", 0o644, len(wanted))
        for at in range(0, len(wanted), 700_000):
            draft.write(memoryview(wanted)[at : at + 700_000])
        draft.end()
        destination.publish(draft)
        draft.close()
        destination.discard("part")
    assert (tmp_path / "x").read_bytes() == wanted


def test_destination_file_of_unknown_size_is_compared_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"longer")
    with Destination(tmp_path, Terms(Existing.REPLACE)) as destination:
        draft = destination.draft("part")
        draft.begin("x", 0o644, -1)
        draft.write(memoryview(b"long"))
        draft.end()
        destination.publish(draft)
        draft.close()
        destination.discard("part")
    assert tree(tmp_path) == {"x": (0o644, b"long")}


@pytest.mark.parametrize("existing", list(Existing))
@pytest.mark.parametrize("target", ["outside", "dangling", "inside"])
def test_destination_link_at_a_files_place_is_refused(tmp_path: Path, existing: Existing, target: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.write_bytes(b"mine")
    (root / "inside").write_bytes(b"mine")
    (root / "x").symlink_to({"outside": outside, "dangling": tmp_path / "gone", "inside": "inside"}[target])
    with pytest.raises(UnsafePathError, match="'x' is a symbolic link"):
        show(root, {"x": b"evil"}, existing)
    assert outside.read_bytes() == (root / "inside").read_bytes() == b"mine"
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("existing", list(Existing))
def test_destination_link_above_a_file_is_refused(tmp_path: Path, existing: Existing) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "b").symlink_to(outside)
    for path in ("b/o.csv", "b/deep/er/o.csv"):
        with pytest.raises(UnsafePathError, match="'b' is a symbolic link"):
            show(root, {path: b"evil"}, existing)
    assert tree(outside) == {}


def test_destination_link_swapped_in_before_publishing_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    with Destination(root, Terms(Existing.REPLACE)) as destination:
        draft = destination.draft("part")
        put(draft, "d/x", b"evil")
        (root / "d").symlink_to(outside)
        with pytest.raises(UnsafePathError, match="'d' is a symbolic link"):
            destination.publish(draft)
        (root / "d").unlink()
        (root / "d").mkdir()
        (root / "d/x").symlink_to(outside / "y")
        with pytest.raises(UnsafePathError, match="'d/x' is a symbolic link"):
            destination.publish(draft)
        draft.close()
        destination.discard("part")
    assert tree(outside) == {}


def test_destination_file_that_came_meanwhile_follows_the_policy(tmp_path: Path) -> None:
    for existing, outcome in ((Existing.FAIL, None), (Existing.KEEP, b"other"), (Existing.REPLACE, b"mine")):
        root = tmp_path / existing.value
        with Destination(root, Terms(existing)) as destination:
            draft = destination.draft("part")
            put(draft, "x", b"mine")
            (root / "x").write_bytes(b"other")
            if outcome is None:
                with pytest.raises(ExistsError):
                    destination.publish(draft)
                (root / "x").write_bytes(b"mine")
                destination.publish(draft)
            else:
                destination.publish(draft)
                assert (root / "x").read_bytes() == outcome
            draft.close()
            destination.discard("part")


def test_destination_directory_at_a_files_place_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(ExistsError, match=r"already exists$"):
        show(tmp_path, {"x": b"1"})
    with pytest.raises(ExistsError, match="already exists and is not a regular file"):
        show(tmp_path, {"x": b"1"}, Existing.REPLACE)
    assert show(tmp_path, {"x": b"1"}, Existing.KEEP).kept == 1


def test_destination_pipe_at_a_files_place_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(ExistsError):
        show(tmp_path, {"x": b""}, Existing.REPLACE)


def test_destination_file_at_a_directorys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    for existing in Existing:
        with pytest.raises(ExistsError, match="'x' already exists and is not a directory"):
            show(tmp_path, {"x/y": b"1"}, existing)


def test_destination_modes_lose_what_the_umask_takes(tmp_path: Path) -> None:
    with Destination(tmp_path) as destination:
        draft = destination.draft("part")
        draft.directory(".", 0o700)
        draft.directory("d", 0o777)
        put(draft, "d/x", b"1", 0o666)
        put(draft, "d/run", b"1", 0o755)
        put(draft, "d/secret", b"1", 0o000)
        destination.publish(draft)
        draft.close()
        destination.discard("part")
    modes = {path: os.lstat(tmp_path / path).st_mode & 0o7777 for path in ("d", "d/x", "d/run", "d/secret")}
    assert modes == {"d": 0o755, "d/x": 0o644, "d/run": 0o755, "d/secret": 0}


def test_destination_directory_that_denies_its_owner_holds_its_files(tmp_path: Path) -> None:
    with Destination(tmp_path) as destination:
        draft = destination.draft("part")
        put(draft, "r/sub/x", b"1")
        draft.directory("r", 0o555)
        draft.directory("r/sub", 0o000)
        destination.publish(draft)
        draft.close()
        destination.discard("part")
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o555
    assert (tmp_path / "r/sub").stat().st_mode & 0o777 == 0
    (tmp_path / "r/sub").chmod(0o700)
    assert (tmp_path / "r/sub/x").read_bytes() == b"1"


def test_destination_file_twice_in_a_part_is_refused(tmp_path: Path) -> None:
    with Destination(tmp_path) as destination, contextlib.closing(destination.draft("part")) as draft:
        put(draft, "x", b"1")
        with pytest.raises(UnsafePathError, match="twice"):
            put(draft, "x", b"1")


def test_destination_staging_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / RESERVED).symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafePathError, match="symbolic link"), Destination(root):
        pass
    assert tree(tmp_path / "outside") == {}


def test_destination_root_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    show(tmp_path / "link", {"x": b"1"})
    assert tree(tmp_path / "real") == {"x": (0o644, b"1")}


def test_destination_unfinished_parts_stay_and_others_are_swept(tmp_path: Path) -> None:
    with Destination(tmp_path) as destination:
        for key in ("wanted", "stale", "empty"):
            draft = destination.draft(key)
            if key != "empty":
                put(draft, "x", b"123")
            draft.close()
    with Destination(tmp_path) as destination:
        assert destination.staged("wanted") == destination.staged("stale") == 3
        assert destination.staged("empty") == 0
        destination.sweep(["wanted"])
        assert destination.staged("wanted") == 3
        assert destination.staged("stale") == 0
        destination.sweep([])
    assert tree(tmp_path) == {}


_HOLD = """
import sys
from pathlib import Path
from kitcar.files.destination import Destination
with Destination(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_destination_of_another_process_is_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with pytest.raises(KitcarError, match="another process is writing") as caught, Destination(tmp_path, wait=0):
            pass
        assert caught.value.transient
        told: list[str] = []

        def release() -> None:
            told.append("waiting")
            assert other.stdin
            other.stdin.write("\n")
            other.stdin.flush()

        with Destination(tmp_path, waiting=release) as destination:
            assert destination.waited
            show_inside = destination.draft("part")
            put(show_inside, "x", b"1")
            destination.publish(show_inside)
            show_inside.close()
            destination.discard("part")
        assert told == ["waiting"]
    assert tree(tmp_path) == {"x": (0o644, b"1")}


def test_destination_has_file_looks_at_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_bytes(b"1")
    (tmp_path / "d/link").symlink_to("x")
    with Destination(tmp_path) as destination:
        found = {path: destination.has_file(path) for path in ("d", "d/x", "d/link", "d/no", "e/x")}
    assert found == {"d": False, "d/x": True, "d/link": False, "d/no": False, "e/x": False}


def test_destination_space_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with Destination(tmp_path) as destination:
        destination.require_space(0)
        with pytest.raises(KitcarError, match="are needed"):
            destination.require_space(1 << 62)


def test_destination_os_error_becomes_ours_with_a_hint(tmp_path: Path) -> None:
    for number, word in ((errno.ENOSPC, "room"), (errno.EROFS, "written to")):
        with pytest.raises(KitcarError, match=os.strerror(number)[1:]) as caught, mapped_errors(tmp_path):
            raise OSError(number, os.strerror(number), "x\x1b")
        assert word in (caught.value.hint or "")
        assert "\x1b" not in str(caught.value)


def test_destination_that_is_a_file_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(KitcarError), Destination(tmp_path / "x"):
        pass


def test_directories_are_closed_beyond_the_limit(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_RDONLY)
    directories = Directories(root, limit=4)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        directories.make(f"a/b{number}/c/d/e")
    assert len(os.listdir("/proc/self/fd")) <= before + 4
    assert directories.find("a/b7/c/d/e") is not None
    assert directories.find("a/nothing/here") is None
    directories.close()
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(root)


def test_space_text_is_for_people() -> None:
    assert space.size_text(1 << 5000).endswith(" TiB")
    assert [space.size_text(size) for size in (0, 1023, 1536, 5 << 30)] == ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]


def test_space_used_counts_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x").write_bytes(b"123")
    (tmp_path / "y").write_bytes(b"12345")
    (tmp_path / "d/link").symlink_to("../y")
    root = os.open(tmp_path, os.O_RDONLY)
    assert [space.used(path, root) for path in ("d/x", "gone", "y")] == [3, 0, 5]
    assert 3 <= space.used("d", root) < 20
    os.close(root)


def test_destination_directory_entry_after_its_files_sets_the_mode(tmp_path: Path) -> None:
    with Destination(tmp_path) as destination, contextlib.closing(destination.draft("part")) as draft:
        put(draft, "d/x", b"1")
        draft.directory("d", 0o700)
        draft.directory("d", 0o750)
        destination.publish(draft)
        destination.discard("part")
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o750


def test_destination_held_bytes_of_a_file_that_shrank_end_early(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    with Destination(tmp_path) as destination, contextlib.closing(destination.draft("part")) as draft:
        assert list(draft.held()) == []
        assert draft.reusable == 0
        draft.begin("x", 0o644, 5)
        assert draft.reusable == 5
        os.truncate(tmp_path / "x", 2)
        assert b"".join(bytes(view) for view in draft.held()) == b"12"
        destination.discard("part")


def test_destination_compared_file_that_shrank_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1" * 100)
    with (
        Destination(tmp_path, Terms(Existing.REPLACE)) as destination,
        contextlib.closing(destination.draft("part")) as draft,
    ):
        draft.begin("x", 0o644, 100)
        draft.write(memoryview(b"1" * 50))
        os.truncate(tmp_path / "x", 2)
        with pytest.raises(ExistsError, match="changed while it was compared"):
            draft.write(memoryview(b"1" * 50))
        destination.discard("part")


def test_destination_file_in_place_of_a_staged_directory_is_refused_when_publishing(tmp_path: Path) -> None:
    with Destination(tmp_path) as destination, contextlib.closing(destination.draft("part")) as draft:
        put(draft, "d/x", b"1")
        (tmp_path / "d").write_bytes(b"came meanwhile")
        with pytest.raises(ExistsError, match="not a directory"):
            destination.publish(draft)
        (tmp_path / "d").unlink()
        (tmp_path / "d/x").mkdir(parents=True)
        with pytest.raises(ExistsError, match="not a regular file"):
            destination.publish(draft)
        destination.discard("part")


def test_destination_lock_that_cannot_be_had_at_all_is_an_error() -> None:
    from kitcar.files.destination import _flock

    with pytest.raises(OSError, match="Bad file descriptor"):
        _flock(10**6)


def test_destination_left_by_a_kill_while_the_umask_was_found_out_is_taken(tmp_path: Path) -> None:
    (tmp_path / RESERVED / "umask").mkdir(parents=True)
    show(tmp_path, {"x": b"1"})
    assert tree(tmp_path) == {"x": (0o644, b"1")}


def test_destination_that_could_not_be_entered_is_not_locked(tmp_path: Path) -> None:
    (tmp_path / RESERVED / "umask" / "something").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KitcarError, match="not empty"), Destination(tmp_path):
        raise AssertionError
    assert len(os.listdir("/proc/self/fd")) == before
    (tmp_path / RESERVED / "umask" / "something").rmdir()
    with Destination(tmp_path, wait=0):
        pass


def test_destination_replacement_that_cannot_be_written_is_closed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"longer than")
    with Destination(tmp_path, Terms(Existing.REPLACE)) as destination:
        draft = destination.draft("part")
        draft.begin("x", 0o644, 11)
        draft.write(memoryview(b"longer "))
        before = len(os.listdir("/proc/self/fd"))
        (tmp_path / "x").write_bytes(b"")
        with pytest.raises(ExistsError, match="changed"):
            draft.write(memoryview(b"then"))
        assert len(os.listdir("/proc/self/fd")) == before - 1
        draft.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    here = tmp_path.stat().st_dev
    others = [
        path for path in map(Path, ("/dev/shm", "/tmp", "/var/tmp")) if path.is_dir() and path.stat().st_dev != here
    ]
    if not others:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=others[0]) as folder:
        yield Path(folder)


def test_draft_on_another_file_system_is_shown_all_the_same(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    stage, target = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (elsewhere, tmp_path))
    draft = Draft(stage, target, Terms(Existing.REPLACE), resumed=False)
    try:
        put(draft, "a/b/x", b"1", 0o750)
        put(draft, "a/y", b"2" * 3_000_000)
        put(draft, "old", b"new")
        draft.directory("a/c", 0o555)
        draft.publish()
    finally:
        draft.close()
        os.close(stage)
        os.close(target)
    shown = tree(tmp_path)
    assert shown["a/b/x"] == (0o750, b"1")
    assert shown["a/y"] == (0o644, b"2" * 3_000_000)
    assert shown["old"] == (0o644, b"new")
    assert (tmp_path / "a/c").stat().st_mode & 0o777 == 0o555
    assert not list(tmp_path.rglob(".kitcar-*"))
