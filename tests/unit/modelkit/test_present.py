"""Whether a directory holds a layer is asked of its files alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kitcar.errors import CancelledError
from kitcar.modelkit.present import holds_raw, holds_tar
from kitcar.oci.digest import Digest
from kitcar.testing.parts import Member, directory, tar

LAYER = tar([directory("d"), Member("d/a", b"1" * 700), Member("d/b", b"2")])
DIFF_ID = Digest.of(LAYER)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    before = os.umask(0o022)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(b"1" * 700)
    (tmp_path / "d/b").write_bytes(b"2")
    os.umask(before)
    return tmp_path


def holds(
    root: Path, *, size: int | None = len(LAYER), diff_id: Digest = DIFF_ID, others: tuple[str, ...] = ()
) -> bool:
    return holds_tar(root, "d", diff_id, size=size, others=others, check=lambda: None)


def test_present_tree_that_packs_to_the_layer_is_there(root: Path) -> None:
    assert holds(root)
    assert holds(root, size=None)
    (root / "beside").write_bytes(b"does not matter")
    assert holds(root)


def change(root: Path, name: str) -> None:
    changes: dict[str, Callable[[], object]] = {
        "content": lambda: (root / "d/a").write_bytes(b"3" * 700),
        "size": lambda: (root / "d/a").write_bytes(b"1"),
        "more": lambda: (root / "d/c").write_bytes(b""),
        "less": (root / "d/b").unlink,
        "mode": lambda: (root / "d/b").chmod(0o600),
        "link out": lambda: ((root / "d/b").unlink(), (root / "d/b").symlink_to("/etc/hostname")),
        "pipe": lambda: ((root / "d/b").unlink(), os.mkfifo(root / "d/b")),
        "gone": lambda: (root / "d").rename(root / "e"),
        "file": lambda: ((root / "d").rename(root / "e"), (root / "d").write_bytes(b"")),
        "link": lambda: ((root / "d").rename(root / "e"), (root / "d").symlink_to("e")),
    }
    changes[name]()


@pytest.mark.parametrize(
    "name", ["content", "size", "more", "less", "mode", "link out", "pipe", "gone", "file", "link"]
)
@pytest.mark.parametrize("size", [None, len(LAYER)])
def test_present_tree_that_differs_is_not_there(root: Path, name: str, size: int | None) -> None:
    change(root, name)
    assert not holds(root, size=size)


def test_present_other_entries_inside_do_not_matter(root: Path) -> None:
    (root / "d/other").mkdir()
    (root / "d/other/x").write_bytes(b"x")
    assert not holds(root)
    assert holds(root, others=("d/other",))


def test_present_size_is_looked_at_before_any_file_is_read(root: Path) -> None:
    def check() -> None:
        raise CancelledError("a file was read")

    assert not holds_tar(root, "d", DIFF_ID, size=1, others=(), check=check)
    with pytest.raises(CancelledError):
        holds_tar(root, "d", DIFF_ID, size=len(LAYER), others=(), check=check)
    with pytest.raises(CancelledError):
        holds_raw(root, "d/a", Digest.of(b"1" * 700), size=700, check=check)


def test_present_digest_of_another_algorithm_is_never_there(root: Path) -> None:
    assert not holds(root, diff_id=Digest.of(LAYER, "sha512"))


def test_present_raw_file_is_compared_by_content(root: Path) -> None:
    def there(path: str, content: bytes, size: int | None) -> bool:
        return holds_raw(root, path, Digest.of(content), size=size, check=lambda: None)

    assert there("d/a", b"1" * 700, 700)
    assert there("d/a", b"1" * 700, None)
    assert not there("d/a", b"1" * 700, 699)
    assert not there("d/a", b"x", 700)
    assert not there("d", b"", None)
    assert not there("gone", b"", None)
    (root / "link").symlink_to("d/a")
    assert not there("link", b"1" * 700, 700)
