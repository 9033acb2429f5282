"""Matching: KServe's rule, with every claim told."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError, NotFoundError
from kitcar.kserve.match import claimed_by, match
from kitcar.kserve.values import Container, StorageContainer, UriFormat

URI = "kit://registry.example.com/org/model:v1"
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


def storage(name: str, *formats: UriFormat, **more: object) -> StorageContainer:
    return StorageContainer(name, Container("storage-initializer"), formats, **more)  # type: ignore[arg-type]


def prefix(text: str) -> UriFormat:
    return UriFormat(prefix=text)


def regex(text: str) -> UriFormat:
    return UriFormat(regex=text)


@given(TEXT.filter(bool), TEXT)
def test_claimed_by_prefix_any_uri_is_startswith(start: str, uri: str) -> None:
    assert (claimed_by(uri, storage("a", prefix(start))) is not None) == uri.startswith(start)
    assert claimed_by(start + uri, storage("a", prefix(start))) == prefix(start)


@given(TEXT.filter(bool), TEXT, TEXT)
def test_claimed_by_regex_literal_anywhere_in_the_uri_matches(needle: str, before: str, after: str) -> None:
    assert claimed_by(before + needle + after, storage("a", regex(re2.escape(needle)))) is not None


@given(st.lists(st.sampled_from(["kit://", "s3://", "kit://registry", "hf://"]), max_size=6))
def test_match_any_containers_tells_each_once_in_order(prefixes: list[str]) -> None:
    containers = [storage(f"c{index}", prefix(text)) for index, text in enumerate(prefixes)]
    found = match(URI, containers)
    assert [claim.container for claim in found.claims] == [c for c in containers if URI.startswith(c.formats[0].prefix)]
    assert len(found.claims) + len(found.refusals) == len(containers)


@pytest.mark.parametrize(
    ("pattern", "uri", "claimed"),
    [
        ("kit://", "http://mirror/kit://x", True),
        ("^kit://", "http://mirror/kit://x", False),
        ("model", URI, True),
        (r"v\d$", URI, True),
        ("(?i)KIT://", URI, True),
        (r"\Akit://[^/]+/org/", URI, True),
        ("https?://(.+)/(.+)", "https://host/file", True),
        ("https?://(.+)/(.+)", "https://host", False),
        ("a.c", "a\nc", False),
        ("(?s)a.c", "a\nc", True),
    ],
)
def test_claimed_by_regex_is_go_matchstring(pattern: str, uri: str, claimed: bool) -> None:
    assert (claimed_by(uri, storage("a", regex(pattern))) is not None) is claimed


@pytest.mark.parametrize("pattern", ["kit://[", "(?=x)", r"(a)\1", "*", "a{2000}"])
def test_claimed_by_regex_that_re2_refuses_is_invalid(pattern: str) -> None:
    with pytest.raises(InvalidError, match="ClusterStorageContainer broken has a malformed regex") as caught:
        match(URI, [storage("broken", regex(pattern))])
    assert caught.value.hint


def test_claimed_by_malformed_regex_behind_a_prefix_that_matches_is_never_asked() -> None:
    assert claimed_by(URI, storage("a", prefix("kit://"), regex("kit://["))) == prefix("kit://")


def test_claimed_by_prefix_and_regex_in_one_entry_looks_at_the_prefix_alone() -> None:
    assert claimed_by(URI, storage("a", UriFormat("s3://", "kit://"))) is None


def test_claimed_by_entry_without_prefix_and_regex_claims_nothing() -> None:
    assert claimed_by(URI, storage("a", UriFormat())) is None


def test_claimed_by_hostile_regex_on_a_long_uri_ends() -> None:
    assert claimed_by("a" * 50_000, storage("a", regex("(a*)*(a*)*b"))) is None


def test_match_lone_surrogate_in_the_uri_is_invalid() -> None:
    with pytest.raises(InvalidError):
        match("kit://\ud800", [storage("a", regex("kit"))])


def test_match_disabled_or_other_workload_is_refused_with_the_reason() -> None:
    containers = [
        storage("off", prefix("kit://"), disabled=True),
        storage("cache", prefix("kit://"), workload_type="localModelDownloadJob"),
        storage("other", prefix("s3://"), regex("^gs")),
    ]
    found = match(URI, containers)
    assert [refusal.reason for refusal in found.refusals] == [
        "disabled",
        "workloadType is localModelDownloadJob",
        "claims only prefix s3://, regex ^gs",
    ]
    with pytest.raises(NotFoundError, match="no ClusterStorageContainer claims kit://") as caught:
        _ = found.claim
    assert "off: disabled" in str(caught.value.hint)


def test_match_two_claims_is_a_finding_that_names_both() -> None:
    found = match(URI, [storage("one", prefix("kit://")), storage("two", regex("model"))])
    assert found.claim.container.name == "one"
    (finding,) = found.findings
    assert "one (prefix kit://)" in finding
    assert "two (regex model)" in finding


def test_match_one_claim_has_no_finding() -> None:
    assert match(URI, [storage("one", prefix("kit://"))]).findings == ()


def test_match_nothing_given_says_how_to_give_one() -> None:
    with pytest.raises(NotFoundError) as caught:
        _ = match(URI, []).claim
    assert caught.value.hint == "give one with --storage-container"


def test_match_by_name_asks_that_one_alone() -> None:
    found = match(URI, [storage("one", prefix("kit://")), storage("two", prefix("kit://"))], name="two")
    assert [claim.container.name for claim in found.claims] == ["two"]


def test_match_by_name_that_does_not_serve_the_uri_is_invalid() -> None:
    containers = [storage("s3only", prefix("s3://")), storage("off", prefix("kit://"), disabled=True)]
    with pytest.raises(InvalidError, match='ClusterStorageContainer "s3only" does not support storageUri "kit://'):
        match(URI, containers, name="s3only")
    with pytest.raises(InvalidError) as caught:
        match(URI, containers, name="off")
    assert caught.value.hint == "disabled"


def test_match_by_name_that_is_unknown_is_not_found() -> None:
    with pytest.raises(NotFoundError, match='"nowhere" not found'):
        match(URI, [storage("one", prefix("kit://"))], name="nowhere")
