from __future__ import annotations

import os
from pathlib import Path

import pytest

from kitcar.errors import InvalidError, NotFoundError, UnsafePathError
from kitcar.files.tree import Tree
from kitcar.modelkit.ignore import IgnoreRules
from kitcar.modelkit.plan import LayerPlan, plan_raw, plan_tar


def fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    return root


def plan(root: Path, path: str, *others: str, ignore: str = "") -> LayerPlan:
    return plan_tar(Tree(root), path, IgnoreRules.parse(ignore.encode()), others)


def paths(root: Path, path: str, *others: str, ignore: str = "") -> list[str]:
    return [entry.path for entry in plan(root, path, *others, ignore=ignore).entries]


def test_layer_of_a_file_has_the_directories_above_it(tmp_path: Path) -> None:
    fill(tmp_path, "models/a/x.bin", "models/a/y.bin", "models/b")
    assert paths(tmp_path, "models/a/x.bin") == ["models", "models/a", "models/a/x.bin"]


def test_layer_of_a_directory_has_all_below_it_in_order(tmp_path: Path) -> None:
    fill(tmp_path, "data/b", "data/a/1", "data/a-b", "data/empty/", "other")
    assert paths(tmp_path, "data") == ["data", "data/a", "data/a/1", "data/a-b", "data/b", "data/empty"]


def test_layer_of_the_context_has_everything_but_kitfile_and_kitignore(tmp_path: Path) -> None:
    fill(tmp_path, "Kitfile", ".kitignore", ".git/config", "sub/Kitfile", "x")
    assert paths(tmp_path, ".") == [".git", ".git/config", "sub", "sub/Kitfile", "x"]


def test_layer_leaves_out_paths_of_other_entries_inside_it(tmp_path: Path) -> None:
    fill(tmp_path, "main/sub/1", "main/sub2/1", "main/file", "main/sub.txt", "rest")
    assert paths(tmp_path, "main", "main", "main/sub", ".") == [
        "main",
        "main/file",
        "main/sub.txt",
        "main/sub2",
        "main/sub2/1",
    ]
    assert paths(tmp_path, "main/sub", "main", "main/sub", ".") == ["main", "main/sub", "main/sub/1"]
    assert paths(tmp_path, ".", "main", "main/sub", ".") == ["rest"]


def test_layer_keeps_files_that_only_share_a_prefix_with_another_entry(tmp_path: Path) -> None:
    names = ["model/card.md", "model_card.txt", "modeling.py", "pytorch_model.bin", "pytorch_model.bin.index.json"]
    fill(tmp_path, *names)
    assert paths(tmp_path, ".", "pytorch_model.bin", "model", ".") == [
        "model_card.txt",
        "modeling.py",
        "pytorch_model.bin.index.json",
    ]


@pytest.mark.parametrize("path", [".", "data", "data/v1..v2"])
def test_layer_keeps_names_with_two_dots(tmp_path: Path, path: str) -> None:
    fill(tmp_path, "data/v1..v2/x..csv")
    assert paths(tmp_path, path) == ["data", "data/v1..v2", "data/v1..v2/x..csv"]


def test_layer_named_directly_keeps_its_two_dots(tmp_path: Path) -> None:
    fill(tmp_path, "model..v1.bin")
    assert paths(tmp_path, "model..v1.bin") == ["model..v1.bin"]


def test_layer_leaves_out_what_is_ignored(tmp_path: Path) -> None:
    fill(tmp_path, "data/x.tmp", "data/x.csv", "data/cache/1")
    assert paths(tmp_path, "data", ignore="**/*.tmp\ndata/cache") == ["data", "data/x.csv"]


def test_layer_takes_back_files_without_the_ignored_directory_above_them(tmp_path: Path) -> None:
    fill(tmp_path, "dir/keep", "dir/drop", "dir/sub/keep")
    assert paths(tmp_path, ".", ignore="dir\n!dir/keep\n!dir/sub") == ["dir/keep", "dir/sub", "dir/sub/keep"]


def test_layer_of_a_path_taken_back_has_no_ignored_directory_above_it(tmp_path: Path) -> None:
    fill(tmp_path, "data/keep.csv")
    found = plan(tmp_path, "data/keep.csv", ignore="data\n!data/keep.csv")
    assert [entry.path for entry in found.entries] == ["data/keep.csv"]
    assert not found.ignored


@pytest.mark.parametrize("rule", ["data", "data/x.csv", "**/*.csv", "*", "**"])
def test_layer_of_an_ignored_path_is_packed_as_the_kitfile_names_it(tmp_path: Path, rule: str) -> None:
    fill(tmp_path, "data/x.csv")
    found = plan(tmp_path, "data/x.csv", ignore=rule)
    assert [entry.path for entry in found.entries] == ["data", "data/x.csv"]
    assert found.ignored
    assert found.spared


def test_layer_of_an_ignored_directory_still_leaves_out_what_other_rules_name(tmp_path: Path) -> None:
    fill(tmp_path, "data/x.csv", "data/x.tmp")
    found = plan(tmp_path, "data", ignore="data\n**/*.tmp")
    assert [entry.path for entry in found.entries] == ["data", "data/x.csv"]
    assert found.spared


def test_layer_of_an_ignored_directory_that_is_taken_back_in_part_has_that_part(tmp_path: Path) -> None:
    fill(tmp_path, "data/keep", "data/drop")
    found = plan(tmp_path, "data", ignore="*\n!data/keep")
    assert [entry.path for entry in found.entries] == ["data/keep"]
    assert (found.ignored, found.spared) == (True, False)


def test_layer_without_files_is_planned(tmp_path: Path) -> None:
    fill(tmp_path, "empty/sub/")
    found = plan(tmp_path, "empty")
    assert [entry.path for entry in found.entries] == ["empty", "empty/sub"]
    assert (found.size, found.content) == (2048, 0)


def test_layer_size_counts_headers_content_padding_and_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(513))
    (tmp_path / "ä").write_bytes(b"")
    found = plan(tmp_path, ".")
    assert (found.size, found.content) == (512 + 1024 + 3 * 512 + 1024, 513)


def test_layer_that_is_a_link_holds_what_it_points_to(tmp_path: Path) -> None:
    fill(tmp_path, "blobs/abc")
    (tmp_path / "model.bin").symlink_to("blobs/abc")
    (tmp_path / "dir").symlink_to("blobs")
    assert paths(tmp_path, "model.bin") == ["model.bin"]
    assert paths(tmp_path, "dir") == ["dir", "dir/abc"]


def test_layer_with_links_out_of_the_tree_is_refused_with_all_their_names(tmp_path: Path) -> None:
    fill(tmp_path / "in", "data/x")
    for number in range(7):
        (tmp_path / f"in/data/l{number}").symlink_to("/etc/hostname")
    with pytest.raises(UnsafePathError) as caught:
        plan(tmp_path / "in", "data")
    assert "data/l0 is a link to /etc/hostname" in str(caught.value)
    assert "data/l4" in str(caught.value)
    assert str(caught.value).endswith("and 2 more")
    assert ".kitignore" in (caught.value.hint or "")


def test_layer_with_links_out_of_the_tree_that_are_ignored_is_planned(tmp_path: Path) -> None:
    fill(tmp_path, "data/x")
    (tmp_path / "data/link").symlink_to("/etc/hostname")
    assert paths(tmp_path, "data", ignore="data/link") == ["data", "data/x"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (".kitcar-staging/model.bin", "'.kitcar-staging' is reserved"),
        (".Kitcar-Staging", "'.Kitcar-Staging' is reserved"),
        ("d/" * 128 + "f", "is too long or nested too deep"),
    ],
)
def test_layer_with_names_that_could_not_be_unpacked_is_refused(tmp_path: Path, name: str, says: str) -> None:
    fill(tmp_path, name, "x")
    with pytest.raises(UnsafePathError, match="cannot be packed: ") as caught:
        plan(tmp_path, ".")
    assert says in caught.value.message
    assert "hostile" not in str(caught.value.hint)
    assert paths(tmp_path, ".", ignore=name.partition("/")[0]) == ["x"]


def test_layer_next_to_what_cannot_be_packed_is_planned(tmp_path: Path) -> None:
    fill(tmp_path, "data/x")
    os.mkfifo(tmp_path / "pipe")
    assert paths(tmp_path, "data") == ["data", "data/x"]


@pytest.mark.parametrize("path", ["nope", "data/nope", "data/x/nope"])
def test_layer_of_a_missing_path_is_an_error(tmp_path: Path, path: str) -> None:
    fill(tmp_path, "data/x")
    with pytest.raises(NotFoundError, match=f"path {path.removesuffix('/nope') if 'x/' in path else path}"):
        plan(tmp_path, path)


@pytest.mark.parametrize("path", ["..", "../x", "/etc", "data/../../x"])
def test_layer_of_a_path_outside_is_refused(tmp_path: Path, path: str) -> None:
    fill(tmp_path, "data/x")
    with pytest.raises(UnsafePathError):
        plan(tmp_path, path)


def test_raw_layer_is_the_file_alone(tmp_path: Path) -> None:
    fill(tmp_path, "sub/x.mcpb")
    found = plan_raw(Tree(tmp_path), "sub/x.mcpb")
    assert ([entry.path for entry in found.entries], found.size, found.form) == (["sub/x.mcpb"], 1, "raw")


def test_raw_layer_of_a_directory_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, "sub/x.mcpb")
    with pytest.raises(InvalidError, match="file sub is not a regular file"):
        plan_raw(Tree(tmp_path), "sub")


def test_layers_of_one_tree_list_each_directory_once(tmp_path: Path) -> None:
    fill(tmp_path, "data/x", "data/sub/y")
    tree, rules = Tree(tmp_path), IgnoreRules.parse()
    first = plan_tar(tree, ".", rules)
    fill(tmp_path, "data/late", "data/sub/late")
    assert plan_tar(tree, ".", rules) == first
