"""What is at a file's place already: reused where it is right, and else kept, replaced or an error."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.delivery import MIB, noise, run
from harness.privilege import file_modes_count
from kitcar.deliver import Existing
from kitcar.deliver.attempt import REUSE_FROM
from kitcar.errors import (
    ExistsError,
)
from kitcar.files.destination import Destination
from kitcar.testing.parts import BytesPart, Member, file_part, tar_part, tree


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


def test_deliver_unreadable_file_at_the_place_follows_the_policy(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"right")
    (tmp_path / "m").chmod(0)
    with file_modes_count():
        with pytest.raises(ExistsError):
            run(tmp_path, file_part("m", b"right"))
        assert run(tmp_path, tar_part(Member("m", b"right")), existing=Existing.KEEP).kept == 1


def test_deliver_another_process_first_leaves_nothing_to_fetch(tmp_path: Path) -> None:
    part = file_part("m", noise(1000))
    lines: list[str] = []

    class Found(BytesPart):
        def present(self, root: Path, check: object) -> bool:
            return (root / "m").exists()

    late = Found(part.content, part.layout, name="late")
    with Destination(tmp_path) as other:

        def release(line: str) -> None:
            lines.append(line)
            if line.startswith("Waiting"):
                done.set()

        done = threading.Event()
        reports: list[int] = []
        thread = threading.Thread(target=lambda: reports.append(run(tmp_path, late, log=release).bytes_fetched))
        thread.start()
        assert done.wait(30)
        draft = other.draft("other")
        draft.begin("m", 0o644, 1000)
        draft.write(memoryview(part.content))
        draft.end()
        other.publish(draft)
        draft.close()
        other.discard("other")
    thread.join(30)
    assert reports == [0]
    assert late.opened == []
    assert lines == ["late wanted", f"Waiting for another process that writes to {tmp_path}"]
    assert tree(tmp_path) == {"m": (0o644, part.content)}
