from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitcar.errors import KitcarError, NotFoundError, UnsafePathError
from kitcar.files.tree import ROOT, Entry, Kind, Tree


def walk(tree: Tree, top: Entry) -> Iterator[Entry]:
    """`top` and all below it, parents first, as Go's `filepath.Walk` orders them."""
    yield top
    if top.kind is Kind.DIRECTORY:
        for child in tree.children(top):
            yield from walk(tree, child)


def listed(root: Path) -> list[str]:
    tree = Tree(root)
    return [entry.path for entry in walk(tree, tree.find(ROOT))]


def entries(root: Path) -> dict[str, Entry]:
    tree = Tree(root)
    return {entry.path: entry for entry in walk(tree, tree.find(ROOT))}


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_walk_goes_through_directories_in_the_order_of_bytes_parents_first(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a-b", "a/é", "a/Z", "B", "a0/x", "a/z.d/1"):
        write(tmp_path / name)
    assert listed(tmp_path) == [".", "B", "a", "a/Z", "a/z", "a/z.d", "a/z.d/1", "a/é", "a-b", "a0", "a0/x", "b"]


def test_walk_orders_names_that_are_no_utf8_by_their_bytes(tmp_path: Path) -> None:
    names = [b"\xff", b"\xc3\xa9", b"\xee\x80\x80", b"\x80", b"z"]
    for name in names:
        write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    assert [os.fsencode(path) for path in listed(tmp_path)[1:]] == sorted(names)


def test_entry_has_size_mode_with_special_bits_and_time(tmp_path: Path) -> None:
    file = write(tmp_path / "run", b"12345")
    file.chmod(0o4750)
    os.utime(file, ns=(0, 1234567890123456789))
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir").chmod(0o1777)
    found = entries(tmp_path)
    assert found["run"] == Entry("run", Kind.FILE, 5, 0o4750, 1234567890123456789)
    assert (found["dir"].kind, found["dir"].mode, found["dir"].size) == (Kind.DIRECTORY, 0o1777, 0)
    assert found["run"].name == "run"


def test_link_inside_counts_as_what_it_points_to(tmp_path: Path) -> None:
    file = write(tmp_path / "real/model.bin", b"123")
    file.chmod(0o640)
    (tmp_path / "model.bin").symlink_to("real/model.bin")
    (tmp_path / "again").symlink_to("model.bin")
    (tmp_path / "absolute").symlink_to(file)
    (tmp_path / "alias").symlink_to("real")
    found = entries(tmp_path)
    for name in ("model.bin", "again", "absolute", "alias/model.bin"):
        assert (found[name].kind, found[name].size, found[name].mode) == (Kind.FILE, 3, 0o640)
    assert found["alias"].kind is Kind.DIRECTORY


@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "sub/../../outside"])
def test_link_outside_is_refused_with_its_name_and_target(tmp_path: Path, target: str) -> None:
    write(tmp_path / "outside")
    write(tmp_path / "in/sub/x")
    (tmp_path / "in/link").symlink_to(target)
    refused = entries(tmp_path / "in")["link"]
    assert refused.kind is Kind.REFUSED
    assert refused.reason == f"link is a link to {target}, outside of the directory"


def test_link_through_a_directory_outside_and_back_is_judged_by_where_it_ends(tmp_path: Path) -> None:
    write(tmp_path / "in/file")
    (tmp_path / "in/link").symlink_to("../in/file")
    assert entries(tmp_path / "in")["link"].kind is Kind.FILE


def test_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "self").symlink_to("self")
    found = entries(tmp_path)
    assert found["link"].reason == "link is a link to gone, which does not exist"
    assert found["self"].kind is Kind.REFUSED


@pytest.mark.parametrize("target", [".", "..", "../..", "../../top/sub"])
def test_link_to_a_directory_it_is_in_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "top/sub").mkdir(parents=True)
    (tmp_path / "top/sub/link").symlink_to(target)
    assert entries(tmp_path)["top/sub/link"].reason.endswith("a directory that it is in itself")


def test_links_that_lead_in_a_circle_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/l").symlink_to("../b")
    (tmp_path / "b/m").symlink_to("../a")
    assert listed(tmp_path) == [".", "a", "a/l", "a/l/m", "b", "b/m", "b/m/l"]
    assert entries(tmp_path)["a/l/m"].kind is Kind.REFUSED


def hub(root: Path, kind: str = "models") -> Path:
    repository = root / f"{kind}--org--name"
    blobs = repository / "blobs"
    write(blobs / "aaa", b"weights")
    write(blobs / "bbb", b"{}")
    snapshot = repository / "snapshots" / "0123abc"
    (snapshot / "sub").mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/aaa")
    (snapshot / "sub/config.json").symlink_to("../../../blobs/bbb")
    return snapshot


@pytest.mark.parametrize("kind", ["models", "datasets", "spaces"])
def test_hub_snapshot_is_listed_whole(tmp_path: Path, kind: str) -> None:
    found = entries(hub(tmp_path, kind))
    assert {path: (entry.kind, entry.size) for path, entry in found.items() if entry.kind is not Kind.DIRECTORY} == {
        "model.safetensors": (Kind.FILE, 7),
        "sub/config.json": (Kind.FILE, 2),
    }


def test_directory_below_a_hub_snapshot_is_listed_whole(tmp_path: Path) -> None:
    assert entries(hub(tmp_path) / "sub")["config.json"].size == 2


def test_hub_snapshot_reached_through_a_link_is_listed_whole(tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(hub(tmp_path))
    assert entries(tmp_path / "here")["model.safetensors"].size == 7


def test_hub_snapshot_with_a_link_to_another_repository_is_refused(tmp_path: Path) -> None:
    snapshot = hub(tmp_path)
    other = write(tmp_path / "models--evil--other/blobs/ccc")
    (snapshot / "stolen").symlink_to(other)
    (snapshot / "token").symlink_to(write(tmp_path / "models--org--name/refs/main"))
    found = entries(snapshot)
    assert found["stolen"].kind is Kind.REFUSED
    assert found["token"].kind is Kind.REFUSED


def test_blobs_beside_snapshots_of_no_hub_repository_are_outside(tmp_path: Path) -> None:
    write(tmp_path / "repo/blobs/aaa")
    (tmp_path / "repo/snapshots/1").mkdir(parents=True)
    (tmp_path / "repo/snapshots/1/x").symlink_to("../../blobs/aaa")
    assert entries(tmp_path / "repo/snapshots/1")["x"].kind is Kind.REFUSED


def test_special_files_are_refused_with_what_they_are(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    found = entries(tmp_path)
    assert found["pipe"].reason == "pipe is a named pipe"
    assert found["to-pipe"].kind is Kind.REFUSED


def test_find_takes_one_path_without_listing_its_directory(tmp_path: Path) -> None:
    write(tmp_path / "dir/file", b"123")
    tree = Tree(tmp_path)
    assert tree.find("dir/file").size == 3
    assert tree.find(ROOT).kind is Kind.DIRECTORY


@pytest.mark.parametrize("path", ["none", "dir/none", "dir/file/below", "none/below"])
def test_find_of_a_missing_path_is_an_error_with_its_name(tmp_path: Path, path: str) -> None:
    write(tmp_path / "dir/file")
    with pytest.raises(NotFoundError, match="does not exist"):
        Tree(tmp_path).find(path)


@pytest.mark.parametrize("path", ["../x", "/etc/hostname", "dir/../../x"])
def test_find_of_a_path_outside_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsafePathError, match="outside"):
        Tree(tmp_path).find(path)


def test_find_through_a_link_outside_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "secret/file")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link").symlink_to("../secret")
    with pytest.raises(UnsafePathError, match=r"link is a link to \.\./secret"):
        Tree(tmp_path / "in").find("link/file")


def test_find_through_a_link_inside_gives_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "v1/file", b"123")
    (tmp_path / "latest").symlink_to("v1")
    assert Tree(tmp_path).find("latest/file").size == 3


def test_names_with_dots_in_them_are_names(tmp_path: Path) -> None:
    write(tmp_path / "a..b/v1..v2/..x")
    assert Tree(tmp_path).find("a..b/v1..v2/..x").kind is Kind.FILE


def test_tree_of_what_is_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Tree(tmp_path / "none")
    with pytest.raises(KitcarError, match="not a directory"):
        Tree(write(tmp_path / "file"))
