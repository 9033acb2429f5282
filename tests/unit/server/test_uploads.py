"""Pushing blobs, in every form the distribution specification knows, and what happens when it goes wrong."""

from __future__ import annotations

import io
import itertools
import resource
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kitcar.oci.digest import Digest
from kitcar.testing.samples import noise

NAME = "team/iris"
DATA = noise(9 * 1024 * 1024 + 3)
DIGEST = str(Digest.of(DATA))


class Cut(io.RawIOBase):
    """A connection that breaks after `data`."""

    def __init__(self, data: bytes, error: Exception | None = None) -> None:
        self._inner, self._error = io.BytesIO(data), error

    def readinto(self, buffer: Any) -> int:
        count = self._inner.readinto(buffer)
        if not count and self._error:
            raise self._error
        return count


def begin(client: Any) -> str:
    answer = client("POST", f"/v2/{NAME}/blobs/uploads/", b"")
    assert answer.status == 202
    assert answer.headers["range"] == "0-0"
    return str(answer.headers["location"])


def parts(client: Any) -> list[str]:
    return [path.name for path in (client.store.root / "ingest").iterdir()]


@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["empty", "small", "large"])
def test_post_with_digest_stores_the_blob(client: Any, data: bytes) -> None:
    digest = str(Digest.of(data))
    answer = client("POST", f"/v2/{NAME}/blobs/uploads/?digest={digest}", data)
    assert answer.status == 201
    assert answer.headers["location"] == f"/v2/{NAME}/blobs/{digest}"
    assert answer.headers["docker-content-digest"] == digest
    assert client("GET", f"/v2/{NAME}/blobs/{digest}").body == data
    assert parts(client) == []


def test_put_of_the_whole_blob_stores_it(client: Any) -> None:
    answer = client("PUT", f"{begin(client)}?digest={DIGEST}", DATA)
    assert answer.status == 201
    assert client.store.size(Digest.of(DATA)) == len(DATA)


def test_patch_of_unknown_length_then_put_stores_it(client: Any) -> None:
    where = begin(client)
    answer = client("PATCH", where, source=io.BytesIO(DATA))
    assert (answer.status, answer.headers["range"]) == (202, f"0-{len(DATA) - 1}")
    assert client("PUT", f"{answer.headers['location']}?digest={DIGEST}", b"").status == 201
    assert client("GET", f"/v2/{NAME}/blobs/{DIGEST}").body == DATA


@pytest.mark.parametrize("form", ["{}-{}", "bytes {}-{}/*", "bytes={}-{}"])
def test_patches_with_ranges_and_a_last_piece_in_put_store_it(client: Any, form: str) -> None:
    where, cuts = begin(client), [0, 3_000_000, 3_000_001, 9_000_000]
    for start, end in itertools.pairwise(cuts):
        answer = client("PATCH", where, DATA[start:end], content_range=form.format(start, end - 1))
        assert (answer.status, answer.headers["range"]) == (202, f"0-{end - 1}")
        where = answer.headers["location"]
    rest = form.format(cuts[-1], len(DATA) - 1)
    assert client("PUT", f"{where}?digest={DIGEST}", DATA[cuts[-1] :], content_range=rest).status == 201
    assert client("GET", f"/v2/{NAME}/blobs/{DIGEST}").body == DATA


def test_sha512_is_accepted_for_the_whole(client: Any) -> None:
    digest = Digest.of(DATA, "sha512")
    where = client("PATCH", begin(client), DATA).headers["location"]
    assert client("PUT", f"{where}?digest={digest}", b"").status == 201
    assert client("GET", f"/v2/{NAME}/blobs/{digest}").body == DATA


def test_patch_out_of_order_is_refused_and_says_where_it_goes_on(client: Any) -> None:
    where = begin(client)
    client("PATCH", where, DATA[:100])
    for method in ("PATCH", "PUT"):
        answer = client(method, f"{where}?digest={DIGEST}", DATA[50:60], content_range="50-59")
        assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")
        assert answer.headers["range"] == "0-99"
    assert client("PATCH", where, DATA[100:], content_range=f"100-{len(DATA) - 1}").status == 202
    assert client("PUT", f"{where}?digest={DIGEST}", b"").status == 201


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rubbish", "BLOB_UPLOAD_INVALID"),
        (f"0-{'9' * 5000}", "BLOB_UPLOAD_INVALID"),
        ("0-7", "SIZE_INVALID"),
    ],
)
def test_patch_with_a_wrong_range_is_refused(client: Any, text: str, code: str) -> None:
    answer = client("PATCH", begin(client), b"abc", content_range=text)
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset"), TimeoutError("timed out")])
@pytest.mark.parametrize("sent", [5_000_000, 1000, 0])
def test_cut_patch_keeps_what_came_and_is_taken_up(client: Any, error: Exception | None, sent: int) -> None:
    where = begin(client)
    answer = client("PATCH", where, source=Cut(DATA[:sent], error), length=len(DATA))
    assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")
    status = client("GET", where)
    assert (status.status, status.headers["range"]) == (204, f"0-{max(0, sent - 1)}")
    assert client("PATCH", where, DATA[sent:], content_range=f"{sent}-{len(DATA) - 1}").status == 202
    assert client("PUT", f"{where}?digest={DIGEST}", b"").status == 201
    assert client("GET", f"/v2/{NAME}/blobs/{DIGEST}").body == DATA


def test_small_cut_patch_keeps_what_came(client: Any) -> None:
    where = begin(client)
    assert client("PATCH", where, source=Cut(b"abc"), length=6).status == 400
    assert client("GET", where).headers["range"] == "0-2"


def test_wrong_digest_is_refused_and_ends_the_upload(client: Any) -> None:
    where = begin(client)
    answer = client("PUT", f"{where}?digest={DIGEST}", b"other bytes")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert client("GET", where).code == "BLOB_UPLOAD_UNKNOWN"
    assert client("HEAD", f"/v2/{NAME}/blobs/{DIGEST}").status == 404
    assert parts(client) == []


@pytest.mark.parametrize("digest", ["", "rubbish", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:abc"])
def test_malformed_digest_is_refused(client: Any, digest: str) -> None:
    answer = client("PUT", f"{begin(client)}?digest={digest}", b"x")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_upload_belongs_to_its_repository(client: Any) -> None:
    where = begin(client).replace(NAME, "other/name")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = client(method, f"{where}?digest={DIGEST}", b"x")
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_cancelled_upload_is_gone(client: Any) -> None:
    where = begin(client)
    client("PATCH", where, b"abc")
    assert client("DELETE", where).status == 204
    assert client("DELETE", where).code == "BLOB_UPLOAD_UNKNOWN"
    assert parts(client) == []


def test_idle_upload_is_given_up(make: Callable[..., Any]) -> None:
    now = [0.0]
    client = make(clock=lambda: now[0])
    old = begin(client)
    now[0] = 23 * 3600.0
    recent = begin(client)
    now[0] = 25 * 3600.0
    begin(client)
    assert client("GET", old).code == "BLOB_UPLOAD_UNKNOWN"
    assert client("GET", recent).status == 204
    assert len(parts(client)) == 2


def test_uploads_beyond_the_most_end_those_that_nobody_continued_for_longest(make: Callable[..., Any]) -> None:
    now = [0.0]
    client = make(clock=lambda: now[0])
    opened = []
    for _ in range(300):
        now[0] += 1
        opened.append(begin(client))
        assert client("PATCH", opened[0], b"x").status == 202
    assert len(parts(client)) == 256
    assert client("GET", opened[0]).headers["range"] == "0-299"
    assert [client("GET", where).status for where in opened[1:]] == [404] * 44 + [204] * 255


def test_close_ends_all_uploads(client: Any) -> None:
    begin(client)
    client.app.close()
    assert parts(client) == []


def test_mount_of_a_blob_that_is_here_needs_no_upload(client: Any) -> None:
    digest = client.blob(b"shared", "one/repo")
    answer = client("POST", f"/v2/{NAME}/blobs/uploads/?mount={digest}&from=one/repo", b"")
    assert (answer.status, answer.headers["location"]) == (201, f"/v2/{NAME}/blobs/{digest}")
    assert client("POST", f"/v2/{NAME}/blobs/uploads/?mount={digest}", b"").status == 201


def test_mount_of_an_unknown_blob_becomes_an_upload(client: Any) -> None:
    answer = client("POST", f"/v2/{NAME}/blobs/uploads/?mount={DIGEST}&from=one/repo", b"")
    assert answer.status == 202
    assert client("PUT", f"{answer.headers['location']}?digest={DIGEST}", DATA).status == 201
    assert client("POST", f"/v2/{NAME}/blobs/uploads/?mount=rubbish&from=x", b"").code == "DIGEST_INVALID"


def test_second_request_on_an_upload_waits_for_the_first(client: Any) -> None:
    where, arrived, go = begin(client), threading.Event(), threading.Event()

    class Slow(io.RawIOBase):
        def readinto(self, buffer: Any) -> int:
            arrived.set()
            go.wait()
            return Cut(b"").readinto(buffer)

    first = threading.Thread(target=client, args=("PATCH", where), kwargs={"source": Slow(), "length": 3})
    first.start()
    arrived.wait()
    answers: list[Any] = []
    second = threading.Thread(target=lambda: answers.append(client("GET", where)))
    second.start()
    go.set()
    first.join()
    second.join()
    assert answers[0].headers["range"] == "0-0"


def test_bytes_that_are_here_already_are_stored_once(client: Any) -> None:
    client.blob(DATA)
    before = client.store.path(Digest.of(DATA)).stat().st_ino
    client.blob(DATA)
    assert client.store.path(Digest.of(DATA)).stat().st_ino == before
    assert parts(client) == []


@pytest.mark.parametrize("way", ["POST", "PATCH", "PUT"])
def test_full_disk_is_an_answer_and_ends_the_upload(client: Any, way: str) -> None:
    where = begin(client)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        url = f"/v2/{NAME}/blobs/uploads/" if way == "POST" else where
        answer = client(way, f"{url}?digest={DIGEST}", DATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (answer.status, answer.code) == (500, "UNKNOWN")
    assert "File too large" in answer.json["errors"][0]["message"]
    if way != "POST":
        assert client("GET", where).code == "BLOB_UPLOAD_UNKNOWN"
        assert parts(client) == []


@pytest.mark.parametrize("way", ["POST", "PUT"])
def test_cut_upload_of_the_whole_is_refused(client: Any, way: str) -> None:
    url = f"/v2/{NAME}/blobs/uploads/" if way == "POST" else begin(client)
    answer = client(way, f"{url}?digest={DIGEST}", source=Cut(DATA[:5000]), length=len(DATA))
    assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")
    assert client("HEAD", f"/v2/{NAME}/blobs/{DIGEST}").status == 404
    assert len(parts(client)) == (way == "PUT")
