from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError
from kitcar.modelkit.dialect import Kind
from kitcar.modelkit.kitfile import Code, Dataset, Docs, Kitfile, McpServer, Model, ModelPart, Prompt
from kitcar.modelkit.select import TYPES, Filter, Selection

KITFILE = Kitfile(
    model=Model(name="iris", path="m.bin", parts=(ModelPart(name="lora", path="lora/"),)),
    code=(Code(path="."), Code(path="src/")),
    datasets=(Dataset(name="train", path="data/train.csv"),),
    docs=(Docs(path="README.md"),),
    prompts=(Prompt(name="ask", path="p.prompt"),),
    mcp_servers=(McpServer(name="srv", path="s.mcpb"),),
)


def chosen(*filters: str) -> list[str]:
    selection = Selection.parse(filters)
    return [entry.path for entry in KITFILE.entries() if selection.matches(entry)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], ["m.bin", "lora/", ".", "src/", "data/train.csv", "README.md", "p.prompt", "s.mcpb"]),
        (["model"], ["m.bin", "lora/"]),
        (["model:lora"], ["lora/"]),
        (["model:iris,lora"], ["m.bin", "lora/"]),
        (["docs:README.md"], ["README.md"]),
        (["docs:./README.md"], ["README.md"]),
        (["code:src"], ["src/"]),
        (["code:src/"], ["src/"]),
        (["code:"], []),
        (["code:."], ["."]),
        (["datasets:train", "mcpservers"], ["data/train.csv", "s.mcpb"]),
        (["model,datasets:train"], ["data/train.csv"]),
        (["prompts:ask"], ["p.prompt"]),
        (["kitfile"], []),
        (["datasets:nope"], []),
        (["docs:README"], []),
    ],
)
def test_selection_matches_what_a_filter_names(filters: list[str], expected: list[str]) -> None:
    assert chosen(*filters) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [([], True), (["kitfile"], True), (["kitfile,model"], True), (["model"], False), (["kitfile:x"], True)],
)
def test_selection_wants_the_kitfile_if_named_or_nothing_is(filters: list[str], expected: bool) -> None:
    assert Selection.parse(filters).kitfile is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "bogus",
            "invalid filter type bogus (must be one of kitfile, model, datasets, code, prompts, docs, mcpservers)",
        ),
        ("", "invalid filter type  (must be one of kitfile, model, datasets, code, prompts, docs, mcpservers)"),
        (":x", "invalid filter type  (must be one of kitfile, model, datasets, code, prompts, docs, mcpservers)"),
        (
            "model, docs",
            "invalid filter type  docs (must be one of kitfile, model, datasets, code, prompts, docs, mcpservers)",
        ),
        ("model:a:b", "invalid filter: should be in format <type1>,<type2>[:<filter1>,<filter2>]"),
    ],
)
def test_filter_of_the_wrong_form_is_refused_in_kits_words(text: str, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Filter.parse(text)
    assert str(caught.value) == message
    with pytest.raises(InvalidError) as caught:
        Selection.parse([text])
    assert str(caught.value) == f"Invalid filter '{text}': {message}"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], ()),
        (["kitfile"], ()),
        (["kitfile:x"], ()),
        (["model", "docs:README.md"], ()),
        (["datasets:nope"], ("datasets:nope",)),
        (["model:iris,nope", "code:gone"], ("model:nope", "code:gone")),
        (["model,datasets:train,x"], ("model,datasets:x",)),
    ],
)
def test_unmatched_tells_what_nothing_answers_to(filters: list[str], expected: tuple[str, ...]) -> None:
    assert Selection.parse(filters).unmatched(KITFILE) == expected


def test_unmatched_tells_types_that_a_kit_lacks() -> None:
    assert Selection.parse(["model,docs", "kitfile"]).unmatched(Kitfile(model=Model(path="m"))) == ("docs",)


def test_from_flags_wants_the_types_named() -> None:
    selection = Selection.from_flags(model=True, docs=True)
    assert [entry.path for entry in KITFILE.entries() if selection.matches(entry)] == ["m.bin", "lora/", "README.md"]
    assert not selection.kitfile
    assert Selection.from_flags(kitfile=True).kitfile


def test_from_flags_without_any_wants_everything() -> None:
    assert Selection.from_flags() == Selection()


def test_narrowed_keeps_one_type_of_each_filter() -> None:
    selection = Selection.parse(["model,docs:a", "code", "model:b"])
    narrowed = selection.narrowed(Kind.MODEL)
    assert narrowed is not None
    assert [str(one) for one in narrowed.filters] == ["model:a", "model:b"]


def test_narrowed_without_filters_wants_all_of_the_type() -> None:
    assert Selection().narrowed(Kind.DATASET) == Selection((Filter(("datasets",)),))


def test_narrowed_of_what_was_not_wanted_is_nothing() -> None:
    assert Selection.parse(["docs"]).narrowed(Kind.MODEL) is None


names = st.text(st.characters(exclude_characters=",:", codec="utf-8"), min_size=1, max_size=8)


@given(st.lists(st.sampled_from(TYPES), min_size=1), st.lists(names, max_size=3))
def test_filter_parse_and_str_are_inverses(types: list[str], wanted: list[str]) -> None:
    one = Filter(tuple(types), tuple(wanted))
    assert Filter.parse(str(one)) == one
