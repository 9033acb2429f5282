"""What a killed run left is taken up: hashed again, never believed."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.delivery import MIB, noise, run
from kitcar.files.destination import Destination
from kitcar.files.paths import RESERVED, Scope
from kitcar.sources.source import TarLayer
from kitcar.testing.parts import BytesPart, Member, directory, file_part, tar, tar_part, tree


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


@pytest.mark.parametrize("right", [True, False])
def test_deliver_after_a_kill_with_all_bytes_staged_looks_at_them_again(tmp_path: Path, right: bool) -> None:
    content = noise(3 * MIB)
    part = file_part("d/m", content)
    with Destination(tmp_path) as destination:
        draft = destination.draft(part.key)
        draft.begin("d/m", 0o644, len(content))
        draft.write(memoryview(content if right else content[:-1] + bytes([content[-1] ^ 1])))
        draft.close()
    report = run(tmp_path, part)
    assert part.opened == ([] if right else [0])
    assert report.bytes_fetched == (0 if right else len(content))
    assert tree(tmp_path) == {"d": (0o755, None), "d/m": (0o644, content)}


def test_deliver_staged_file_that_is_too_long_is_written_anew(tmp_path: Path) -> None:
    part = file_part("m", b"short")
    with Destination(tmp_path) as destination:
        draft = destination.draft(part.key)
        draft.begin("m", 0o644, 50)
        draft.write(memoryview(b"much longer than it should be"))
        draft.close()
    run(tmp_path, part)
    assert tree(tmp_path) == {"m": (0o644, b"short")}


def test_deliver_staged_file_that_may_not_be_opened_is_written_anew(tmp_path: Path) -> None:
    part = tar_part(Member("m", noise(2 * MIB), 0o444), Member("n", noise(3 * MIB), 0o000))
    kill_after(tmp_path, part, 4 * MIB)
    run(tmp_path, part)
    assert (tmp_path / "m").read_bytes() == noise(2 * MIB)
    assert (tmp_path / "n").stat().st_mode & 0o777 == 0
    (tmp_path / "n").chmod(0o600)
    assert (tmp_path / "n").read_bytes() == noise(3 * MIB)


def test_deliver_directory_modes_outlast_a_kill(tmp_path: Path) -> None:
    members = [directory("r", 0o555), directory("r/z", 0o000), Member("r/x", noise(9 * MIB))]
    part = tar_part(*members)
    kill_after(tmp_path, part, 5 * MIB)
    run(tmp_path, part)
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o555
    assert (tmp_path / "r/z").stat().st_mode & 0o777 == 0
    assert (tmp_path / "r/x").read_bytes() == noise(9 * MIB)


def test_deliver_compressed_part_starts_over_after_a_kill(tmp_path: Path) -> None:
    content = noise(6 * MIB)
    part = BytesPart(gzip.compress(tar([Member("m", content)]), 1), TarLayer(Scope("m"), ".", "gzip"))
    kill_after(tmp_path, part, 5 * MIB)
    part.opened.clear()
    run(tmp_path, part)
    assert part.opened == [0]
    assert tree(tmp_path) == {"m": (0o644, content)}
