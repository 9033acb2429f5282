from __future__ import annotations

from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.encoding import encode
from kitcar.oci.manifest import Index, Manifest
from kitcar.registry import referrers

CONFIG = Descriptor.of("application/x.config", b"{}")
SUBJECT = Manifest.build(CONFIG, (CONFIG,)).descriptor
ONE = Descriptor(media.MANIFEST, Digest.of(b"1"), 1, artifact_type="a/one")
TWO = Descriptor(media.MANIFEST, Digest.of(b"2"), 1, artifact_type="a/two")


def test_tag_for_is_the_specifications() -> None:
    assert referrers.tag_for(Digest.of(b"")) == f"sha256-{Digest.of(b'').encoded}"
    assert referrers.tag_for(Digest.of(b"", "sha512")) == f"sha512-{Digest.of(b'', 'sha512').encoded[:64]}"


def test_filtered_keeps_one_type_and_each_once() -> None:
    assert referrers.filtered([ONE, TWO, ONE], "") == (ONE, TWO)
    assert referrers.filtered([ONE, TWO], "a/two") == (TWO,)
    assert referrers.filtered([ONE], "a/none") == ()


def test_parse_list_takes_nothing_but_an_index() -> None:
    raw = Index.build((ONE,)).raw
    assert referrers.parse_list(raw, media.INDEX) == (ONE,)
    assert referrers.parse_list(raw, f"{media.INDEX}; charset=utf-8") == (ONE,)
    assert referrers.parse_list(raw, "text/html") is None
    assert referrers.parse_list(b"<html>", "application/json") is None
    assert referrers.parse_list(b"{}", "") is None


def test_describe_shows_type_and_annotations() -> None:
    signature = Manifest.build(CONFIG, (CONFIG,), artifact_type="a/sig", annotations={"k": "v"}, subject=SUBJECT)
    subject, described = referrers.describe(signature.descriptor, signature.raw)
    assert subject == SUBJECT
    assert (described, described.artifact_type, described.annotations) == (signature.descriptor, "a/sig", {"k": "v"})
    old = Manifest.build(CONFIG, (CONFIG,), subject=SUBJECT)
    assert referrers.describe(old.descriptor, old.raw)[1].artifact_type == "application/x.config"


def test_describe_of_an_index_reads_its_subject() -> None:
    raw = encode(
        {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "artifactType": "a/index",
            "manifests": [],
            "subject": SUBJECT.encode(),
            "annotations": {"k": "v"},
        }
    )
    descriptor = Descriptor.of(media.INDEX, raw)
    subject, described = referrers.describe(descriptor, raw)
    assert (subject, described.artifact_type, described.annotations) == (SUBJECT, "a/index", {"k": "v"})


def test_describe_of_another_kind_names_no_subject() -> None:
    descriptor = Descriptor.of(media.ARTIFACT, b"{}")
    assert referrers.describe(descriptor, b"{}") == (None, descriptor)


def test_may_have_subject_looks_for_one() -> None:
    assert referrers.may_have_subject(b'{"subject": {"digest": "x"}}')
    for raw in (b"{}", b'{"subject": null}', b"[]", b"no json"):
        assert not referrers.may_have_subject(raw)


def test_list_with_and_without_a_referrer_changes_once() -> None:
    index = referrers.with_referrer((ONE,), TWO)
    assert index is not None
    assert index.manifests == (ONE, TWO)
    assert referrers.with_referrer((ONE, TWO), TWO) is None
    shorter = referrers.without_referrer((ONE, TWO), TWO)
    assert shorter is not None
    assert shorter.manifests == (ONE,)
    assert referrers.without_referrer((ONE,), TWO) is None
