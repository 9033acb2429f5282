"""Names that came from elsewhere are safe relative paths, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import UnsafePathError
from kitcar.files.paths import Scope, clean, join, parent, shown


@pytest.mark.parametrize(
    ("name", "path"),
    [("a", "a"), ("./a", "a"), ("a//b/./c/", "a/b/c"), (".", "."), ("./", "."), ("a..b/..c", "a..b/..c")],
)
def test_clean_relative_name_gives_the_path(name: str, path: str) -> None:
    assert clean(name) == path


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "a\0b"),
        *(".Kitcar-Staging/x", ".\u212aitcar-staging/x", "a/\ud800", "\u4e2d" * 1500),
        *(".kitcar-staging", "./.kitcar-staging/x", "a/" * 129 + "b", "a" * 5000),
    ],
)
def test_clean_unsafe_name_is_refused(name: str) -> None:
    with pytest.raises(UnsafePathError):
        clean(name)


@given(st.text())
def test_clean_any_text_gives_a_contained_path_or_our_error(text: str) -> None:
    try:
        path = clean(text)
    except UnsafePathError:
        return
    assert clean(path) == path
    assert not path.startswith("/")
    assert path == "." or all(part not in ("", ".", "..") for part in path.split("/"))


def test_join_and_parent_are_each_others_undoing() -> None:
    assert join(".", "a/b") == "a/b"
    assert join("x", ".") == "x"
    assert join("x", "a") == "x/a"
    assert parent("x/a") == "x"
    assert parent("x") == "."


def test_shown_control_characters_are_escaped() -> None:
    assert shown("a\x1b[31mred\n") == "a\\x1b[31mred\\n"
    assert shown("naïve 模型") == "naïve 模型"
    assert shown("\udcff").isascii()


@pytest.mark.parametrize("path", ["m/a", "m/sub/a"])
def test_scope_file_below_its_path_passes(path: str) -> None:
    Scope("m").check_file(path)
    Scope().check_file(path)


@pytest.mark.parametrize("path", ["n", "model", "m.bin", "n/m", ".git/config"])
def test_scope_file_outside_is_refused(path: str) -> None:
    with pytest.raises(UnsafePathError, match="lies outside 'm'"):
        Scope("m").check_file(path)


def test_scope_file_of_another_entry_is_refused() -> None:
    scope = Scope("data", ("data/d1.csv", "data/sub"))
    scope.check_file("data/d1.csv.gz")
    for path in ("data/d1.csv", "data/sub/x"):
        with pytest.raises(UnsafePathError, match="another entry"):
            scope.check_file(path)


def test_scope_directories_above_pass_and_others_are_refused() -> None:
    scope = Scope("a/b/c")
    for path in (".", "a", "a/b", "a/b/c", "a/b/c/d"):
        scope.check_directory(path)
    for path in ("a/x", "b", "a/b/cc", "aa"):
        with pytest.raises(UnsafePathError, match="lies outside"):
            scope.check_directory(path)


def test_clean_name_that_is_no_utf_8_passes() -> None:
    assert clean(b"a/\xff".decode("utf-8", "surrogateescape")) == "a/\udcff"
