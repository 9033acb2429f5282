from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.registry.challenge import Challenge, choose, covers, merge_scopes, parse_challenges


def test_parse_challenges_reads_a_registrys_bearer() -> None:
    value = 'Bearer realm="https://auth.io/token",service="registry.io",scope="repository:a/b:pull,push"'
    (challenge,) = parse_challenges(value)
    assert challenge.scheme == "bearer"
    assert (challenge.realm, challenge.service) == ("https://auth.io/token", "registry.io")
    assert challenge.scopes == ("repository:a/b:pull,push",)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('BASIC Realm = "x"', [("basic", {"realm": "x"})]),
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ('Basic realm="a \\"b\\" \\\\ c"', [("basic", {"realm": 'a "b" \\ c'})]),
        ('Basic realm="x, Bearer realm=y"', [("basic", {"realm": "x, Bearer realm=y"})]),
        ('Basic realm="x", charset="UTF-8"', [("basic", {"realm": "x", "charset": "UTF-8"})]),
        (
            'Basic realm="x", Bearer realm="y",service=z',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("NTLM TlRMTVNTUAAB==, Basic realm=x", [("ntlm", {}), ("basic", {"realm": "x"})]),
        (', ,Basic realm="x",,', [("basic", {"realm": "x"})]),
        ('Bearer realm="unterminated', [("bearer", {})]),
    ],
)
def test_parse_challenges_follows_the_grammar(value: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    found = [(item.scheme, dict(item.parameters)) for item in parse_challenges(value)]
    assert found[: len(expected)] == expected
    if "unterminated" not in value:
        assert len(found) == len(expected)


@given(st.text(alphabet='ab=", \\Basic\t~', max_size=60) | st.text())
def test_parse_challenges_of_any_text_ends(value: str) -> None:
    for challenge in parse_challenges(value):
        assert challenge.scheme == challenge.scheme.lower()


_TOKEN = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=10)


@given(
    st.lists(
        st.tuples(
            _TOKEN,
            st.dictionaries(
                _TOKEN, st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"])), min_size=1
            ),
        )
    )
)
def test_parse_challenges_inverts_printing(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = ", ".join(
        f"{scheme} " + ",".join(f"{key}={quoted(value)}" for key, value in parameters.items())
        for scheme, parameters in challenges
    )
    assert [(item.scheme, dict(item.parameters)) for item in parse_challenges(text)] == challenges


def test_choose_prefers_a_bearer_with_a_realm() -> None:
    basic, useless, bearer = Challenge("basic"), Challenge("bearer"), Challenge("bearer", {"realm": "https://x"})
    assert choose([basic, useless, bearer]) is bearer
    assert choose([useless, basic]) is basic
    assert choose([Challenge("negotiate"), useless]) is None


def test_merge_scopes_joins_actions_of_one_resource() -> None:
    merged = merge_scopes(
        ["repository:b:push", "repository:a:pull", "repository:b:pull,push", "registry:catalog:*", "opaque"]
    )
    assert merged == ("opaque", "registry:catalog:*", "repository:a:pull", "repository:b:pull,push")
    assert merge_scopes(["repository:a:pull", "repository:a:*"]) == ("repository:a:*",)


def test_merge_scopes_keeps_the_colon_of_a_port() -> None:
    assert merge_scopes(["repository:host:5000/a:pull"]) == ("repository:host:5000/a:pull",)


@pytest.mark.parametrize(
    ("held", "wanted", "enough"),
    [
        (["repository:a:pull,push"], ["repository:a:pull"], True),
        (["repository:a:pull"], ["repository:a:pull,push"], False),
        (["repository:a:*"], ["repository:a:delete"], True),
        (["repository:a:pull"], ["repository:b:pull"], False),
        (["repository:a:pull", "repository:b:pull"], ["repository:b:pull"], True),
        (["repository:a:pull"], [], True),
        ([], ["repository:a:pull"], False),
    ],
)
def test_covers_compares_actions_resource_by_resource(held: list[str], wanted: list[str], enough: bool) -> None:
    assert covers(held, wanted) is enough


_SCOPES = st.lists(
    st.builds("repository:{}:{}".format, st.sampled_from("abc"), st.sampled_from(["pull", "push", "pull,push", "*"]))
)


@given(_SCOPES, _SCOPES)
def test_merged_scopes_cover_what_they_were_made_of(some: list[str], more: list[str]) -> None:
    merged = merge_scopes([*some, *more])
    assert covers(merged, some)
    assert covers(merged, more)
    assert merge_scopes(merged) == merged
