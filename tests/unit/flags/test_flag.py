"""Flags behave as kit's users expect, down to the words of an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.flags.flag import Call, Flag, FlagError, Kind, parse, usage_lines

FLAGS = (
    Flag("file", "the file", short="f"),
    Flag("tag", "the tag", short="t", default="latest"),
    Flag("overwrite", "replace", Kind.SWITCH, short="o"),
    Flag("ignore-existing", "keep", Kind.SWITCH, short="i"),
    Flag("tls-verify", "verify", Kind.SWITCH, default=True),
    Flag("filter", "filters", Kind.TEXTS),
    Flag("tls-cert", "certificates", Kind.LIST),
    Flag("concurrency", "at once", Kind.NUMBER, default=5),
    Flag("verbose", "say more", Kind.COUNT, short="v"),
    Flag("as-skill", "skills", bare="auto"),
)


def read(*words: str) -> Call:
    return parse(FLAGS, words)


def test_parse_nothing_gives_defaults() -> None:
    call = read()
    assert call.arguments == ()
    assert call.text("tag") == "latest"
    assert call.on("tls-verify")
    assert not call.on("overwrite")
    assert call.number("concurrency") == 5
    assert call.texts("filter") == ()
    assert call.given == frozenset()


@pytest.mark.parametrize(
    "words",
    [
        ("--file", "x", "a", "b"),
        ("--file=x", "a", "b"),
        ("a", "-f", "x", "b"),
        ("a", "-fx", "b"),
        ("a", "b", "-f=x"),
        ("a", "-f", "x", "--", "b"),
    ],
)
def test_parse_flag_anywhere_and_in_any_form_is_the_same(words: tuple[str, ...]) -> None:
    call = read(*words)
    assert call.arguments == ("a", "b")
    assert call.text("file") == "x"
    assert call.given == {"file"}


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_parse_switch_with_true_value_is_on(text: str) -> None:
    assert read(f"--overwrite={text}").on("overwrite")


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_parse_switch_with_false_value_is_off(text: str) -> None:
    assert not read(f"--tls-verify={text}").on("tls-verify")


def test_parse_switch_takes_no_value_from_the_next_word() -> None:
    call = read("--overwrite", "false")
    assert call.on("overwrite")
    assert call.arguments == ("false",)


def test_parse_grouped_short_flags_sets_each() -> None:
    call = read("-oivf", "name", "-vv")
    assert call.on("overwrite")
    assert call.on("ignore-existing")
    assert call.number("verbose") == 3
    assert call.text("file") == "name"


def test_parse_count_with_value_sets_it() -> None:
    assert read("--verbose=2").number("verbose") == 2


def test_parse_repeated_flags_collect_and_lists_split_at_commas() -> None:
    call = read("--filter", "model,docs:a", "--filter=code", "--tls-cert", "a,b", "--tls-cert", "c")
    assert call.texts("filter") == ("model,docs:a", "code")
    assert call.texts("tls-cert") == ("a", "b", "c")


def test_parse_text_flag_repeated_keeps_the_last() -> None:
    assert read("-t", "one", "-t", "two").text("tag") == "two"


def test_parse_flag_with_bare_value_needs_equals_for_another() -> None:
    assert read("--as-skill", "cursor").text("as-skill") == "auto"
    assert read("--as-skill", "cursor").arguments == ("cursor",)
    assert read("--as-skill=cursor").text("as-skill") == "cursor"


def test_parse_value_that_looks_like_a_flag_is_a_value() -> None:
    assert read("--file", "--overwrite").text("file") == "--overwrite"
    assert not read("--file", "--overwrite").on("overwrite")


def test_parse_single_dash_is_an_argument() -> None:
    assert read("-").arguments == ("-",)
    assert read("-f", "-").text("file") == "-"


def test_parse_not_interspersed_stops_at_the_first_argument() -> None:
    call = parse(FLAGS, ("-v", "pack", "-o"), interspersed=False)
    assert call.arguments == ("pack", "-o")
    assert not call.on("overwrite")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--bogus",), "unknown flag: --bogus"),
        (("--bogus=1",), "unknown flag: --bogus"),
        (("-oZ",), "unknown shorthand flag: 'Z' in -oZ"),
        (("--file",), "flag needs an argument: --file"),
        (("-f",), "flag needs an argument: 'f' in -f"),
        (("--=x",), "bad flag syntax: --=x"),
        (
            ("--tls-verify=maybe",),
            'invalid argument "maybe" for "--tls-verify" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            ("-o=maybe",),
            'invalid argument "maybe" for "-o, --overwrite" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            ("--concurrency", "many"),
            'invalid argument "many" for "--concurrency" flag: strconv.ParseInt: parsing "many": invalid syntax',
        ),
    ],
)
def test_parse_wrong_flag_says_so_as_kit_does(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        read(*words)
    assert str(caught.value) == message


@given(st.lists(st.text(max_size=8)))
def test_parse_any_words_gives_a_call_or_a_flag_error(words: list[str]) -> None:
    try:
        call = parse(FLAGS, words)
    except FlagError:
        return
    assert set(call.values) == {flag.name for flag in FLAGS}


@given(st.lists(st.text(max_size=8)))
def test_parse_behind_two_dashes_keeps_every_word(words: list[str]) -> None:
    assert parse(FLAGS, ["--", *words]).arguments == tuple(words)


def test_usage_lines_align_descriptions_and_show_defaults() -> None:
    lines = usage_lines(FLAGS)
    assert lines[0] == "  -f, --file string                the file"
    assert lines[1].endswith('the tag (default "latest")')
    assert '      --as-skill string[="auto"]   skills' in lines
    assert lines[4].endswith("verify (default true)")
    assert lines[7].endswith("at once (default 5)")
    assert usage_lines(()) == []


@pytest.mark.parametrize("text", ["a\rb", "a" * 200_000])
def test_parse_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(FlagError, match="--names"):
        parse([Flag("names", "Names", Kind.LIST)], ["--names", text])
