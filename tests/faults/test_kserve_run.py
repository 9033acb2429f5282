"""`kitcar.kserve.run` with servers and initializers that work, fail, hang and leave children behind."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.stub import Reply, StubServer
from kitcar.errors import InvalidError, KitcarError, NotFoundError, TransportError
from kitcar.kserve.inference import InferenceClient, check_request
from kitcar.kserve.run import RunOptions, running
from kitcar.kserve.runtime import RUNTIMES, Runtime
from kitcar.kserve.values import (
    Container,
    Entries,
    EnvVar,
    InferenceService,
    KeyRef,
    Objects,
    StorageContainer,
    UriFormat,
)

SERVER = """
import http.server, os, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200 if self.path == "/v2/models/iris/ready" else 404, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        if b"refuse" in body:
            self.answer(400, b'{"error": "wrong shape"}')
        else:
            text = pathlib.Path(sys.argv[1], "model.txt").read_bytes()
            self.answer(200, text + os.environ.get("GREETING", "").encode())

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""
REQUEST = json.dumps({"inputs": []}).encode()
SERVICE = InferenceService("iris", "text", "kit://registry/iris:1", namespace="demo")


def storage(script: str, **container: object) -> StorageContainer:
    command = ("sh", "-ec", script, "initializer")
    return StorageContainer(
        "test",
        Container("storage-initializer", command=command, **container),  # type: ignore[arg-type]
        (UriFormat(prefix="kit://"),),
    )


COPIES = storage('printf "%s" "$1" > "$2/model.txt"')


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    server = tmp_path / "server.py"
    server.write_text(SERVER)
    runtime = Runtime("text", (sys.executable, str(server), "{model_dir}", "{port}"))
    environ = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "KIT_USER": "stray"}
    return RunOptions(environ=environ, runtimes={"text": runtime}, ready_seconds=30)


def with_command(options: RunOptions, *command: str) -> RunOptions:
    return replace(options, runtimes={"text": Runtime("text", command)})


def test_running_service_answers_and_leaves_nothing(options: RunOptions) -> None:
    told: list[str] = []
    options = replace(options, say=told.append)
    with running(SERVICE, COPIES, Objects(), options) as served:
        assert served.client.infer(REQUEST) == b"kit://registry/iris:1"
        with pytest.raises(KitcarError, match="answered 400: wrong shape"):
            served.client.infer(b'{"inputs": ["refuse"]}')
        assert served.model_dir.parts[-2:] == ("mnt", "models")
    assert not served.server.running
    assert not served.model_dir.exists()
    assert not served.client.ready()
    with pytest.raises(TransportError, match="did not answer"):
        served.client.infer(REQUEST)
    assert len(told) == 3


def test_running_block_that_fails_stops_the_server(options: RunOptions) -> None:
    with pytest.raises(ZeroDivisionError), running(SERVICE, COPIES, Objects(), options) as served:
        raise ZeroDivisionError
    assert not served.server.running
    assert not served.model_dir.exists()


def test_running_containers_get_their_environment_and_no_stray_settings(options: RunOptions) -> None:
    secret = Objects(entries=(Entries("Secret", "s", "demo", {"k": "hello"}),))
    container = storage(
        'printf "%s %s %s" "$WORD" "$EXTRA" "${KIT_USER-none}" > "$2/model.txt"',
        env=(EnvVar("WORD", "", KeyRef("Secret", "s", "k")),),
    )
    service = replace(SERVICE, env=(EnvVar("GREETING", " and hi"),))
    options = replace(options, env=(EnvVar("EXTRA", "more"),))
    with running(service, container, secret, options) as served:
        assert served.client.infer(REQUEST) == b"hello more none and hi"


def test_running_image_command_and_args_are_what_runs(options: RunOptions) -> None:
    image = StorageContainer(
        "image",
        Container("storage-initializer", image="example/loader:1", args=("$(WORD)",), env=(EnvVar("WORD", "own"),)),
        (UriFormat(prefix="kit://"),),
    )
    entry = ("sh", "-c", 'printf "%s" "$*" > mnt/models/model.txt', "loader")
    options = replace(options, images={"example/loader:1": entry})
    with running(SERVICE, image, Objects(), options) as served:
        assert served.client.infer(REQUEST) == b"own"


@pytest.mark.parametrize(
    ("script", "says", "hint", "transient"),
    [
        ("echo no such tag >&2; exit 1", "exit code 1: no such tag", None, False),
        ("exit 1", "exit code 1: it gave no reason", None, False),
        (
            'printf "registry is away\\nHint: try later" > "$KITCAR_TERMINATION_LOG"; exit 75',
            "exit code 75: registry is away",
            "try later",
            True,
        ),
    ],
)
def test_running_initializer_that_fails_tells_its_reason(
    options: RunOptions, script: str, says: str, hint: str | None, transient: bool
) -> None:
    with pytest.raises(KitcarError, match=says) as caught, running(SERVICE, storage(script), Objects(), options):
        pass
    assert (caught.value.hint, caught.value.transient) == (hint, transient)


def test_running_initializer_that_hangs_is_stopped(options: RunOptions) -> None:
    options = replace(options, initializer_seconds=0.1)
    with (
        pytest.raises(TransportError, match=r"did not end in 0\.1 s"),
        running(SERVICE, storage("sleep 600"), Objects(), options),
    ):
        pass


def test_running_server_that_ends_tells_its_last_words(options: RunOptions) -> None:
    options = with_command(options, "sh", "-c", "echo cannot load the model; exit 3")
    with (
        pytest.raises(KitcarError, match="ended with exit code 3: cannot load the model"),
        running(SERVICE, COPIES, Objects(), options),
    ):
        pass


def test_running_server_that_never_gets_ready_is_stopped(options: RunOptions) -> None:
    options = replace(with_command(options, "sh", "-c", "echo loading; sleep 600"), ready_seconds=0.3)
    with (
        pytest.raises(TransportError, match=r"not ready in 0.3 s: loading"),
        running(SERVICE, COPIES, Objects(), options),
    ):
        pass


def test_running_server_that_is_missing_says_what_to_install(options: RunOptions) -> None:
    options = replace(options, runtimes={"text": Runtime("text", ("no-such-server",), packages="some-server")})
    with pytest.raises(NotFoundError, match="no-such-server") as caught, running(SERVICE, COPIES, Objects(), options):
        pass
    assert "install some-server" in str(caught.value.hint)


def test_running_secret_that_is_missing_starts_nothing(options: RunOptions, tmp_path: Path) -> None:
    container = storage(f"touch {tmp_path}/ran", env=(EnvVar("W", "", KeyRef("Secret", "s", "k")),))
    with pytest.raises(NotFoundError, match="Secret demo/s not found"), running(SERVICE, container, Objects(), options):
        pass
    assert not (tmp_path / "ran").exists()


def test_running_port_in_use_is_told(options: RunOptions) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = replace(options, port=taken.getsockname()[1])
        with (
            pytest.raises(KitcarError, match=f"port {options.port} cannot be had"),
            running(SERVICE, COPIES, Objects(), options),
        ):
            pass


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"inputs": 1}', b"\xff"])
def test_check_request_other_than_v2_is_invalid(text: bytes) -> None:
    with pytest.raises(InvalidError, match=r"request\.json"):
        check_request(text, "request.json")


def test_inference_client_name_is_quoted() -> None:
    assert InferenceClient(1, "a/b c").url == "http://127.0.0.1:1/v2/models/a%2Fb%20c"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (500, b"", "answered 500: no reason given"),
        (400, b"plain words", "answered 400: plain words"),
        (422, b'{"detail": [{"msg": "shape"}]}', "shape"),
        (400, b"[1]", r"answered 400: \[1\]"),
        (200, b"x" * 101, "longer than 100 bytes"),
    ],
)
def test_inference_client_answer_that_is_none_is_told(status: int, body: bytes, says: str) -> None:
    with StubServer(lambda _: Reply(status, {}, body)) as server:
        client = InferenceClient(int(server.address.rpartition(":")[2]), "m", limit=100)
        with pytest.raises(KitcarError, match=says):
            client.infer(REQUEST)
        assert client.ready() is (status == 200 and len(body) <= 100)


def test_check_request_of_v2_is_itself() -> None:
    assert check_request(REQUEST, "request.json") == REQUEST


def test_running_mlserver_gets_its_settings_and_is_found_beside_the_interpreter(options: RunOptions) -> None:
    """Its place is taken by this interpreter, which prints the settings it was given."""
    program = "import pathlib; print(pathlib.Path('model-settings.json').read_text()); raise SystemExit(9)"
    runtime = replace(RUNTIMES["sklearn"], command=(Path(sys.executable).name, "-c", program))
    container = storage('printf x > "$2/iris.joblib"')
    options = replace(options, environ={"PATH": "/bin"}, runtimes={"text": runtime})
    with pytest.raises(KitcarError, match=r"mnt/models/iris\.joblib"), running(SERVICE, container, Objects(), options):
        pass
