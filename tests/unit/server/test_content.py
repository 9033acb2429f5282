"""Pulling, deleting and listing: blobs, manifests, tags, repositories, referrers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.oci import media
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import MAX_SIZE, Index
from kitcar.server.blobs import requested_range
from kitcar.testing.samples import ARTIFACT_TYPE, sample

NAME = "team/iris"
KIT = sample(b"a layer", b"another")


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_base_tells_that_this_is_a_registry(client: Any, path: str) -> None:
    answer = client("GET", path)
    assert (answer.status, answer.json) == (200, {})
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


def test_blob_is_given_with_its_digest_and_length(client: Any) -> None:
    digest = client.blob(b"0123456789")
    head, get = client("HEAD", f"/v2/{NAME}/blobs/{digest}"), client("GET", f"/v2/{NAME}/blobs/{digest}")
    assert (head.status, head.body, get.status, get.body) == (200, b"", 200, b"0123456789")
    for answer in (head, get):
        assert answer.headers["content-length"] == "10"
        assert answer.headers["docker-content-digest"] == digest
        assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("text", "status", "body", "content_range"),
    [
        ("bytes=0-", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=3-5", 206, b"345", "bytes 3-5/10"),
        ("bytes=9-99", 206, b"9", "bytes 9-9/10"),
        ("bytes=-4", 206, b"6789", "bytes 6-9/10"),
        ("bytes=-40", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-3", 200, b"0123456789", None),
        ("bytes=1-2,4-5", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        (f"bytes={'9' * 18}-", 416, None, "bytes */10"),
        (f"bytes={'9' * 5000}-", 200, b"0123456789", None),
        ("pages=1-2", 200, b"0123456789", None),
    ],
)
def test_range_of_a_blob(client: Any, text: str, status: int, body: bytes | None, content_range: str | None) -> None:
    answer = client("GET", f"/v2/{NAME}/blobs/{client.blob(b'0123456789')}", range=text)
    assert answer.status == status
    assert answer.headers.get("content-range") == content_range
    if body is not None:
        assert answer.body == body


@given(st.text("bytes=-0123456789, ", max_size=14), st.integers(0, 50))
def test_any_range_lies_inside_or_is_refused(text: str, size: int) -> None:
    span = requested_range(text, size)
    if span is not None and span[0] < size:
        assert 0 <= span[0] <= span[1] < size


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_unknown_content_is_not_found(client: Any, method: str) -> None:
    digest = Digest.of(b"never stored")
    blob, manifest = (client(method, f"/v2/{NAME}/{kind}/{digest}") for kind in ("blobs", "manifests"))
    assert (blob.status, manifest.status, client(method, f"/v2/{NAME}/manifests/v1").status) == (404, 404, 404)
    if method != "HEAD":
        assert (blob.code, manifest.code) == ("BLOB_UNKNOWN", "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_malformed_digest_is_refused(client: Any, kind: str) -> None:
    assert client("GET", f"/v2/{NAME}/{kind}/sha256:xyz").code == "DIGEST_INVALID"


def test_manifest_is_given_as_it_was_put(client: Any) -> None:
    put = client.kit(KIT, "v1")
    digest = str(KIT.descriptor.digest)
    assert (put.status, put.headers["docker-content-digest"]) == (201, digest)
    assert put.headers["location"] == f"/v2/{NAME}/manifests/{digest}"
    assert "oci-subject" not in put.headers
    for reference in ("v1", digest):
        answer = client("GET", f"/v2/{NAME}/manifests/{reference}")
        assert (answer.status, answer.body) == (200, KIT.manifest.raw)
        assert answer.headers["content-type"] == media.MANIFEST
        assert answer.headers["docker-content-digest"] == digest
    head = client("HEAD", f"/v2/{NAME}/manifests/v1")
    assert (head.status, head.headers["content-length"]) == (200, str(len(KIT.manifest.raw)))


def test_manifest_put_by_digest_has_no_tag(client: Any) -> None:
    assert client.kit(KIT, str(KIT.descriptor.digest)).status == 201
    assert client("GET", f"/v2/{NAME}/tags/list").json == {"name": NAME, "tags": []}


def test_manifest_of_another_repository_is_not_here(client: Any) -> None:
    client.kit(KIT, "v1", "other/name")
    assert client("GET", f"/v2/{NAME}/manifests/{KIT.descriptor.digest}").code == "MANIFEST_UNKNOWN"


def test_damaged_manifest_is_not_served(client: Any) -> None:
    client.kit(KIT, "v1")
    path = client.store.path(KIT.descriptor.digest)
    path.chmod(0o600)
    path.write_bytes(KIT.manifest.raw.replace(b"a", b"b"))
    assert client("GET", f"/v2/{NAME}/manifests/v1").code == "MANIFEST_UNKNOWN"


def put(client: Any, raw: bytes, reference: str = "v1", kind: str = media.MANIFEST) -> Any:
    return client("PUT", f"/v2/{NAME}/manifests/{reference}", raw, content_type=kind)


def test_manifest_without_its_blobs_is_refused(client: Any) -> None:
    for data in list(KIT.blobs.values())[1:]:
        client.blob(data)
    answer = put(client, KIT.manifest.raw)
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert str(KIT.manifest.config.digest) in answer.json["errors"][0]["message"]


def test_index_needs_its_manifests_in_the_same_repository(client: Any) -> None:
    index = Index.build((KIT.descriptor,))
    client.kit(KIT, "v1", "other/name")
    assert put(client, index.raw, kind=media.INDEX).code == "MANIFEST_BLOB_UNKNOWN"
    client.kit(KIT, "v1")
    assert put(client, index.raw, kind=media.INDEX).status == 201
    assert client("GET", f"/v2/{NAME}/manifests/v1").headers["content-type"] == media.INDEX


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"{", media.MANIFEST),
        (b"[]", media.MANIFEST),
        (b'{"schemaVersion":1}', media.MANIFEST),
        (b"[" * 200_000, media.MANIFEST),
        (KIT.manifest.raw, "application/json"),
        (KIT.manifest.raw, media.DOCKER_MANIFEST),
        (Index.build(()).raw, ""),
        (b'{"mediaType":5}', ""),
    ],
)
def test_malformed_manifest_is_refused(client: Any, raw: bytes, kind: str) -> None:
    if kind == "":
        raw = raw.replace(b"image.index", b"unheard.of")
    answer = put(client, raw, kind=kind)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize("kind", ["", "application/vnd.oci.image.manifest.v1+json; charset=utf-8"])
def test_content_type_of_a_manifest_may_be_left_to_it(client: Any, kind: str) -> None:
    client.kit(KIT, "v1")
    assert put(client, KIT.manifest.raw, "v2", kind).status == 201


def test_manifest_under_another_digest_is_refused(client: Any) -> None:
    client.kit(KIT, "v1")
    answer = put(client, KIT.manifest.raw, str(Digest.of(b"other")))
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_manifest_under_its_sha512_is_kept_there(client: Any) -> None:
    client.kit(KIT, "v1")
    digest = str(Digest.of(KIT.manifest.raw, "sha512"))
    assert put(client, KIT.manifest.raw, digest).headers["docker-content-digest"] == digest
    assert client("GET", f"/v2/{NAME}/manifests/{digest}").body == KIT.manifest.raw


@pytest.mark.parametrize("tag", ["!bad", ".dot", "a" * 129])
def test_malformed_tag_is_refused(client: Any, tag: str) -> None:
    client.kit(KIT, "v1")
    assert (put(client, KIT.manifest.raw, tag).status, client("GET", f"/v2/{NAME}/manifests/{tag}").status) == (
        400,
        404,
    )


def test_manifest_over_the_limit_is_refused(client: Any) -> None:
    for size in (MAX_SIZE + 1, 3 * MAX_SIZE):
        answer = put(client, b" " * size)
        assert (answer.status, answer.code) == (413, "MANIFEST_INVALID")


def test_delete_of_a_tag_leaves_the_manifest(client: Any) -> None:
    client.kit(KIT, "v1")
    assert client("DELETE", f"/v2/{NAME}/manifests/v1").status == 202
    assert client("GET", f"/v2/{NAME}/manifests/v1").status == 404
    assert client("GET", f"/v2/{NAME}/manifests/{KIT.descriptor.digest}").status == 200


def test_delete_of_a_manifest_takes_tags_and_blobs_along(client: Any) -> None:
    client.kit(KIT, "v1")
    assert client("DELETE", f"/v2/{NAME}/manifests/{KIT.descriptor.digest}").status == 202
    assert client("GET", f"/v2/{NAME}/tags/list").code == "NAME_UNKNOWN"
    assert client("HEAD", f"/v2/{NAME}/blobs/{KIT.layers[0].digest}").status == 404
    assert client("DELETE", f"/v2/{NAME}/manifests/{KIT.descriptor.digest}").status == 404


def test_delete_of_a_blob(client: Any) -> None:
    client.kit(KIT, "v1")
    loose = client.blob(b"loose")
    assert client("DELETE", f"/v2/{NAME}/blobs/{loose}").status == 202
    assert client("DELETE", f"/v2/{NAME}/blobs/{loose}").status == 404
    used = client("DELETE", f"/v2/{NAME}/blobs/{KIT.layers[0].digest}")
    assert (used.status, used.code) == (405, "UNSUPPORTED")


def test_tags_come_in_pages(client: Any) -> None:
    tags = [f"v{number:02}" for number in range(7)]
    for tag in tags:
        client.kit(KIT, tag)
    assert client("GET", f"/v2/{NAME}/tags/list").json["tags"] == tags
    found, url, pages = [], f"/v2/{NAME}/tags/list?n=3", 0
    while url:
        answer = client("GET", url)
        found += answer.json["tags"]
        pages += 1
        url = answer.headers["link"].split(">")[0].lstrip("<") if "link" in answer.headers else ""
    assert (found, pages) == (tags, 3)
    assert client("GET", f"/v2/{NAME}/tags/list?last=v04").json["tags"] == ["v05", "v06"]
    assert client("GET", f"/v2/{NAME}/tags/list?n=7").headers.get("link") is None
    assert client("GET", f"/v2/{NAME}/tags/list?n=0").json["tags"] == []


@pytest.mark.parametrize("count", ["many", "-1", "9" * 19, "9" * 5000, "%D9%A3", ""])
def test_page_of_a_size_that_is_no_number_is_refused(client: Any, count: str) -> None:
    client.kit(KIT, "v1")
    assert client("GET", f"/v2/{NAME}/tags/list?n={count}").code == "PAGINATION_NUMBER_INVALID"


def test_tags_of_an_unknown_repository_are_not_found(client: Any) -> None:
    answer = client("GET", f"/v2/{NAME}/tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def test_catalog_lists_what_is_served(client: Any) -> None:
    KIT.push(client.store.repository("registry.example/pulled/kit"), "v1")
    for name in ("z/z", "a/a", "m"):
        client.kit(KIT, "v1", name)
    assert client("GET", "/v2/_catalog").json == {"repositories": ["a/a", "m", "z/z"]}
    page = client("GET", "/v2/_catalog?n=2")
    assert page.json == {"repositories": ["a/a", "m"]}
    assert page.headers["link"] == '</v2/_catalog?n=2&last=m>; rel="next"'


def test_referrers_are_listed_and_filtered(client: Any) -> None:
    client.kit(KIT, "v1")
    subject = KIT.descriptor
    signature = sample(b"sig", subject=subject, artifact_type="application/vnd.sig", annotations={"by": "me"})
    statement = sample(b"att", subject=subject)
    for item in (signature, statement):
        assert client.kit(item, str(item.descriptor.digest)).headers["oci-subject"] == str(subject.digest)
    answer = client("GET", f"/v2/{NAME}/referrers/{subject.digest}")
    assert answer.headers["content-type"] == media.INDEX
    assert Index.parse(answer.body).manifests == (signature.descriptor, statement.descriptor)
    assert "oci-filters-applied" not in answer.headers
    filtered = client("GET", f"/v2/{NAME}/referrers/{subject.digest}?artifactType=application/vnd.sig")
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    (entry,) = json.loads(filtered.body)["manifests"]
    assert (entry["artifactType"], entry["annotations"]) == ("application/vnd.sig", {"by": "me"})
    assert statement.manifest.artifact_type == ARTIFACT_TYPE


def test_referrer_may_come_before_its_subject(client: Any) -> None:
    early = sample(b"sig", subject=KIT.descriptor)
    assert client.kit(early, str(early.descriptor.digest)).status == 201
    assert len(Index.parse(client("GET", f"/v2/{NAME}/referrers/{KIT.descriptor.digest}").body).manifests) == 1


def test_referrer_whose_text_is_no_unicode_does_not_hide_the_others(client: Any) -> None:
    client.kit(KIT, "v1")
    odd = sample(b"odd", subject=KIT.descriptor, annotations={"by": "me"})
    raw = odd.manifest.raw.replace(b'"by":"me"', b'"by":"m\\ud800e"')
    client.kit(odd, "odd")
    assert put(client, raw, "odder").status == 201
    found = client("GET", f"/v2/{NAME}/referrers/{KIT.descriptor.digest}").json["manifests"]
    assert [item["annotations"]["by"] for item in found] == ["me", "m\ufffde"]


def test_referrers_of_what_is_unknown_are_an_empty_index(client: Any) -> None:
    answer = client("GET", f"/v2/never/heard/referrers/{Digest.of(b'x')}")
    assert (answer.status, answer.json["manifests"]) == (200, [])
    assert client("GET", f"/v2/{NAME}/referrers/v1").code == "DIGEST_INVALID"


@pytest.mark.parametrize("name", ["UPPER/case", "a//b", "-a", "a/", "a b", "x" * 300, "a/" * 90 + "a", "..", "a:1/b@c"])
def test_malformed_name_is_refused(client: Any, name: str) -> None:
    answer = client("GET", f"/v2/{name}/tags/list")
    assert (answer.status, answer.code) == (400, "NAME_INVALID")


@pytest.mark.parametrize(
    "name", ["blobs/uploads", "tags/list", "manifests/x", "host.name/a", "localhost/a", "_", "a__b"]
)
def test_name_that_looks_like_an_endpoint_is_one_name(client: Any, name: str) -> None:
    client.kit(KIT, "v1", name)
    assert client("GET", f"/v2/{name}/tags/list").json == {"name": name, "tags": ["v1"]}
    assert client("GET", "/v2/_catalog").json == {"repositories": [name]}


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/a/b", "/v2/a/manifests/", "/healthz", ""])
def test_other_paths_are_not_found(client: Any, path: str) -> None:
    assert client("GET", path).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v2/"),
        ("POST", "/v2/a/manifests/v1"),
        ("PATCH", f"/v2/a/blobs/{Digest.of(b'')}"),
        ("GET", "/v2/a/blobs/uploads/"),
        ("DELETE", "/v2/a/tags/list"),
    ],
)
def test_other_methods_are_refused(client: Any, method: str, path: str) -> None:
    answer = client(method, path, b"")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")


def test_length_that_is_no_number_is_refused(client: Any) -> None:
    answer = client("POST", f"/v2/{NAME}/blobs/uploads/", b"", length="ten")
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")


def test_read_only_registry_gives_and_takes_nothing(client: Any, make: Callable[..., Any]) -> None:
    client.kit(KIT, "v1")
    reading = make(read_only=True)
    assert reading("GET", f"/v2/{NAME}/manifests/v1").status == 200
    assert reading("HEAD", f"/v2/{NAME}/blobs/{KIT.layers[0].digest}").status == 200
    for method, path in (
        ("PUT", f"/v2/{NAME}/manifests/v2"),
        ("DELETE", f"/v2/{NAME}/manifests/v1"),
        ("DELETE", f"/v2/{NAME}/blobs/{KIT.layers[0].digest}"),
        ("POST", f"/v2/{NAME}/blobs/uploads/"),
    ):
        answer = reading(method, path, b"")
        assert (answer.status, answer.code) == (405, "UNSUPPORTED")


def test_damaged_layout_is_an_answer_that_names_the_file(client: Any) -> None:
    client.kit(KIT, "v1")
    (path,) = client.store.root.glob("*-tags.json")
    path.write_bytes(b"{")
    answer = client("GET", f"/v2/{NAME}/manifests/v1")
    assert answer.status >= 400
    assert path.name in answer.json["errors"][0]["message"]
