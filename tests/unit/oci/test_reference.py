import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError, KitcarError
from kitcar.oci.digest import Digest
from kitcar.oci.reference import Reference, check_tag

DIGEST = str(Digest.of(b""))
COMPONENT = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
REGISTRY = st.sampled_from(["localhost:5000", "ghcr.io", "registry.example:443", "127.0.0.1:1", "[::1]:5000"])


@given(
    st.none() | REGISTRY,
    st.lists(COMPONENT, min_size=1, max_size=3).map("/".join).filter(lambda name: "." not in name.split("/")[0]),
    st.none() | TAG,
    st.none() | st.binary().map(Digest.of),
)
def test_reference_parse_and_str_are_inverses(registry, repository, tag, digest):
    reference = Reference(registry or "localhost", repository, tag, digest)
    assert Reference.parse(str(reference)) == reference


@given(st.text())
def test_reference_any_text_gives_a_value_or_our_error(text):
    try:
        reference = Reference.parse(text)
    except KitcarError:
        return
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag"),
    [
        ("iris", "localhost", "iris", None),
        ("team/iris:v1", "localhost", "team/iris", "v1"),
        ("localhost/team/iris:v1", "localhost", "localhost/team/iris", "v1"),  # as kit stores it
        ("localhost:5000/team/iris:v1", "localhost:5000", "team/iris", "v1"),
        ("ghcr.io/team/iris", "ghcr.io", "team/iris", None),
    ],
)
def test_reference_registry_is_told_by_dot_or_colon(text, registry, repository, tag):
    assert Reference.parse(text) == Reference(registry, repository, tag)


def test_reference_plain_digest_stands_for_the_unnamed_repository():
    reference = Reference.parse(DIGEST)
    assert (reference.name, reference.display_name, reference.target) == ("localhost/_", "", DIGEST)
    assert str(reference) == DIGEST


def test_reference_tag_and_digest_digest_wins():
    reference = Reference.parse(f"r.io/a:v1@{DIGEST}")
    assert (reference.tag, reference.target) == ("v1", DIGEST)
    assert str(reference) == f"r.io/a:v1@{DIGEST}"


def test_reference_tag_list_is_read_where_it_is_allowed():
    reference, more = Reference.parse_tags("r.io/a:v1,v2,latest")
    assert (str(reference), more) == ("r.io/a:v1", ("v2", "latest"))
    with pytest.raises(InvalidError, match="multiple tags"):
        Reference.parse("r.io/a:v1,v2")


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "a:", "a@", "a@sha256:12", "UP/x:1", "a:!bad", "a:1,!bad", "a:v1,", "kit://a/b:1", "oci://a", "a//b",
        "-a", "a-", "a/../b", "host:99999/a", "ho_st:80/a", "a b", "a:" + "x" * 129, "r.io/" + "a" * 256,
        f"r.io/a@{DIGEST},v2",
    ],
)  # fmt: skip
def test_reference_malformed_is_refused(text):
    with pytest.raises(InvalidError):
        Reference.parse_tags(text)


def test_reference_upper_case_repository_is_named_with_a_hint():
    with pytest.raises(InvalidError, match=r"repository \(UP\) name must be lowercase") as caught:
        Reference.parse("UP")
    assert caught.value.hint


def test_reference_with_tag_and_digest_replace_each_other():
    reference = Reference.parse("r.io/a:v1")
    pinned = reference.with_digest(Digest.parse(DIGEST))
    assert str(pinned) == f"r.io/a@{DIGEST}"
    assert str(pinned.with_tag("v2")) == "r.io/a:v2"
    assert str(Reference.parse("r.io/a").or_latest()) == "r.io/a:latest"
    assert reference.or_latest() is reference
    assert Reference.parse("iris").is_local
    assert not reference.is_local


def test_reference_unnamed_repository_with_a_tag_is_still_read_back():
    reference = Reference.parse(DIGEST).with_tag("v1")
    assert Reference.parse(str(reference)) == reference
    assert Reference("ghcr.io", "a").display_name == "ghcr.io/a"


def test_check_tag_gives_the_tag_back():
    assert check_tag("v1.0_x-y") == "v1.0_x-y"
