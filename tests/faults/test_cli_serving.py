"""`kitcar run` and `kitcar initializer` as commands: files in, an answer and an exit code out."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kitcar.cli.app import run
from kitcar.cli.session import Surroundings

SERVER = """
import http.server, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(b"")

    def do_POST(self):
        self.reply(pathlib.Path(sys.argv[1], "model.txt").read_bytes())

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
for _ in range(int(sys.argv[3]) if sys.argv[3:] else 1000):
    server.handle_request()
"""
SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: NAME}
spec:
  predictor:
    model:
      modelFormat: {name: text}
      storageUri: kit://registry.example.com/team/iris:v1
"""
STORAGE = """
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterStorageContainer
metadata: {name: NAME}
spec:
  container:
    name: storage-initializer
    image: example/loader:1
    env:
      - name: WORD
        valueFrom: {secretKeyRef: {name: words, key: word}}
  supportedUriFormats:
    - prefix: kit://
"""
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: words}\nstringData: {word: secret}\n"
LOADER = """example/loader:1=sh -c 'printf "%s %s %s" "$WORD" "$EXTRA" "$1" > "$2/model.txt"' loader"""


@dataclass
class Shell:
    """Runs kitcar in a folder of one test."""

    folder: Path
    words: list[str] = field(default_factory=list)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)}
        out, err = io.StringIO(), io.StringIO()
        code = run([*words, *self.words], Surroundings(environ, io.BytesIO(), out, err))
        return code, out.getvalue(), err.getvalue()

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    shell = Shell(tmp_path)
    shell.file("server.py", SERVER)
    runtime = f"text={sys.executable} {tmp_path}/server.py {{model_dir}} {{port}}"
    shell.words = ["--runtime", runtime, "--image", LOADER, "--env", "EXTRA=more"]
    shell.file("request.json", '{"inputs": []}')
    shell.file("service.yaml", SERVICE.replace("NAME", "iris"))
    shell.file("storage.yaml", STORAGE.replace("NAME", "one") + "---\n" + SECRET)
    return shell


def test_run_once_prints_the_answer_alone_on_standard_output(shell: Shell) -> None:
    folder = shell.folder
    once = ["--storage-container", f"{folder}/storage.yaml", "--once", f"{folder}/request.json"]
    code, out, err = shell("run", f"{folder}/service.yaml", *once)
    assert (code, out) == (0, "secret more kit://registry.example.com/team/iris:v1\n"), err
    assert "Model server ready at" in err


def test_run_serves_until_the_server_ends(shell: Shell) -> None:
    folder = shell.folder
    runtime = f"text={sys.executable} {folder}/server.py {{model_dir}} {{port}} 1"
    shell.words[1] = runtime
    code, _, err = shell("run", f"{folder}/service.yaml", "--objects", f"{folder}/storage.yaml")
    assert code == 1
    assert "Serving iris at http://127.0.0.1:" in err
    assert "The model server ended with exit code 0" in err


def test_run_two_claims_are_told_and_the_first_is_taken(shell: Shell) -> None:
    folder = shell.folder
    other = shell.file("other.yaml", STORAGE.replace("NAME", "two"))
    once = ["--once", f"{folder}/request.json"]
    words = ["--storage-container", f"{folder}/storage.yaml", "--storage-container", other]
    code, _, err = shell("run", f"{folder}/service.yaml", *words, *once)
    assert code == 0, err
    assert "2 ClusterStorageContainers claim kit://" in err
    assert "here one is taken" in err


def test_run_args_that_replace_the_uri_are_told(shell: Shell) -> None:
    text = STORAGE.replace("NAME", "one").replace("    env:", "    args: [a, b]\n    env:")
    storage = shell.file("args.yaml", f"{text}---\n{SECRET}")
    folder = shell.folder
    code, _, err = shell(
        "run", f"{folder}/service.yaml", "--storage-container", storage, "--once", f"{folder}/request.json"
    )
    assert code == 1
    assert "ClusterStorageContainer one sets args, which take the place of the URI and the directory: a b" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.yaml"], "missing.yaml cannot be read: no such file or directory"),
        (["storage.yaml"], "The files hold no InferenceService"),
        (["service.yaml", "--name", "other"], "The files hold no InferenceService called other"),
        (["service.yaml", "second.yaml"], "The files hold 2 InferenceServices: iris, second"),
        (["service.yaml", "--once", "bad.json"], "is not JSON"),
        (["service.yaml", "--once", "deep.json"], "is not JSON"),
        (["service.yaml", "--port", "65536"], "--port 65536 is no port"),
        (["service.yaml", "--port", "-1"], "--port -1 is no port"),
        (["service.yaml", "--env", "NAME"], "--env 'NAME' has no value"),
        (["service.yaml", "--runtime", "x"], "--runtime 'x' has no command"),
        (["service.yaml", "--storage-container", "s3.yaml"], "No ClusterStorageContainer claims kit://"),
        (["service.yaml", "--storage-container", "bad.yaml"], "bad.yaml is not valid YAML"),
    ],
)
def test_run_what_cannot_be_meant_starts_nothing(shell: Shell, words: list[str], says: str) -> None:
    shell.file("second.yaml", SERVICE.replace("NAME", "second"))
    shell.file("s3.yaml", STORAGE.replace("NAME", "s3").replace("kit://", "s3://"))
    shell.file("bad.yaml", "a: [")
    shell.file("bad.json", "{")
    shell.file("deep.json", "[" * 200_000)
    known = {path.name for path in shell.folder.iterdir()} | {"missing.yaml"}
    code, out, err = shell("run", *(str(shell.folder / word) if word in known else word for word in words))
    assert (code, out) == (1, "")
    assert says in err


def test_initializer_command_ends_with_the_entrypoints_code(shell: Shell) -> None:
    shell.words = []
    code, out, _ = shell("initializer")
    assert code == 1
    assert "Usage: entrypoint.sh <src-uri> <dest-path>\n" in out
    code, out, _ = shell("initializer", "--init", "--log-format", "json")
    assert code == 1
    assert '"message": "Environment variable $MODELKIT_REF is required"' in out
    code, _, err = shell("initializer", "kit://127.0.0.1:1/a/b:1", str(shell.folder / "models"))
    assert code in {1, 75}
    assert "[ERROR] " in err
