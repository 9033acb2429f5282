"""`KIT_UNPACK_FLAGS`: a shell's quotes, pflag's grammar, clear faults."""

from __future__ import annotations

import shlex
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError
from kitcar.initializer.flags import UnpackFlags

WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", UnpackFlags()),
        ("   ", UnpackFlags()),
        ("-v --plain-http", UnpackFlags(verbose=1, plain_http=True)),
        ("-vv -v --verbose", UnpackFlags(verbose=4)),
        ("--verbose=3", UnpackFlags(verbose=3)),
        ("-o", UnpackFlags(overwrite=True)),
        ("-ovi", UnpackFlags(overwrite=True, verbose=1, ignore_existing=True)),
        ("--overwrite=false", UnpackFlags()),
        ("-o=false -i=T", UnpackFlags(ignore_existing=True)),
        ("-f model", UnpackFlags(filter=("model",))),
        ("-fmodel -f=docs --filter code", UnpackFlags(filter=("model", "docs", "code"))),
        ("--filter='datasets:my data'", UnpackFlags(filter=("datasets:my data",))),
        ('-f "model,docs" -f docs:./README.md', UnpackFlags(filter=("model,docs", "docs:./README.md"))),
        ("--tls-verify=false", UnpackFlags(tls_verify=False)),
        ("--tls-cert /a,/b --tls-cert=/c", UnpackFlags(tls_cert=("/a", "/b", "/c"))),
        ("--cert /c --key /k", UnpackFlags(cert="/c", key="/k")),
        ("--concurrency 12 --proxy http://p:1", UnpackFlags(concurrency=12, proxy="http://p:1")),
        ("--proxy=", UnpackFlags()),
        ("-d /mnt/other --dir=/mnt/last", UnpackFlags(dir="/mnt/last")),
        ("-vd/x", UnpackFlags(verbose=1, dir="/x")),
        (
            "--model --datasets=1 --docs=0 --code --kitfile",
            UnpackFlags(model=True, datasets=True, code=True, kitfile=True),
        ),
        ("--config /c --log-level debug --progress none", UnpackFlags(config="/c", log_level="debug", progress="none")),
        ("--include-remote", UnpackFlags(include_remote=True)),
    ],
)
def test_parse_flags_of_kit_unpack_are_read_as_kit_reads_them(text: str, expected: UnpackFlags) -> None:
    assert UnpackFlags.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("--foo", "KIT_UNPACK_FLAGS: unknown flag: --foo"),
        ("-x", "KIT_UNPACK_FLAGS: unknown shorthand flag: 'x' in -x"),
        ("-ox", "KIT_UNPACK_FLAGS: unknown shorthand flag: 'x' in -ox"),
        ("--filter", "KIT_UNPACK_FLAGS: flag needs an argument: --filter"),
        ("-vf", "KIT_UNPACK_FLAGS: flag needs an argument: 'f' in -vf"),
        ("--plain-http=maybe", 'KIT_UNPACK_FLAGS: invalid argument "maybe" for "--plain-http" flag'),
        ("--concurrency many", 'KIT_UNPACK_FLAGS: invalid argument "many" for "--concurrency" flag'),
        ("--concurrency 0", "KIT_UNPACK_FLAGS: invalid argument for concurrency (0): must be at least 1"),
        ("--tls-verify false", "KIT_UNPACK_FLAGS: unexpected argument 'false'"),
        ("model", "KIT_UNPACK_FLAGS: unexpected argument 'model'"),
        ("-", "KIT_UNPACK_FLAGS: unexpected argument '-'"),
        ("--as-skill=cursor", "KIT_UNPACK_FLAGS: --as-skill cannot be used here"),
        ("--help", "KIT_UNPACK_FLAGS: --help cannot be used here"),
        ("--filter 'model", 'KIT_UNPACK_FLAGS: no closing quotation in "--filter \'model"'),
        ("--", "KIT_UNPACK_FLAGS: unexpected argument '--'"),
        ("--=x", "KIT_UNPACK_FLAGS: unknown flag: --"),
    ],
)
def test_parse_flags_that_mean_nothing_are_invalid_and_say_why(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        UnpackFlags.parse(text)
    assert caught.value.message == says


def test_parse_flags_of_another_variable_name_it() -> None:
    with pytest.raises(InvalidError, match=r"^EXTRA_FLAGS: unknown flag: --foo$"):
        UnpackFlags.parse("--foo", "EXTRA_FLAGS")


@given(st.text(max_size=40))
def test_parse_any_text_gives_flags_or_invalid(text: str) -> None:
    try:
        flags = UnpackFlags.parse(text)
    except InvalidError:
        return
    assert flags.concurrency >= 1


@given(st.lists(WORD, max_size=4))
def test_parse_quoted_filters_come_back_as_they_were(filters: list[str]) -> None:
    text = shlex.join([word for value in filters for word in ("--filter", value)])
    assert UnpackFlags.parse(text).filter == tuple(filters)


def test_flags_are_those_of_kit_unpack() -> None:
    names = {field.name.replace("_", "-") for field in fields(UnpackFlags)}
    listed = (
        "dir overwrite ignore-existing filter include-remote kitfile model code datasets docs plain-http tls-verify"
    )
    more = "tls-cert cert key concurrency proxy config log-level progress verbose"
    assert names == set(f"{listed} {more}".split())
