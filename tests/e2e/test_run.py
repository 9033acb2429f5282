"""`kitcar run` with a real MLServer: an InferenceService as the documentation has it, from `kit://` to an answer."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.pack import PackOptions, pack
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.server import RunningRegistry

EXAMPLE = Path(__file__).parents[2] / "examples" / "iris"
KITFILE = """\
manifestVersion: 1.0.0
package:
  name: iris
model:
  name: iris
  path: {model}
docs:
  - path: README.md
"""
STORAGE = """\
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterStorageContainer
metadata:
  name: kitops
spec:
  container:
    name: storage-initializer
    image: ghcr.io/kitops-ml/kitops-kserve:latest
    imagePullPolicy: Always
    env:
      - name: KIT_UNPACK_FLAGS
        value: "-v --plain-http"
  supportedUriFormats:
    - prefix: kit://
"""


@dataclass(frozen=True)
class Iris:
    """A trained model in a registry, under two file names, and the trainer's prediction."""

    registry: str
    expected: list[int]


@pytest.fixture(scope="module")
def iris(mlserver_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iris]:
    folder = tmp_path_factory.mktemp("iris")
    command = [mlserver_environment / "bin" / "python", EXAMPLE / "train.py", folder / "iris"]
    asked = ["--request", EXAMPLE / "request.json", "--expect", folder / "expected.json"]
    subprocess.run([*map(str, command), *map(str, asked)], check=True, capture_output=True)
    model = folder / "iris" / "model.joblib"
    (folder / "iris" / "classifier.joblib").write_bytes(model.read_bytes())
    with RunningRegistry(folder / "registry") as running:
        for name in ("model", "classifier"):
            reference = Reference.parse(f"{running.address}/team/{name}")
            kitfile = Kitfile.parse(KITFILE.format(model=f"{name}.joblib").encode())
            target = Repository(reference, connection=Connection(plain_http=True))
            pack(kitfile, folder / "iris", target, PackOptions(tags=("v1",)))
        yield Iris(running.address, json.loads((folder / "expected.json").read_text()))


@pytest.fixture
def files(iris: Iris, tmp_path: Path) -> Path:
    """The documentation's InferenceService, for each model, and its ClusterStorageContainer."""
    text = (EXAMPLE / "inference-service.yaml").read_text()
    for name in ("model", "classifier", "missing"):
        uri = f"{iris.registry}/team/{name}:v1"
        (tmp_path / f"{name}.yaml").write_text(text.replace("registry.example.com/team/iris:v1", uri))
    (tmp_path / "storage.yaml").write_text(STORAGE)
    return tmp_path


def start(folder: Path, environment: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-m", "kitcar", "run", *words],
        cwd=folder,
        env={**os.environ, "PATH": path, "TMPDIR": str(folder / "tmp")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left(folder: Path) -> list[str]:
    """Processes that still run in the folder, and files of runs."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (process / "cwd").readlink().parents:
                running.append((process / "cmdline").read_text())
        except OSError:
            continue
    return [*running, *map(str, (folder / "tmp").iterdir())]


@pytest.mark.parametrize("name", ["model", "classifier"])
def test_run_once_answers_as_the_trainer_did_and_leaves_nothing(
    iris: Iris, files: Path, mlserver_environment: Path, name: str
) -> None:
    words = [f"{name}.yaml", "--storage-container", "storage.yaml", "--once", str(EXAMPLE / "request.json")]
    process = start(files, mlserver_environment, *words)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    answer = json.loads(out)
    assert answer["model_name"] == "iris-model"
    assert answer["outputs"][0]["data"] == iris.expected
    assert left(files) == []


def test_run_without_storage_container_fetches_by_itself_and_serves_until_interrupted(
    iris: Iris, files: Path, mlserver_environment: Path
) -> None:
    process = start(files, mlserver_environment, "model.yaml", "--env", "KIT_UNPACK_FLAGS=--plain-http")
    assert process.stderr is not None
    lines = []
    while not (found := re.search(r"Serving iris-model at (\S+);", lines[-1] if lines else "")):
        lines.append(process.stderr.readline())
        assert lines[-1], "".join(lines)
    body = (EXAMPLE / "request.json").read_bytes()
    request = urllib.request.Request(f"{found[1]}/infer", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["outputs"][0]["data"] == iris.expected
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert left(files) == []


def test_run_told_to_stop_while_the_server_starts_leaves_nothing(files: Path, mlserver_environment: Path) -> None:
    words = ["model.yaml", "--storage-container", "storage.yaml", "--once", str(EXAMPLE / "request.json")]
    process = start(files, mlserver_environment, *words)
    while not list((files / "tmp").glob("*/server/*/model-settings.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert left(files) == []


def test_run_model_that_is_missing_tells_the_initializers_reason(files: Path, mlserver_environment: Path) -> None:
    words = ["missing.yaml", "--storage-container", "storage.yaml", "--once", str(EXAMPLE / "request.json")]
    process = start(files, mlserver_environment, *words)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "[ERROR] The storage initializer ended with exit code 1: " in err
    assert "team/missing:v1" in err
    assert left(files) == []
