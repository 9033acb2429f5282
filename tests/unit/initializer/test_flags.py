"""`KIT_UNPACK_FLAGS`: a shell's quotes, pflag's grammar, clear faults."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError
from kitcar.initializer.flags import parse_flags

WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


USUAL = parse_flags("").values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("   ", {}),
        ("-v --plain-http", {"verbose": 1, "plain-http": True}),
        ("-vv -v --verbose", {"verbose": 4}),
        ("--verbose=3", {"verbose": 3}),
        ("-o", {"overwrite": True}),
        ("-ovi", {"overwrite": True, "verbose": 1, "ignore-existing": True}),
        ("--overwrite=false", {}),
        ("-o=false -i=T", {"ignore-existing": True}),
        ("-f model", {"filter": ("model",)}),
        ("-fmodel -f=docs --filter code", {"filter": ("model", "docs", "code")}),
        ("--filter='datasets:my data'", {"filter": ("datasets:my data",)}),
        ('-f "model,docs" -f docs:./README.md', {"filter": ("model,docs", "docs:./README.md")}),
        ("--tls-verify=false", {"tls-verify": False}),
        ("--tls-cert /a,/b --tls-cert=/c", {"tls-cert": ("/a", "/b", "/c")}),
        ("--cert /c --key /k", {"cert": "/c", "key": "/k"}),
        ("--concurrency 12 --proxy http://p:1", {"concurrency": 12, "proxy": "http://p:1"}),
        ("--proxy=", {}),
        ("-d /mnt/other --dir=/mnt/last", {"dir": "/mnt/last"}),
        ("-vd/x", {"verbose": 1, "dir": "/x"}),
        (
            "--model --datasets=1 --docs=0 --code --kitfile",
            dict.fromkeys(("model", "datasets", "code", "kitfile"), True),
        ),
        ("--config /c --log-level debug --progress none", {"config": "/c", "log-level": "debug", "progress": "none"}),
        ("--include-remote", {"include-remote": True}),
        ("--plain-http --", {"plain-http": True}),
    ],
)
def test_parse_flags_of_kit_unpack_are_read_as_kit_reads_them(text: str, expected: dict[str, object]) -> None:
    assert parse_flags(text).values == {**USUAL, **expected}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("--foo", "unknown flag: --foo"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("-ox", "unknown shorthand flag: 'x' in -ox"),
        ("--filter", "flag needs an argument: --filter"),
        ("-vf", "flag needs an argument: 'f' in -vf"),
        ("--docs=x", 'invalid argument "x" for "--docs" flag: strconv.ParseBool: parsing "x": invalid syntax'),
        (
            "--concurrency x",
            'invalid argument "x" for "--concurrency" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
        ("--concurrency 0", "invalid argument for concurrency (0): must be at least 1"),
        ("--tls-verify false", "unexpected argument 'false'"),
        ("model", "unexpected argument 'model'"),
        ("-", "unexpected argument '-'"),
        ("--as-skill=cursor", "--as-skill cannot be used here"),
        ("-h", "--help cannot be used here"),
        ("--help", "--help cannot be used here"),
        ("--filter 'model", 'no closing quotation in "--filter \'model"'),
        ("-- --plain-http", "unexpected argument '--plain-http'"),
        ("--=x", "bad flag syntax: --=x"),
    ],
)
def test_parse_flags_that_mean_nothing_are_invalid_and_say_why(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_flags(text)
    assert caught.value.message == f"KIT_UNPACK_FLAGS: {says}"


def test_parse_flags_of_another_variable_name_it() -> None:
    with pytest.raises(InvalidError, match=r"^EXTRA_FLAGS: unknown flag: --foo$"):
        parse_flags("--foo", "EXTRA_FLAGS")


@given(st.text(max_size=40))
def test_parse_any_text_gives_flags_or_invalid(text: str) -> None:
    try:
        call = parse_flags(text)
    except InvalidError:
        return
    assert call.number("concurrency") >= 1


@given(st.lists(WORD, max_size=4))
def test_parse_quoted_filters_come_back_as_they_were(filters: list[str]) -> None:
    text = shlex.join([word for value in filters for word in ("--filter", value)])
    assert parse_flags(text).texts("filter") == tuple(filters)
