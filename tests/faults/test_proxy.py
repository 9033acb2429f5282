"""The proxy itself: every fault arrives as it was ordered, and everything else passes unchanged."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Iterator

import pytest

from kitcar.testing.proxy import Action, Alter, Answer, Cut, Drop, FaultProxy, Flip, Rule, Stall, Truncate

BODY = bytes(range(256)) * 1024


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Seen", self.headers.get("X-Sent", "nothing"))
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(BODY), 10_000):
                piece = BODY[start : start + 10_000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(BODY)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        if self.path == "/refused":
            self.send_response(413)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.close_connection = True
            return
        received = b""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                received += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            received = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(received)  # type: ignore[attr-defined]
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.received = []  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def proxy(server: http.server.ThreadingHTTPServer) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", server.server_address[1]) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(proxy.address, timeout=20)
    yield connection
    connection.close()


def fetch(client: http.client.HTTPConnection, path: str = "/blob", **headers: str) -> http.client.HTTPResponse:
    client.request("GET", path, headers=headers)
    return client.getresponse()


@pytest.mark.parametrize("path", ["/blob", "/chunked"])
def test_proxy_without_rules_passes_bodies_over_one_connection(
    client: http.client.HTTPConnection, proxy: FaultProxy, path: str
) -> None:
    for _ in range(3):
        assert fetch(client, path).read() == BODY
    client.request("HEAD", "/blob")
    assert client.getresponse().headers["Content-Length"] == str(len(BODY))
    assert [item.method for item in proxy.requests] == ["GET", "GET", "GET", "HEAD"]


@pytest.mark.parametrize("chunked", [False, True])
def test_proxy_without_rules_passes_uploads(
    client: http.client.HTTPConnection, server: http.server.ThreadingHTTPServer, chunked: bool
) -> None:
    client.request("PUT", "/up", body=iter([BODY, b"x"]) if chunked else BODY + b"x", encode_chunked=chunked)
    assert client.getresponse().status == 201
    assert server.received == [BODY + b"x"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("after", [0, 1, 65_536, 100_000])
def test_cut_ends_the_body_after_that_many_bytes_once(
    client: http.client.HTTPConnection, proxy: FaultProxy, after: int
) -> None:
    proxy.rules.append(Rule("GET /blob", Cut(after)))
    with pytest.raises(http.client.IncompleteRead) as caught:
        fetch(client).read()
    assert caught.value.partial == BODY[:after]
    client.close()
    assert fetch(client).read() == BODY


def test_cut_with_reset_resets(client: http.client.HTTPConnection, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("/blob", Cut(0, reset=True)))
    with pytest.raises(ConnectionResetError):
        fetch(client).read()


def test_cut_of_a_request_hides_the_rest_from_the_server(
    client: http.client.HTTPConnection, proxy: FaultProxy, server: http.server.ThreadingHTTPServer
) -> None:
    proxy.rules.append(Rule("PUT", Cut(1000, of="request")))

    def upload() -> None:
        client.request("PUT", "/up", body=BODY * 20)
        client.getresponse()

    with pytest.raises(ConnectionError):
        upload()
    assert all(len(item) <= 1000 for item in server.received)  # type: ignore[attr-defined]


@pytest.mark.parametrize("at", [0, 70_000, len(BODY) - 1])
def test_flip_changes_one_byte(client: http.client.HTTPConnection, proxy: FaultProxy, at: int) -> None:
    proxy.rules.append(Rule("GET", Flip(at)))
    got = fetch(client).read()
    assert [n for n in range(len(BODY)) if got[n] != BODY[n]] == [at]


@pytest.mark.parametrize("path", ["/blob", "/chunked"])
def test_truncate_looks_complete(client: http.client.HTTPConnection, proxy: FaultProxy, path: str) -> None:
    proxy.rules.append(Rule("GET", Truncate(70_000)))
    assert fetch(client, path).read() == BODY[:70_000]


def test_stall_goes_on_after_its_time(client: http.client.HTTPConnection, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET", Stall(100, seconds=0.05)))
    assert fetch(client).read() == BODY


def test_stall_ends_when_the_proxy_stops(proxy: FaultProxy, client: http.client.HTTPConnection) -> None:
    proxy.rules.append(Rule("GET", Stall(100, seconds=600)))
    response = fetch(client)
    assert response.read(100) == BODY[:100]
    proxy.stop()
    with pytest.raises(http.client.IncompleteRead):
        response.read()


def test_answer_replaces_the_servers_and_rules_count(client: http.client.HTTPConnection, proxy: FaultProxy) -> None:
    proxy.rules.append(Rule("GET /b", Answer(503, {"Retry-After": "7"}, b"busy"), times=2, skip=1))
    statuses = []
    for _ in range(4):
        response = fetch(client)
        statuses.append((response.status, response.headers.get("Retry-After"), len(response.read())))
    assert statuses == [(200, None, len(BODY)), (503, "7", 4), (503, "7", 4), (200, None, len(BODY))]
    assert proxy.rules[0].hits == 2


def test_drop_lets_the_server_work(
    client: http.client.HTTPConnection, proxy: FaultProxy, server: http.server.ThreadingHTTPServer
) -> None:
    proxy.rules.append(Rule("PUT", Drop()))
    client.request("PUT", "/up", body=b"done")
    with pytest.raises(http.client.RemoteDisconnected):
        client.getresponse()
    assert server.received == [b"done"]  # type: ignore[attr-defined]


def test_alter_sets_and_removes_headers(client: http.client.HTTPConnection, proxy: FaultProxy) -> None:
    action: Action = Alter(request={"X-Sent": "changed"}, response={"X-New": "1", "Server": None})
    proxy.rules.append(Rule("GET", action))
    response = fetch(client, **{"X-Sent": "original"})
    assert response.read() == BODY
    assert (response.headers["X-Seen"], response.headers["X-New"]) == ("changed", "1")
    assert "Server" not in response.headers
    assert proxy.seen("/blob")[0].headers["x-sent"] == "original"


def test_early_answer_reaches_a_client_that_still_sends(client: http.client.HTTPConnection) -> None:
    client.putrequest("PUT", "/refused")
    client.putheader("Content-Length", str(1 << 30))
    client.endheaders()
    client.send(BODY)
    assert client.getresponse().status == 413


def test_proxy_forwards_absolute_targets_and_tunnels(
    proxy: FaultProxy, server: http.server.ThreadingHTTPServer
) -> None:
    where = f"127.0.0.1:{server.server_address[1]}"
    plain = http.client.HTTPConnection(proxy.address, timeout=20)
    assert fetch(plain, f"http://{where}/blob").read() == BODY
    plain.close()
    tunnel = http.client.HTTPConnection(proxy.address, timeout=20)
    tunnel.set_tunnel(where)
    assert fetch(tunnel).read() == BODY
    tunnel.close()
    assert [item.method for item in proxy.requests] == ["GET", "CONNECT"]


def test_stop_leaves_no_thread(server: http.server.ThreadingHTTPServer) -> None:
    with FaultProxy("127.0.0.1", server.server_address[1]) as proxy:
        connection = http.client.HTTPConnection(proxy.address, timeout=20)
        assert fetch(connection).read() == BODY
    connection.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fault-proxy")]
