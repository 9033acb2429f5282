from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError, NotFoundError
from kitcar.modelkit.init.detect import FileType, file_type
from kitcar.modelkit.init.generate import Directory, File, generate, init, scan
from kitcar.modelkit.kitfile import Dataset, Kitfile, Package, Prompt
from kitcar.modelkit.kitfile.rules import validate

APACHE = (
    "Licensed under the Apache License, Version 2.0 (the 'License'); you may not use this file except in compliance with "
    "the License. You may obtain a copy of the License at http://www.apache.org/licenses/LICENSE-2.0 Unless required by "
    "applicable law or agreed to in writing, software distributed under the License is distributed on an 'AS IS' BASIS, "
    "WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied."
)
SKILL = "---\nname: sk\ndescription: does x\nlicense: MIT\n---\nbody"


def generated(root: Path, files: Mapping[str, str | int], depth: int = 0, package: Package | None = None) -> Kitfile:
    """The Kitfile for files with a text, or with a number of bytes."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * content if isinstance(content, int) else content)
    return init(root, package=package or Package(), depth=depth)


def lines(kitfile: Kitfile) -> list[str]:
    return [f"{entry.kind.value} {entry.path}" for entry in kitfile.entries()]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("w.safetensors", FileType.MODEL),
        ("sub/w.onnx", FileType.MODEL),
        ("my_pytorch_model-1.bin", FileType.MODEL),
        ("sub/pytorch_model.bin", FileType.UNKNOWN),
        ("w.bin", FileType.UNKNOWN),
        ("w.SAFETENSORS", FileType.UNKNOWN),
        ("config.json", FileType.METADATA),
        ("notes.txt", FileType.METADATA),
        ("x.html", FileType.DOCS),
        ("d.parquet", FileType.DATASET),
        ("d.tar.gz", FileType.UNKNOWN),
        ("s.mcpb", FileType.MCP_SERVER),
        ("AGENTS.md", FileType.PROMPT),
        ("sub/Claude.MD", FileType.PROMPT),
        ("a.prompt.json", FileType.PROMPT),
        ("a.Prompt", FileType.PROMPT),
        ("prompt.md", FileType.DOCS),
        ("x.prompts/w.gguf", FileType.MODEL),
        ("run.py", FileType.UNKNOWN),
        ("noext", FileType.UNKNOWN),
    ],
)
def test_file_type_is_told_by_the_name(path: str, expected: FileType) -> None:
    assert file_type(path) is expected


def test_init_of_a_single_model_names_it(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"my.model.gguf": 5, "config.json": 1}, package=Package(name="kit"))
    assert kitfile.to_yaml() == (
        b"manifestVersion: 1.0.0\npackage:\n  name: kit\nmodel:\n  name: my.model\n  path: my.model.gguf\n"
        b"  parts:\n    - path: config.json\n"
    )


def test_init_takes_the_far_largest_file_for_the_model(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"a.gguf": 1, "b.gguf": 10, "c.gguf": 1})
    assert lines(kitfile) == ["model b.gguf", "modelpart a.gguf", "modelpart c.gguf"]
    assert kitfile.model
    assert kitfile.model.name == "b"


@pytest.mark.parametrize("size", [0, 7])
def test_init_of_equal_shards_takes_the_first_without_a_name(tmp_path: Path, size: int) -> None:
    kitfile = generated(tmp_path, {"b.gguf": size, "a.gguf": size})
    assert lines(kitfile) == ["model a.gguf", "modelpart b.gguf"]
    assert kitfile.model
    assert not kitfile.model.name


def test_init_without_a_model_takes_metadata_for_datasets(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"b.json": 1, "a.csv": 1})
    assert lines(kitfile) == ["dataset a.csv", "dataset b.json"]


def test_init_gives_a_mixed_directory_to_code_and_its_models_to_the_model(tmp_path: Path) -> None:
    kitfile = generated(
        tmp_path, {"mix/w.gguf": 1, "mix/run.py": 1, "docs/x": 1, "lib/y": 1, "data/a.csv": 1, "data/b.json": 1}
    )
    assert lines(kitfile) == ["model mix/w.gguf", "code lib/", "code mix/", "dataset data/", "docs docs/"]


def test_init_takes_a_model_directory_file_by_file(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"m/b.gguf": 1, "m/a.gguf": 1, "m/z.json": 1})
    assert lines(kitfile) == ["model m/a.gguf", "modelpart m/b.gguf", "modelpart m/z.json"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"x/empty/keep": 1}, ["code x/"]),
        ({"x/a.md": 1, "x/b.pdf": 1}, ["docs x/"]),
        ({"x/a.prompt": 1}, ["prompt x/"]),
        ({"x/a.mcpb": 1, "x/b.mcpb": 1}, ["mcpb x/a.mcpb", "mcpb x/b.mcpb"]),
        ({"x/a.json": 1}, ["code x/"]),
        ({"x/a.csv": 1, "x/sub/b.csv": 1}, ["code x/"]),
    ],
)
def test_init_takes_a_directory_of_one_type_as_a_whole(
    tmp_path: Path, files: dict[str, int], expected: list[str]
) -> None:
    assert lines(generated(tmp_path, files)) == expected


def test_init_of_many_unknown_files_takes_everything_for_code(tmp_path: Path) -> None:
    assert lines(generated(tmp_path, {f"{n}.py": 1 for n in range(5)})) == [f"code {n}.py" for n in range(5)]
    assert lines(generated(tmp_path, {f"{n}.py": 1 for n in range(6)})) == ["code ."]


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (0, ["dataset top.csv", "code sub/"]),
        (1, ["dataset top.csv", "dataset sub/a.csv", "dataset sub/c.json", "code sub/b.py", "code sub/deep/"]),
        (2, ["dataset top.csv", "dataset sub/a.csv", "dataset sub/c.json", "code sub/b.py", "docs sub/deep/d.md"]),
        (-1, ["dataset top.csv", "dataset sub/a.csv", "dataset sub/c.json", "code sub/b.py", "docs sub/deep/d.md"]),
    ],
)
def test_init_looks_at_files_one_by_one_down_to_the_depth(tmp_path: Path, depth: int, expected: list[str]) -> None:
    files = {"top.csv": 1, "sub/a.csv": 1, "sub/b.py": 1, "sub/c.json": 1, "sub/deep/d.md": 1}
    if depth == 1:
        files["sub/deep/more/x"] = 1
    assert sorted(lines(generated(tmp_path, files, depth))) == sorted(expected)


def test_init_leaves_kitfiles_out_and_ignore_rules_in(tmp_path: Path) -> None:
    files = {"Kitfile": 1, "kitfile": 1, ".kitfile": 1, ".kitignore": 1, "w.npy": 1}
    assert lines(generated(tmp_path, files)) == ["model w.npy", "code .kitignore"]


def test_init_tells_readme_and_licence(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"ReadMe.rst": "x", "LICENSE.md": APACHE, "w.npy": 1, "sub/LICENSE": APACHE})
    assert [(docs.path, docs.description) for docs in kitfile.docs] == [
        ("LICENSE.md", "License file"),
        ("ReadMe.rst", "Readme file"),
    ]
    assert kitfile.model
    assert kitfile.model.license == "Apache-2.0"
    assert not kitfile.warnings


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"a.csv": 1}, "dataset"),
        ({"a.py": 1}, "code"),
        ({"a.csv": 1, "b.csv": 1}, "package"),
        ({"a.csv": 1, "b.py": 1}, "dataset"),
        ({}, "package"),
    ],
)
def test_init_gives_the_licence_to_what_it_can_be_of(tmp_path: Path, files: dict[str, int], place: str) -> None:
    kitfile = generated(tmp_path, {**files, "LICENSE": APACHE})
    found = {
        "package": kitfile.package.license,
        "dataset": kitfile.datasets[0].license if kitfile.datasets else "",
        "code": kitfile.code[0].license if kitfile.code else "",
    }
    assert found == {**dict.fromkeys(found, ""), place: "Apache-2.0"}


def test_init_warns_of_a_licence_it_does_not_know(tmp_path: Path) -> None:
    assert generated(tmp_path, {"LICENSE": "All mine."}).warnings == ("Unable to determine license type",)


def test_init_warns_of_a_licence_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").symlink_to("/proc/self/mem")
    assert init(tmp_path).warnings == ("Unable to determine license type",)


def test_init_of_a_skill_takes_the_whole_directory_for_a_prompt(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"SKILL.md": SKILL, "w.gguf": 1}, package=Package(description="mine"))
    assert kitfile == Kitfile(
        package=Package(name="sk", description="mine", license="MIT"),
        prompts=(Prompt(name="sk", path=".", description="does x"),),
    )


def test_init_takes_a_skill_below_for_a_prompt_and_its_words_for_a_kit_of_prompts(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"s/SKILL.md": SKILL, "s/run.py": 1})
    assert kitfile == Kitfile(
        package=Package(name="sk", description="does x", license="MIT"),
        prompts=(Prompt(name="sk", path="s/", description="does x"),),
    )


def test_init_takes_only_the_licence_of_a_skill_beside_other_things(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"s/SKILL.md": SKILL, "d.csv": 1}, depth=3)
    assert (kitfile.package, kitfile.datasets) == (Package(license="MIT"), (Dataset(path="d.csv"),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "body",
        "---\nname: x\n",
        "---\n---\n",
        "---\n \n---\n",
        "---\nname: [a]\n---\n",
        "---\nname: a\nname: b\n---\n",
        "---\nname: {\n---\n",
        "---\n- a\n---\n",
        "---\n# c\n---\n",
        "---\nname: !!int x\n---\n",
        " ---\nname: x\n---\n",
    ],
)
def test_init_of_a_skill_without_a_readable_head_gives_it_no_name(tmp_path: Path, text: str) -> None:
    kitfile = generated(tmp_path, {"SKILL.md": text})
    assert kitfile == Kitfile(prompts=(Prompt(path="."),))


def test_init_of_a_skill_reads_windows_lines_and_any_scalar_as_text(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"SKILL.md": "---\r\nname: 1.0\r\ndescription: ~\r\nother: {a: [1]}\r\n---\r\n"})
    assert kitfile.prompts == (Prompt(name="1.0", path="."),)


def test_scan_counts_links_as_what_they_point_to(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "abc").write_text("weights")
    (tmp_path / "snap").mkdir()
    (tmp_path / "snap" / "w.safetensors").symlink_to("../blobs/abc")
    (tmp_path / "snap" / "gone").symlink_to("nowhere")
    (tmp_path / "snap" / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "snap" / "pipe")
    assert scan(tmp_path / "snap") == Directory(".", ".", (File("w.safetensors", "w.safetensors", 7),))


def test_scan_of_a_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no such directory"):
        scan(tmp_path / "no")


def test_scan_of_a_file_says_why(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(InvalidError, match=r"failed to read directory .*Not a directory"):
        scan(tmp_path / "f")


def test_scan_of_directories_nested_too_deep_says_so(tmp_path: Path) -> None:
    (tmp_path / ("d/" * 129)).mkdir(parents=True)
    with pytest.raises(InvalidError, match=r"failed to read directory .*: it is nested too deep"):
        scan(tmp_path)


def test_init_refuses_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")).touch()
    with pytest.raises(InvalidError, match=r"b'\\xff.csv' is not UTF-8"):
        init(tmp_path)


def test_init_writes_a_name_that_reads_as_a_reference_or_a_url_as_the_file_it_is(tmp_path: Path) -> None:
    kitfile = generated(tmp_path, {"llama:7b.gguf": 1, "a:b.csv": 1, "data:v1/x.csv": 1, "sub/c:d.csv": 1, "sub/y": 1})
    assert lines(kitfile) == [
        "model ./llama:7b.gguf",
        "code sub/",
        "dataset ./a:b.csv",
        "dataset ./data:v1/",
    ]
    assert kitfile.model
    assert kitfile.model.name == "llama:7b"
    assert not any(entry.remote for entry in kitfile.entries())


def test_generate_of_a_listing_alone_reads_nothing() -> None:
    listing = Directory(".", ".", (File("LICENSE", "LICENSE", 1), File("SKILL.md", "SKILL.md", 1)))
    assert generate(listing).prompts == (Prompt(path="."),)


names = st.sampled_from(
    [
        "a.gguf",
        "b.pt",
        "l:7b.gguf",
        "c.json",
        "d.csv",
        "e:v1.csv",
        "README",
        "LICENSE",
        "x.py",
        "y",
        "u:1",
        "p.prompt",
        "s.mcpb",
    ]
)
files = st.lists(names, unique=True, max_size=8).map(sorted)


@st.composite
def listings(draw: st.DrawFn, path: str = "", depth: int = 0) -> Directory:
    found = tuple(File(name, f"{path}{name}", draw(st.integers(0, 9))) for name in draw(files))
    below = (
        draw(st.lists(st.sampled_from(["docs", "src", "data", "z", "s3:", "v:1"]), unique=True, max_size=2 - depth))
        if depth < 2
        else []
    )
    directories = tuple(draw(listings(f"{path}{name}/", depth + 1)) for name in sorted(below))
    return Directory(path.rstrip("/").rpartition("/")[2] or ".", path.rstrip("/") or ".", found, directories)


@given(listings(), st.integers(-1, 3))
def test_generate_of_any_listing_gives_a_valid_kitfile_that_can_be_read(listing: Directory, depth: int) -> None:
    kitfile = generate(listing, depth=depth)
    assert not validate(kitfile)
    assert not any(entry.remote for entry in kitfile.entries())
    assert Kitfile.parse(kitfile.to_yaml()) == kitfile
