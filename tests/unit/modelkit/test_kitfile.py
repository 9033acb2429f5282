from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.privilege import file_modes_count
from kitcar.errors import InvalidError, KitcarError, NotFoundError
from kitcar.modelkit.dialect import Kind
from kitcar.modelkit.kitfile import (
    Code,
    Dataset,
    Docs,
    Kitfile,
    McpServer,
    Model,
    ModelPart,
    Package,
    Prompt,
    clean_path,
    find_kitfile,
)
from kitcar.oci.digest import Digest

FULL = b"""\
manifestVersion: 1.0.0
package:
  name: iris
  version: 0.10
  description: Sorts <flowers> & more
  license: Apache-2.0
  authors: [Ada, "Grace H."]
model:
  name: m
  path: ./models/iris.joblib
  license: MIT
  framework: sklearn
  format: joblib
  version: 1
  description: the model
  parts:
  - name: lora
    path: parts/lora/
    license: MIT
    type: lora_adapter
  parameters: {lr: 0.1, epochs: 1000000, on: 2001-01-02, deep: {b: [1, ~], a: yes}}
code:
- path: src
  description: training
  license: MIT
datasets:
- name: train
  path: data/train.csv
  parameters: text
- name: far
  path: data/far
  remotePath: s3://bucket/key
  remoteHash: abc
docs:
- path: README.md
  description: readme
prompts:
- name: p
  path: prompts/p.prompt
mcpServers:
- name: s
  path: s.mcpb
  description: tools
"""
FULL_JSON = (
    '{"manifestVersion":"1.0.0","package":{"name":"iris","version":"0.10","description":"Sorts '
    '\\u003cflowers\\u003e \\u0026 more",'
    '"license":"Apache-2.0","authors":["Ada","Grace H."]},"model":{"name":"m","path":"./models/iris.joblib","license":"MIT",'
    '"framework":"sklearn","format":"joblib","version":"1","description":"the model","parts":[{"name":"lora",'
    '"path":"parts/lora/","license":"MIT","type":"lora_adapter"}],"parameters":{"deep":{"a":"yes","b":[1,null]},'
    '"epochs":1000000,"lr":0.1,"on":"2001-01-02T00:00:00Z"}},"code":[{"path":"src","description":"training","license":"MIT"}],'
    '"datasets":[{"name":"train","path":"data/train.csv","parameters":"text"},{"name":"far","path":"data/far",'
    '"remotePath":"s3://bucket/key","remoteHash":"abc"}],"docs":[{"path":"README.md","description":"readme"}],'
    '"prompts":[{"name":"p","path":"prompts/p.prompt"}],"mcpServers":[{"name":"s","path":"s.mcpb","description":"tools"}]}'
)
DIGEST, DIFF_ID = Digest.of(b"layer"), Digest.of(b"content")

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
segments = st.text(st.sampled_from("abcXYZ019-_ é"), min_size=1, max_size=6).filter(lambda text: text.strip() == text)
# Negative zero is written as kit writes it, `-0`, which is read as the integer; adding zero takes the sign away.
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda number: number + 0.0
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def kitfiles(draw: st.DrawFn) -> Kitfile:
    """Valid Kitfiles: every path stands once, below a folder of its own."""
    count = 0

    def path() -> str:
        nonlocal count
        count += 1
        return f"{count}/{draw(segments)}"

    def some(make: Any) -> tuple[Any, ...]:
        return tuple(make() for _ in range(draw(st.integers(0, 2))))

    parts = some(lambda: ModelPart(name=draw(names), path=path(), type=draw(st.sampled_from(["", "lora", "a.b-c"]))))
    model = Model(name=draw(names), path=path(), version=draw(names), parts=parts, parameters=draw(values))
    return Kitfile(
        package=Package(name=draw(names), description=draw(names), authors=tuple(draw(st.lists(names, max_size=3)))),
        model=draw(st.sampled_from([None, model])),
        code=some(lambda: Code(path=path(), description=draw(names))),
        datasets=some(lambda: Dataset(name=draw(names), path=path(), parameters=draw(values))),
        docs=some(lambda: Docs(path=path())),
        prompts=some(lambda: Prompt(name=draw(names), path=path())),
        mcp_servers=some(lambda: McpServer(name=f"s{count}", path=path() + ".mcpb")),
    )


@given(kitfiles())
def test_kitfile_written_as_yaml_and_read_again_is_the_same(kitfile: Kitfile) -> None:
    assert Kitfile.parse(kitfile.to_yaml()) == kitfile


@given(kitfiles())
def test_kitfile_written_as_json_and_read_again_is_the_same(kitfile: Kitfile) -> None:
    again = Kitfile.from_json(kitfile.to_json())
    assert again.to_json() == Kitfile.from_json(again.to_json()).to_json()
    assert again.document(digests=False).keys() == kitfile.document(digests=False).keys()
    assert again.entries() == kitfile.entries()


@given(kitfiles())
def test_kitfile_yaml_written_twice_is_the_same(kitfile: Kitfile) -> None:
    assert Kitfile.parse(kitfile.to_yaml()).to_yaml() == kitfile.to_yaml()


def test_parse_of_every_section_gives_kits_config() -> None:
    assert Kitfile.parse(FULL).to_json().decode() == FULL_JSON


def test_parse_of_unquoted_scalars_keeps_their_text_in_text_members() -> None:
    kitfile = Kitfile.parse(
        b"manifestVersion: 1.0.0\npackage: {name: 0x1F, version: 1.10, description: yes, license: ~}\n"
    )
    assert kitfile.package == Package(name="0x1F", version="1.10", description="yes")


def test_parse_of_unknown_version_warns_in_kits_words() -> None:
    assert Kitfile.parse(b"manifestVersion: 2.0.0\n").warnings == (
        "Unrecognized manifestVersion 2.0.0: treating Kitfile as 1.0.0",
    )


def test_parse_without_version_warns_and_writes_it_back_empty() -> None:
    kitfile = Kitfile.parse(b"package: {name: x}\n")
    assert kitfile.warnings == ("Unrecognized manifestVersion : treating Kitfile as 1.0.0",)
    assert kitfile.to_json() == b'{"manifestVersion":"","package":{"name":"x"}}'


def test_parse_of_empty_list_items_leaves_them_out_with_a_warning() -> None:
    kitfile = Kitfile.parse(b"manifestVersion: 1.0.0\ndocs:\n- path: a\n-\npackage:\n  authors: [x, ~]\n")
    assert [docs.path for docs in kitfile.docs] == ["a"]
    assert kitfile.warnings == ("docs[1] is empty and left out", "package.authors[1] is empty and left out")


def test_parse_of_null_sections_leaves_them_out() -> None:
    kitfile = Kitfile.parse(b"manifestVersion: 1.0.0\nmodel: ~\npackage:\ncode: null\n")
    assert kitfile == Kitfile()


def test_parse_of_an_empty_model_keeps_it() -> None:
    assert Kitfile.parse(b"manifestVersion: 1.0.0\nmodel: {}\n").to_json() == (
        b'{"manifestVersion":"1.0.0","package":{},"model":{}}'
    )


def test_parse_of_hash_for_a_referenced_kit_warns() -> None:
    text = b"manifestVersion: 1.0.0\ndatasets: [{path: d, remotePath: 'reg.io/a/b:v1', remoteHash: x}]\n"
    assert Kitfile.parse(text).warnings == ("remoteHash is ignored for ModelKit references in datasets (d)",)


def test_from_json_takes_unknown_members_and_any_case() -> None:
    raw = b'{"ManifestVersion":"1.0.0","later":{"a":1},"MODEL":{"PATH":"m","new":[]},"package":null,"docs":[null]}'
    kitfile = Kitfile.from_json(raw)
    assert (kitfile.model, kitfile.docs) == (Model(path="m"), (Docs(),))


def test_from_json_reads_numbers_as_floats_like_go() -> None:
    raw = b'{"manifestVersion":"1.0.0","model":{"parameters":{"m":1000000,"big":12345678901234567890}}}'
    kitfile = Kitfile.from_json(raw)
    assert kitfile.to_yaml() == (
        b"manifestVersion: 1.0.0\nmodel:\n  parameters:\n    big: 1.2345678901234567e+19\n    m: 1e+06\n"
    )


def test_from_json_replaces_lone_surrogates() -> None:
    assert Kitfile.from_json(b'{"package":{"name":"\\ud800x"}}').package.name == "\ufffdx"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "failed to parse config"),
        (b"[]", "must be an object"),
        (b'{"package":[]}', "package must be an object"),
        (b'{"docs":{}}', "docs must be a list"),
        (b'{"docs":[{"path":1}]}', r"docs\[0\].path must be a text"),
        (b'{"package":{"authors":[1]}}', r"authors\[0\] must be a text"),
        (b'{"model":{"digest":"sha256:abc"}}', "is not a sha256 digest"),
        (b'{"model":{"parameters":NaN}}', "NaN is no JSON"),
        (b'{"model":{"parameters":1e999}}', "out of range"),
        (b'{"model":{"parameters":' + b"[" * 200 + b"]" * 200 + b"}}", "nested deeper"),
        (b"[" * 100_000, "failed to parse config"),
    ],
)
def test_from_json_of_the_wrong_form_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        Kitfile.from_json(raw)


def test_from_json_of_null_is_an_empty_kitfile() -> None:
    assert Kitfile.from_json(b"null") == Kitfile(manifest_version="")


@given(st.binary(max_size=200))
def test_from_json_of_any_bytes_gives_a_value_or_our_error(raw: bytes) -> None:
    with contextlib.suppress(InvalidError):
        assert isinstance(Kitfile.from_json(raw), Kitfile)


def test_entries_come_in_the_order_of_layers() -> None:
    entries = Kitfile.parse(FULL).entries()
    assert [(entry.kind, entry.index, entry.clean_path) for entry in entries] == [
        (Kind.MODEL, 0, "models/iris.joblib"),
        (Kind.MODELPART, 0, "parts/lora"),
        (Kind.CODE, 0, "src"),
        (Kind.DATASET, 0, "data/train.csv"),
        (Kind.DATASET, 1, "data/far"),
        (Kind.DOCS, 0, "README.md"),
        (Kind.PROMPT, 0, "prompts/p.prompt"),
        (Kind.MCPB, 0, "s.mcpb"),
    ]
    assert [entry.label for entry in entries] == [
        "model m",
        "modelpart lora",
        "code layer 0",
        "dataset layer 0",
        "dataset layer 1",
        "docs layer 0",
        "prompt layer 0",
        "mcpServer layer 0",
    ]
    assert [entry.name for entry in entries if entry.remote] == ["far"]
    assert entries[0].path == "./models/iris.joblib"


def test_entries_of_a_referenced_model_are_remote() -> None:
    (model, part) = Kitfile(model=Model(path="reg.io/a/b:v1", parts=(ModelPart(path="p"),))).entries()
    assert (model.remote, model.clean_path, part.remote) == (True, "reg.io/a/b:v1", False)


def test_entries_of_a_model_without_a_path_are_its_parts() -> None:
    entries = Kitfile(model=Model(name="m", parts=(ModelPart(path="p"),))).entries()
    assert [entry.kind for entry in entries] == [Kind.MODELPART]


def test_entry_without_a_name_is_called_by_its_path() -> None:
    assert Kitfile(model=Model(path="m.bin")).entries()[0].label == "model m.bin"


def test_with_layers_marks_entries_by_kind_and_index() -> None:
    kitfile = Kitfile.parse(FULL)
    marked = kitfile.with_layers({(entry.kind, entry.index): (DIGEST, DIFF_ID) for entry in kitfile.entries()})
    assert all((entry.digest, entry.diff_id) == (DIGEST, DIFF_ID) for entry in marked.entries())
    assert marked.to_yaml() == kitfile.to_yaml()
    assert Kitfile.from_json(marked.to_json()).entries() == marked.entries()
    assert f'"type":"lora_adapter","digest":"{DIGEST}","diffId":"{DIFF_ID}"}}]'.encode() in marked.to_json()


def test_with_layers_leaves_others_alone() -> None:
    kitfile = Kitfile(code=(Code(path="a"), Code(path="b")))
    marked = kitfile.with_layers({(Kind.CODE, 1): (DIGEST, DIFF_ID)})
    assert marked.code == (Code(path="a"), Code(path="b", digest=DIGEST, diff_id=DIFF_ID))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "."),
        ("./", "."),
        ("a//b/./c/", "a/b/c"),
        ("a/../b", "b"),
        ("../x", "../x"),
        ("//x//y", "/x/y"),
        ("...", "..."),
        ("v1..v2", "v1..v2"),
    ],
)
def test_clean_path_is_what_go_cleans(path: str, expected: str) -> None:
    assert clean_path(path) == expected


@pytest.mark.parametrize("name", ["Kitfile", "kitfile", ".kitfile"])
def test_find_kitfile_takes_all_of_kits_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert find_kitfile(tmp_path) == tmp_path / name


def test_find_kitfile_prefers_the_usual_name(tmp_path: Path) -> None:
    for name in (".kitfile", "kitfile", "Kitfile"):
        (tmp_path / name).touch()
    assert find_kitfile(tmp_path).name == "Kitfile"


def test_find_kitfile_in_a_directory_without_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "Kitfile").mkdir()
    with pytest.raises(NotFoundError, match=r"No Kitfile found in .*Consider using the -f flag"):
        find_kitfile(tmp_path)


def test_find_kitfile_in_a_directory_that_may_not_be_entered_says_why(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o600)
    with file_modes_count(), pytest.raises(KitcarError, match=r"cannot look into .*: permission denied") as caught:
        find_kitfile(tmp_path / "closed")
    assert caught.value.hint


def test_find_kitfile_in_no_directory_says_that(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"No Kitfile found in .*Consider using the -f flag") as caught:
        find_kitfile(tmp_path / "typo")
    assert caught.value.hint == f"{tmp_path / 'typo'} is no directory"


def test_document_without_digests_is_what_yaml_shows() -> None:
    kitfile = Kitfile(docs=(Docs(description="d", digest=DIGEST, diff_id=DIFF_ID),))
    assert kitfile.document(digests=False) == {
        "manifestVersion": "1.0.0",
        "docs": [{"path": "", "description": "d"}],
    }
    assert kitfile.document()["docs"][0]["diffId"] == str(DIFF_ID)
