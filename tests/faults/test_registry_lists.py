"""Tags, referrers, mounts and deletes, as registries answer that do not keep to the book."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from harness.stub import Asked, Reply, StubServer
from kitcar.errors import KitcarError, NotFoundError, RegistryError, UnsupportedError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import Index, Manifest
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent
from kitcar.registry import referrers
from kitcar.registry.repository import Repository
from kitcar.registry.retry import NEVER
from kitcar.registry.settings import Connection

CONFIG = Descriptor.of("application/x.config", b"{}")
SUBJECT = Manifest.build(CONFIG, (CONFIG,)).descriptor
SIGNATURE = Manifest.build(CONFIG, (CONFIG,), artifact_type="a/signature", subject=SUBJECT)
REPORT = Manifest.build(CONFIG, (), artifact_type="a/report", subject=SUBJECT)
PLAIN = Connection(plain_http=True, retry=NEVER)


class Scripted:
    """Answers by a function that each test sets."""

    def __init__(self) -> None:
        self.answer: Callable[[Asked], Reply] = lambda _: Reply(404)

    def __call__(self, request: Asked) -> Reply:
        return self.answer(request)


@pytest.fixture
def script() -> Scripted:
    return Scripted()


@pytest.fixture
def server(script: Scripted) -> Iterator[StubServer]:
    with StubServer(script) as server:
        yield server


@pytest.fixture
def repository(server: StubServer) -> Repository:
    return Repository(Reference.parse(f"{server.address}/team/model"), connection=PLAIN)


def pages(*lists: list[str] | None, absolute: str = "") -> Callable[[Asked], Reply]:
    def answer(request: Asked) -> Reply:
        query = urlsplit(request.path).query
        number = int(query.partition("page=")[2] or 0)
        link = f'<{absolute}/v2/team/model/tags/list?page={number + 1}>; rel="next"'
        headers = {"Link": link} if number + 1 < len(lists) else {}
        return Reply(200, headers, json.dumps({"name": "team/model", "tags": lists[number]}).encode())

    return answer


def test_tags_of_several_pages_come_in_order_once(repository: Repository, script: Scripted, server: StubServer) -> None:
    script.answer = pages(["b", "c"], ["a", "c"], None, ["d"])
    assert list(repository.tags()) == ["a", "b", "c", "d"]
    assert len(server.asked) == 4
    script.answer = pages(["b"], ["a"], absolute=f"http://{server.address}")
    assert list(repository.tags()) == ["a", "b"]


def test_tags_of_an_empty_repository_are_none(repository: Repository, script: Scripted) -> None:
    script.answer = pages(None)
    assert list(repository.tags()) == []


def test_tags_of_a_repository_that_is_not_there_name_it(repository: Repository) -> None:
    with pytest.raises(NotFoundError, match=r"repository .*/team/model not found"):
        repository.tags()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"tags": "x"}', b'{"tags": [5]}'])
def test_tags_in_another_form_are_refused(repository: Repository, script: Scripted, body: bytes) -> None:
    script.answer = lambda _: Reply(200, {}, body)
    with pytest.raises(RegistryError, match="specification"):
        repository.tags()


def index_of(*manifests: Manifest) -> bytes:
    described = [referrers.describe(item.descriptor, item.raw)[1] for item in manifests]
    return Index.build(tuple(described)).raw


def test_referrers_are_filtered_here_where_the_registry_does_not(repository: Repository, script: Scripted) -> None:
    script.answer = lambda _: Reply(200, {"Content-Type": media.INDEX}, index_of(SIGNATURE, REPORT))
    assert repository.referrers(SUBJECT) == (SIGNATURE.descriptor, REPORT.descriptor)
    (found,) = repository.referrers(SUBJECT, "a/report")
    assert (found, found.artifact_type) == (REPORT.descriptor, "a/report")


def test_referrers_ask_for_one_type_and_follow_pages(
    repository: Repository, script: Scripted, server: StubServer
) -> None:
    def answer(request: Asked) -> Reply:
        headers = {"Content-Type": media.INDEX}
        if "last=" in request.path:
            return Reply(200, headers, index_of(REPORT))
        return Reply(
            200, {**headers, "Link": f'<{urlsplit(request.path).path}?last=1>; rel="next"'}, index_of(SIGNATURE)
        )

    script.answer = answer
    assert repository.referrers(SUBJECT, "a/report") == (REPORT.descriptor,)
    assert server.asked[0].path == f"/v2/team/model/referrers/{SUBJECT.digest}?artifactType=a%2Freport"


@pytest.mark.parametrize(
    "reply", [Reply(404), Reply(405), Reply(400), Reply(200, {"Content-Type": "text/html"}, b"<html>")]
)
def test_referrers_without_the_api_are_read_from_the_tag(
    repository: Repository, script: Scripted, reply: Reply
) -> None:
    def answer(request: Asked) -> Reply:
        if "/referrers/" in request.path:
            return reply
        assert request.path == f"/v2/team/model/manifests/sha256-{SUBJECT.digest.encoded}"
        return Reply(200, {"Content-Type": media.INDEX}, index_of(SIGNATURE, REPORT))

    script.answer = answer
    assert repository.referrers(SUBJECT, "a/signature") == (SIGNATURE.descriptor,)
    script.answer = lambda request: reply if "/referrers/" in request.path else Reply(404)
    assert repository.referrers(SUBJECT) == ()


def test_referrers_of_a_registry_in_trouble_are_an_error_not_nothing(repository: Repository, script: Scripted) -> None:
    script.answer = lambda _: Reply(503)
    with pytest.raises(RegistryError):
        repository.referrers(SUBJECT)


class Manifests:
    """Keeps manifests by name; has the referrers API if `api`."""

    def __init__(self, *, api: bool) -> None:
        self.kept: dict[str, bytes] = {}
        self.api = api

    def __call__(self, request: Asked) -> Reply:
        name = request.path.rpartition("/")[2]
        if "/referrers/" in request.path:
            return Reply(200, {"Content-Type": media.INDEX}, index_of()) if self.api else Reply(404)
        if request.method == "PUT":
            self.kept[name] = request.body
            return Reply(201, {"OCI-Subject": "x"} if self.api else {})
        if request.method == "DELETE":
            return Reply(202 if self.kept.pop(name, None) else 404)
        raw = self.kept.get(name)
        return Reply(404) if raw is None else Reply(200, {"Content-Type": media.MANIFEST}, raw)


def test_push_and_delete_of_a_referrer_keep_the_tag_where_there_is_no_api(
    repository: Repository, script: Scripted
) -> None:
    script.answer = manifests = Manifests(api=False)
    for manifest in (SIGNATURE, REPORT, SIGNATURE):
        repository.push(manifest.descriptor, BytesContent(manifest.raw))
    assert repository.referrers(SUBJECT) == (SIGNATURE.descriptor, REPORT.descriptor)
    assert repository.referrers(SUBJECT)[0].artifact_type == "a/signature"
    repository.delete(SIGNATURE.descriptor)
    assert repository.referrers(SUBJECT) == (REPORT.descriptor,)
    assert set(manifests.kept) == {f"sha256-{SUBJECT.digest.encoded}", str(REPORT.descriptor.digest)}


def test_push_of_a_referrer_leaves_it_to_the_api(repository: Repository, script: Scripted) -> None:
    script.answer = manifests = Manifests(api=True)
    repository.push(SIGNATURE.descriptor, BytesContent(SIGNATURE.raw))
    assert set(manifests.kept) == {str(SIGNATURE.descriptor.digest)}


def test_tag_of_a_manifest_pushed_before_does_not_fetch_it(
    repository: Repository, script: Scripted, server: StubServer
) -> None:
    script.answer = manifests = Manifests(api=True)
    repository.push(SIGNATURE.descriptor, BytesContent(SIGNATURE.raw))
    repository.tag(SIGNATURE.descriptor, "v1")
    assert manifests.kept["v1"] == SIGNATURE.raw
    assert [item.method for item in server.asked] == ["PUT", "PUT"]
    assert repository.sibling("team/model").resolve("v1") == SIGNATURE.descriptor


def test_tag_of_a_manifest_that_is_not_there_is_an_error(repository: Repository) -> None:
    with pytest.raises(NotFoundError):
        repository.tag(SIGNATURE.descriptor, "v1")
    with pytest.raises(KitcarError, match="invalid tag"):
        repository.tag(SIGNATURE.descriptor, "!")


def test_mount_that_is_refused_gives_the_upload_up(
    repository: Repository, script: Scripted, server: StubServer
) -> None:
    script.answer = lambda request: Reply(202, {"Location": "/v2/team/model/blobs/uploads/7"})
    assert repository.mount(CONFIG, "other/model") is False
    assert [(item.method, item.path) for item in server.asked] == [
        ("POST", f"/v2/team/model/blobs/uploads/?mount={CONFIG.digest}&from=other/model"),
        ("DELETE", "/v2/team/model/blobs/uploads/7"),
    ]
    script.answer = lambda request: Reply(201)
    assert repository.mount(CONFIG, "other/model") is True


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(405), UnsupportedError),
        (Reply(400), UnsupportedError),
        (Reply(403, {"Content-Type": "application/json"}, b'{"errors":[{"code":"UNSUPPORTED"}]}'), UnsupportedError),
        (Reply(404), NotFoundError),
        (Reply(403), RegistryError),
    ],
)
def test_delete_that_does_not_work_says_why(
    repository: Repository, script: Scripted, reply: Reply, kind: type[KitcarError]
) -> None:
    script.answer = lambda _: reply
    with pytest.raises(kind):
        repository.delete(CONFIG)
    with pytest.raises(kind):
        repository.untag("v1")


def test_delete_and_untag_ask_for_what_they_name(repository: Repository, script: Scripted, server: StubServer) -> None:
    script.answer = lambda _: Reply(202)
    repository.delete(CONFIG)
    repository.untag("v1")
    assert [(item.method, item.path) for item in server.asked] == [
        ("DELETE", f"/v2/team/model/blobs/{CONFIG.digest}"),
        ("DELETE", "/v2/team/model/manifests/v1"),
    ]


def test_repository_without_a_registry_is_refused() -> None:
    with pytest.raises(KitcarError, match="names no registry"):
        Repository(Reference.parse("iris:v1"))
