from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError
from kitcar.modelkit.ignore import IgnoreRules

PIECES = st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "*.x", "c.x", "!a", "/a", ".", "..", "[ab]", "[^a]"])
FILES = st.lists(st.lists(PIECES, min_size=1, max_size=4).map("/".join), max_size=5).map("\n".join)
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "c.x", "ba", ".x"]), min_size=1, max_size=4).map("/".join)


def ignores(text: str, path: str) -> bool:
    return IgnoreRules.parse(text.encode()).ignores(path)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("*.log", "x.log", True),
        ("*.log", "sub/x.log", False),
        ("**/*.log", "x.log", True),
        ("**/*.log", "sub/deep/x.log", True),
        ("dir", "dir/sub/file", True),
        ("dir/", "dir/file", True),
        ("/dir", "dir/file", True),
        ("dir/**", "dir", False),
        ("dir/**", "dir/a/b", True),
        ("**", "anything/at/all", True),
        ("**/name", "name", True),
        ("**name", "prename", True),
        ("dir**", "dirty/x", True),
        ("a**/*.txt", "a/dir/file.txt", True),
        ("a/*.txt", "a/dir/file.txt", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a[b-d]e", "ace", True),
        ("a[^b-d]e", "ace", False),
        ("a[^b-d]e", "aze", True),
        ("[[:upper:]]x", "Ax", True),
        ("[[:^upper:]]x", "Ax", False),
        ("\\*x", "*x", True),
        ("\\*x", "ax", False),
        ("?\\t", "a\t", True),
        ("?\\t", "at", False),
        ("[\\]a]", "]", True),
        ("[\\-x]", "-", True),
        ("[\\ta]", "\t", True),
        ("[^\\d\\D]", "x", False),
        ("[^\\w_a]b", "-b", True),
        ("v\\d", "v1", True),
        ("v[\\d]", "vx", False),
        ("v\\D*", "v1", False),
        ("a(b)|c", "a(b)|c", True),
        ("**/foo.bar", "x/fooxbar", False),
        ("  spaced  ", "spaced", True),
        ("# comment", "# comment", False),
        (" # no comment", "# no comment", True),
        ("\ufeffbom", "bom", True),
        ("crlf\r", "crlf", True),
        ("dir\n!dir/keep", "dir/keep", False),
        ("dir\n!dir/keep", "dir/other", True),
        ("dir\n!dir/keep\ndir/keep/x", "dir/keep/x", True),
        ("!dir/keep\ndir", "dir/keep", True),
        ("! /dir/keep\n", "dir/keep", False),
        ("./a/../b", "b", True),
        ("", "x", False),
    ],
)
def test_pattern_decides_about_a_path(text: str, path: str, expected: bool) -> None:
    assert ignores(text, path) is expected


@pytest.mark.parametrize("name", ["Kitfile", "kitfile", ".kitfile", ".kitignore"])
def test_kitfile_and_kitignore_are_always_ignored_and_only_at_the_top(name: str) -> None:
    rules = IgnoreRules.parse(f"!{name}\n!**".encode())
    assert rules.ignores(name)
    assert not rules.ignores(f"sub/{name}")


@pytest.mark.parametrize(
    "pattern",
    [
        "[",
        "a[",
        "[]a]",
        "[-x]",
        "[x-]",
        "\\",
        "!",
        "[^",
        "[a",
        "[z-a]",
        "[[:nope:]]x",
        "\\Q*",
        "*\\é",
        "[\\b]",
        "[[:alpha:]",
        "[0-\\d]",
        "*[",
    ],
)
def test_malformed_pattern_is_an_error_with_its_line(pattern: str) -> None:
    with pytest.raises(InvalidError) as caught:
        IgnoreRules.parse(f"good\n{pattern}\nfine\n{pattern}".encode())
    assert [fault.line for fault in caught.value.faults] == [2, 4]
    assert ".kitignore" in str(caught.value)
    assert caught.value.hint


@given(FILES, PATHS)
def test_hits_gathered_directory_by_directory_decide_alike(text: str, path: str) -> None:
    try:
        rules = IgnoreRules.parse(text.encode())
    except InvalidError:
        return
    hits = rules.no_hits
    parts = path.split("/")
    for count in range(1, len(parts) + 1):
        hits = rules.below(hits, "/".join(parts[:count]))
    assert rules.verdict(hits) == rules.ignores(path)


@given(FILES, PATHS)
def test_without_exclusions_all_below_an_ignored_path_is_ignored(text: str, path: str) -> None:
    try:
        rules = IgnoreRules.parse(text.replace("!", "").encode())
    except InvalidError:
        return
    assert not rules.takes_back
    if rules.ignores(path):
        assert rules.ignores(f"{path}/below")


@given(FILES, PATHS)
def test_rules_that_spare_a_path_never_ignore_it(text: str, path: str) -> None:
    try:
        rules = IgnoreRules.parse(text.encode())
    except InvalidError:
        return
    assert not rules.sparing(path).ignores(path)


def test_rules_that_spare_a_path_still_hold_below_it() -> None:
    rules = IgnoreRules.parse(b"data\n**/*.tmp").sparing("data")
    assert not rules.ignores("data/x.csv")
    assert rules.ignores("data/x.tmp")


def test_repeated_any_directories_cost_no_time() -> None:
    assert not ignores("**/" * 40 + "x*y", "a/" * 40 + "b")


@given(st.binary(max_size=60), PATHS)
def test_any_file_gives_rules_or_our_error(content: bytes, path: str) -> None:
    with contextlib.suppress(InvalidError):
        assert IgnoreRules.parse(content).ignores(path) in {True, False}
