"""The registry on a real socket: what a function call cannot show."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitcar.errors import KitcarError
from kitcar.oci.digest import Digest
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent
from kitcar.registry.repository import Repository
from kitcar.registry.retry import RetryPolicy
from kitcar.registry.settings import Connection
from kitcar.server import RunningRegistry, ServerSettings, serve
from kitcar.stores.layout import LayoutStore
from kitcar.testing.proxy import Cut, FaultProxy, Rule
from kitcar.testing.samples import noise, sample

DATA = noise(6 * 1024 * 1024 + 11)
DIGEST = str(Digest.of(DATA))
BLOB = f"/v2/team/iris/blobs/{DIGEST}"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with RunningRegistry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def client(registry: RunningRegistry) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(registry.address, timeout=30)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, method: str, url: str, body: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    client.request(method, url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    response.data = response.read()  # type: ignore[attr-defined]
    return response


def begin(client: http.client.HTTPConnection) -> str:
    return ask(client, "POST", "/v2/team/iris/blobs/uploads/").headers["Location"]


def raw(registry: RunningRegistry) -> socket.socket:
    host, port = registry.address.split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def test_blob_goes_there_and_back_over_one_connection(client: http.client.HTTPConnection) -> None:
    where = begin(client)
    assert ask(client, "PATCH", where, DATA).status == 202
    assert ask(client, "PUT", f"{where}?digest={DIGEST}").status == 201
    local = client.sock.getsockname()
    whole = ask(client, "GET", BLOB)
    part = ask(client, "GET", BLOB, Range="bytes=5000000-5000009")
    assert (whole.data, part.data, part.status) == (DATA, DATA[5000000:5000010], 206)  # type: ignore[attr-defined]
    assert ask(client, "HEAD", BLOB).headers["Content-Length"] == str(len(DATA))
    assert client.sock.getsockname() == local


@pytest.mark.parametrize("sizes", [[1], [10, 0], [300_000, 1, 262_144, 5], [7_000_000]])
def test_chunked_body_of_any_form_arrives(client: http.client.HTTPConnection, sizes: list[int]) -> None:
    where, data = begin(client), noise(sum(sizes))
    client.putrequest("PATCH", where)
    client.putheader("Transfer-Encoding", "chunked")
    client.endheaders()
    done = 0
    for size in filter(None, sizes):
        client.send(b"%x;extension=1\r\n" % size + data[done : done + size] + b"\r\n")
        done += size
    client.send(b"0\r\nTrailer: ignored\r\n\r\n")
    response = client.getresponse()
    assert (response.status, response.read(), response.headers["Range"]) == (202, b"", f"0-{len(data) - 1}")
    assert ask(client, "PUT", f"{where}?digest={Digest.of(data)}").status == 201


@pytest.mark.parametrize(
    "rest",
    [
        *(b"zz\r\n", b"5\r\nabc", b"5\r\nabcdefgh\r\n", b"", b"1" * 2000),
        *(
            b"-2\r\nab\r\n0\r\n\r\n",
            b"0x2\r\nab\r\n0\r\n\r\n",
            b"5\r\nabcdefgh\r\n0\r\n\r\n",
            b"0\r\n" + b"a: b\r\n" * 200,
        ),
    ],
    ids=["size", "short", "long", "end", "line", "negative", "prefix", "longer", "trailers"],
)
def test_malformed_chunks_are_refused_and_keep_what_was_right(registry: RunningRegistry, rest: bytes) -> None:
    connection = http.client.HTTPConnection(registry.address)
    where = begin(connection)
    with raw(registry) as wire:
        wire.sendall(
            f"PATCH {where} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode() + rest
        )
        wire.shutdown(socket.SHUT_WR)
        assert b" 400 " in wire.makefile("rb").readline()
    status = ask(connection, "GET", where)
    assert status.status == 204
    assert status.headers["Range"].startswith("0-2") or rest.startswith(b"5")
    connection.close()


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length: 5\r\nContent-Length: 44",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        f"Content-Length: {'9' * 30}",
    ],
)
def test_request_whose_end_is_not_certain_is_refused_and_nothing_behind_it_answered(
    registry: RunningRegistry, fields: str
) -> None:
    with raw(registry) as wire:
        behind = b"0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        wire.sendall(f"POST /v2/team/iris/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode() + behind)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := wire.recv(65536):
                answer += data
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_malformed_chunk_ends_the_connection(registry: RunningRegistry) -> None:
    with raw(registry) as wire:
        wire.sendall(
            b"PUT /v2/team/iris/manifests/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\n{}hidden\r\n0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := wire.recv(65536):
                answer += data
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b" 200 " not in answer


def test_client_that_expects_it_is_told_to_continue(registry: RunningRegistry) -> None:
    with raw(registry) as wire:
        wire.sendall(
            f"POST /v2/a/blobs/uploads/?digest={Digest.of(b'abc')} HTTP/1.1\r\nHost: x\r\n"
            "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        file = wire.makefile("rb")
        assert b" 100 " in file.readline()
        wire.sendall(b"abc")
        assert file.readline() == b"\r\n"
        assert b" 201 " in file.readline()


def test_refused_body_is_read_and_the_connection_goes_on(client: http.client.HTTPConnection) -> None:
    assert ask(client, "PATCH", "/v2/team/iris/blobs/uploads/unknown", DATA).status == 404
    assert ask(client, "PUT", "/v2/team/iris/manifests/v1", DATA).status == 413
    local = client.sock and client.sock.getsockname()
    assert ask(client, "GET", "/v2/").status == 200
    assert local is None or client.sock.getsockname() == local


def test_refused_body_without_end_closes_the_connection(registry: RunningRegistry) -> None:
    with raw(registry) as wire:
        wire.sendall(b"PATCH /v2/a/blobs/uploads/unknown HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        answer = wire.makefile("rb").read()
    assert b" 404 " in answer
    assert b"Connection: close" in answer


def test_cut_upload_is_taken_up_on_another_connection(registry: RunningRegistry) -> None:
    first = http.client.HTTPConnection(registry.address)
    where = begin(first)
    first.putrequest("PATCH", where)
    first.putheader("Content-Length", str(len(DATA)))
    first.endheaders()
    first.send(DATA[:5_000_000])
    first.close()
    second = http.client.HTTPConnection(registry.address)
    there = int(ask(second, "GET", where).headers["Range"].split("-")[1]) + 1
    assert 0 < there <= 5_000_000
    rest = ask(second, "PATCH", where, DATA[there:], Content_Range=f"{there}-{len(DATA) - 1}")
    assert rest.status == 202
    assert ask(second, "PUT", f"{where}?digest={DIGEST}").status == 201
    assert LayoutStore(registry.root).size(Digest.of(DATA)) == len(DATA)
    second.close()


def test_own_client_takes_a_cut_upload_up_by_itself(registry: RunningRegistry) -> None:
    host, port = registry.address.split(":")
    connection = Connection(plain_http=True, retry=RetryPolicy(attempts=4, base=0.001))
    with FaultProxy(host, int(port)) as proxy:
        proxy.rules.append(Rule(match="^PATCH ", action=Cut(after=4_000_000, of="request"), times=1))
        repository = Repository(Reference(proxy.address, "team/iris"), connection=connection)
        blob = sample(DATA).layers[0]
        repository.push(blob, BytesContent(DATA))
        assert [request[0] for request in proxy.requests].count("POST") == 1
    assert LayoutStore(registry.root).intact(blob)


def test_many_clients_push_at_once(registry: RunningRegistry) -> None:
    kits = [sample(b"shared", noise(200_000, number)) for number in range(12)]

    def push(number: int) -> None:
        reference = Reference(registry.address, "team/iris")
        kits[number].push(Repository(reference, connection=Connection(plain_http=True)), f"v{number}")

    with ThreadPoolExecutor(len(kits)) as pool:
        list(pool.map(push, range(len(kits))))
    repository = LayoutStore(registry.root).repository("localhost/team/iris")
    assert {tag: repository.resolve(tag) for tag in repository.tags()} == {
        f"v{number}": kit.descriptor for number, kit in enumerate(kits)
    }


def test_address_that_is_taken_is_said(registry: RunningRegistry, tmp_path: Path) -> None:
    host, port = registry.address.split(":")
    with (
        pytest.raises(KitcarError, match="cannot listen") as caught,
        RunningRegistry(tmp_path, host=host, port=int(port)),
    ):
        pass
    assert "port 0" in (caught.value.hint or "")


def test_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(KitcarError, match=r"cannot keep content in .*file") as caught,
        RunningRegistry(tmp_path / "file"),
    ):
        pass
    assert "--root" in (caught.value.hint or "")


def test_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with RunningRegistry(tmp_path, host="::1") as running:
        assert re.fullmatch(r"\[::1\]:\d+", running.address)
        connection = http.client.HTTPConnection(running.address)
        assert ask(connection, "GET", "/v2/").status == 200
        connection.close()


def test_stopped_registry_leaves_no_thread_and_no_upload(tmp_path: Path) -> None:
    before = threading.active_count()
    with RunningRegistry(tmp_path) as running:
        connection = http.client.HTTPConnection(running.address)
        begin(connection)
        connection.close()
    assert list((tmp_path / "ingest").iterdir()) == []
    assert threading.active_count() == before
    with pytest.raises(KitcarError, match="not started"):
        _ = RunningRegistry(tmp_path).stopped


def test_serve_ends_at_a_signal_and_leaves_the_handlers_as_they_were(tmp_path: Path) -> None:
    before, lines = signal.getsignal(signal.SIGTERM), list[str]()

    def announce(line: str) -> None:
        lines.append(line)
        os.kill(os.getpid(), signal.SIGTERM)

    serve(ServerSettings(tmp_path).at("127.0.0.1:0"), announce)
    assert len(lines) == 1
    assert signal.getsignal(signal.SIGTERM) is before


SERVE = """
import sys
from pathlib import Path
from kitcar.server import ServerSettings, serve
serve(ServerSettings(Path(sys.argv[1])).at("127.0.0.1:0"))
"""


@contextlib.contextmanager
def process(root: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-u", "-c", SERVE, root], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout
            line = running.stdout.readline()
            match = re.fullmatch(rf"Registry at (127\.0\.0\.1:\d+), content in {root}\n", line)
            assert match, line
            yield running, match[1]
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_after_the_request_that_runs(tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path) as (running, address):
        client = http.client.HTTPConnection(address)
        assert ask(client, "POST", f"/v2/team/iris/blobs/uploads/?digest={DIGEST}", DATA).status == 201
        client.request("GET", BLOB)
        response = client.getresponse()
        running.send_signal(number)
        assert response.read() == DATA
        client.close()
        out, error = running.communicate()
        assert (running.returncode, out, error) == (0, "", "")


def test_killed_process_shows_nothing_half_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    with process(tmp_path) as (running, address):
        client = http.client.HTTPConnection(address)
        sample(b"layer").push(Repository(Reference(address, "a"), connection=Connection(plain_http=True)), "v1")
        where = begin(client)
        client.putrequest("PATCH", where)
        client.putheader("Content-Length", str(len(DATA)))
        client.endheaders()
        client.send(DATA[:-100])
        running.kill()
        client.close()
    with process(tmp_path) as (_, address):
        client = http.client.HTTPConnection(address)
        assert ask(client, "GET", "/v2/a/tags/list").data == b'{"name":"a","tags":["v1"]}'  # type: ignore[attr-defined]
        assert ask(client, "HEAD", BLOB).status == 404
        assert ask(client, "POST", f"/v2/team/iris/blobs/uploads/?digest={DIGEST}", DATA).status == 201
        client.close()
        assert list((tmp_path / "ingest").iterdir()) == []


def test_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
    size, hasher = 192 * 1024 * 1024, Digest.of(b"").hasher()
    piece = noise(1024 * 1024)
    for _ in range(size // len(piece)):
        hasher.update(piece)
    digest = Digest.from_hasher(hasher)
    with process(tmp_path) as (running, address):
        client = http.client.HTTPConnection(address, blocksize=1 << 20)
        client.putrequest("POST", f"/v2/big/blobs/uploads/?digest={digest}")
        client.putheader("Content-Length", str(size))
        client.endheaders()
        for _ in range(size // len(piece)):
            client.send(piece)
        response = client.getresponse()
        assert (response.status, response.read()) == (201, b"")
        client.request("GET", f"/v2/big/blobs/{digest}")
        response, buffer, count = client.getresponse(), memoryview(bytearray(1 << 20)), 0
        while got := response.readinto(buffer):
            count += got
        client.close()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{running.pid}/status").read_text())
        assert count == size
        assert peak
        assert int(peak[1]) < 90 * 1024
    assert os.stat(LayoutStore(tmp_path).path(digest)).st_size == size
