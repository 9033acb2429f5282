"""The storage initializer as a process, with a registry that fails on cue: right files, or an exit code and a reason."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.pack import PackOptions, pack
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.server import RunningRegistry
from kitcar.testing.proxy import Action, Answer, Cut, FaultProxy, Flip, Rule, Stall, Truncate

MIB = 1024 * 1024
MODEL = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(4096)) * (6 * MIB // 131072)
FILES = {"model.bin": MODEL, "docs/README.md": b"# Read me\n", "docs/empty": b""}
KITFILE = b"manifestVersion: 1.0.0\npackage:\n  name: m\nmodel:\n  path: model.bin\ndocs:\n  - path: docs\n"
BLOB = r"GET /v2/team/m/blobs/"
PEAK = "VmHWM:"


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str
    reason: str


@dataclass
class Runner:
    """Runs the initializer into one directory of one test; `layer` matches the request for the model's layer."""

    proxy: FaultProxy
    folder: Path
    layer: str
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def start(self, *words: str, tag: str = "v1") -> subprocess.Popen[str]:
        reason = self.folder / "termination-log"
        reason.write_text("")
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kitcar.initializer",
                *words,
                f"kit://{self.proxy.address}/team/m:{tag}",
                str(self.models),
            ],
            env={"KIT_UNPACK_FLAGS": "--plain-http", "KITCAR_TERMINATION_LOG": str(reason), **self.environ},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, tag: str = "v1") -> Ended:
        return self.end(self.start(*words, tag=tag))

    def end(self, process: subprocess.Popen[str]) -> Ended:
        out, err = process.communicate(timeout=60)
        return Ended(process.returncode, out, err, (self.folder / "termination-log").read_text())

    def shown(self) -> dict[str, bytes]:
        """Every file of the destination that is not being staged."""
        paths = [path for path in self.models.rglob("*") if path.is_file() and ".kitcar-staging" not in path.parts]
        return {str(path.relative_to(self.models)): path.read_bytes() for path in paths}

    def is_right(self) -> bool:
        return {name: data for name, data in self.shown().items() if name != "Kitfile"} == FILES


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningRegistry, str]]:
    context = tmp_path_factory.mktemp("context")
    (context / "docs").mkdir()
    for name, data in FILES.items():
        (context / name).write_bytes(data)
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        target = Repository(Reference.parse(f"{running.address}/team/m"), connection=Connection(plain_http=True))
        packed = pack(Kitfile.parse(KITFILE), context, target, PackOptions(tags=("v1",)))
        yield running, BLOB + str(max(packed.manifest.layers, key=lambda layer: layer.size).digest)


@pytest.fixture
def runner(registry: tuple[RunningRegistry, str], tmp_path: Path) -> Iterator[Runner]:
    host, _, port = registry[0].address.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield Runner(proxy, tmp_path, registry[1])


@pytest.mark.parametrize(
    "action",
    [
        Cut(after=MIB),
        Cut(after=0, reset=True),
        Answer(429, {"Retry-After": "0"}),
        Answer(503),
        Answer(502),
    ],
    ids=repr,
)
def test_initializer_passing_fault_is_outlived(runner: Runner, action: Action) -> None:
    rule = Rule(runner.layer, action, times=1)
    runner.proxy.rules.append(rule)
    ended = runner.run()
    assert (ended.code, ended.reason) == (0, ""), ended.err
    assert rule.hits == 1
    assert runner.is_right()
    assert not (runner.models / ".kitcar-staging").exists()


@pytest.mark.parametrize(
    ("action", "code", "says"),
    [
        (Flip(at=5 * MIB), 1, "digest"),
        (Truncate(after=0), 1, "bytes"),
        (Answer(404), 1, "not"),
        (Answer(401), 1, "credentials"),
        (Answer(403), 1, "403"),
        (Answer(418), 1, "418"),
    ],
    ids=repr,
)
def test_initializer_lasting_fault_ends_with_its_reason_and_shows_nothing_wrong(
    runner: Runner, action: Action, code: int, says: str
) -> None:
    runner.proxy.rules.append(Rule(runner.layer, action, times=None))
    ended = runner.run()
    assert ended.code == code
    assert says in ended.reason
    assert f"[ERROR] {ended.reason.partition(chr(10))[0]}" in ended.err
    assert len(ended.reason.encode()) <= 4096
    assert "Traceback" not in ended.err
    assert all(FILES.get(name, data) == data for name, data in runner.shown().items())
    runner.proxy.rules.clear()
    assert runner.run().code == 0
    assert runner.is_right()


def test_initializer_without_credentials_says_what_a_pod_needs(runner: Runner) -> None:
    runner.proxy.rules.append(Rule("/manifests/", Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}), times=None))
    ended = runner.run()
    assert ended.code == 1
    assert "KIT_USER and KIT_PASSWORD" in ended.reason
    assert "kitcar login" not in ended.err


def test_initializer_missing_tag_is_permanent(runner: Runner) -> None:
    ended = runner.run(tag="v2")
    assert ended.code == 1
    assert "not found" in ended.reason


def test_initializer_registry_that_is_away_is_transient(runner: Runner) -> None:
    runner.proxy.stop()
    ended = runner.run()
    assert ended.code == 75
    assert "refuses connections" in ended.reason


def _stalled(runner: Runner, *words: str) -> tuple[subprocess.Popen[str], Rule]:
    """A run that stands still in the middle of the model."""
    rule = Rule(runner.layer, Stall(after=5 * MIB, seconds=60), times=1)
    runner.proxy.rules.append(rule)
    process = runner.start(*words)
    while not any(path.stat().st_size > 3 * MIB for path in runner.models.rglob("*") if path.is_file()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process, rule


def test_initializer_killed_in_the_middle_goes_on_where_it_was(runner: Runner) -> None:
    process, _ = _stalled(runner)
    process.kill()
    assert runner.end(process).code == -signal.SIGKILL
    assert "model.bin" not in runner.shown()
    ended = runner.run("--log-format", "json")
    assert ended.code == 0, ended.err
    assert runner.is_right()
    assert not (runner.models / ".kitcar-staging").exists()
    (told,) = [line for line in map(json.loads, ended.err.splitlines()) if "fetched" in line]
    assert told["fetched"] < len(MODEL) - 3 * MIB
    assert any("range" in request.headers for request in runner.proxy.seen(BLOB))


def test_initializer_told_to_stop_ends_and_can_be_run_again(runner: Runner) -> None:
    process, _ = _stalled(runner)
    process.terminate()
    ended = runner.end(process)
    assert ended.code == 128 + signal.SIGTERM
    assert "model.bin" not in runner.shown()
    assert "Traceback" not in ended.err
    assert runner.run().code == 0
    assert runner.is_right()


def test_initializer_second_run_fetches_nothing_and_mends_what_was_changed(runner: Runner) -> None:
    assert runner.run().code == 0
    asked = len(runner.proxy.seen(BLOB))
    assert runner.run().code == 0
    # The config is read again to know what is right; no layer is.
    assert len(runner.proxy.seen(BLOB)) == asked + 1
    (runner.models / "model.bin").write_bytes(b"changed")
    (runner.models / "docs" / "README.md").unlink()
    assert runner.run().code == 0
    assert runner.is_right()


def test_initializer_as_any_user_without_home_or_temporary_files(runner: Runner) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 54321, 54321)
        # May read everything, so that Python is found wherever it is, and write nowhere but into the volume.
        setpriv = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
        setpriv += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        command = [sys.executable, "-m", "kitcar.initializer", f"kit://{runner.proxy.address}/team/m:v1", folder]
        environ = {"KIT_UNPACK_FLAGS": "--plain-http", "TMPDIR": "/nowhere", "PATH": os.environ["PATH"]}
        done = subprocess.run([*setpriv, *command], env=environ, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert Path(folder, "model.bin").read_bytes() == MODEL
        assert Path(folder, "model.bin").stat().st_uid == 54321


def test_initializer_several_models_go_to_their_directories(runner: Runner) -> None:
    source, other = f"kit://{runner.proxy.address}/team/m:v1", runner.folder / "other"
    process = runner.start(source, str(other))
    assert runner.end(process).code == 0
    assert runner.is_right()
    assert (other / "model.bin").read_bytes() == MODEL


def test_initializer_second_of_several_that_fails_is_told(runner: Runner) -> None:
    process = runner.start(f"kit://{runner.proxy.address}/team/m:v1", str(runner.folder / "a"), tag="v2")
    ended = runner.end(process)
    assert ended.code == 1
    assert "m:v2" in ended.reason


def test_initializer_json_lines_are_all_json(runner: Runner) -> None:
    runner.environ["KITCAR_LOG_FORMAT"] = "json"
    ended = runner.run(tag="v2")
    lines = [json.loads(line) for line in (ended.out + ended.err).splitlines()]
    assert {line["level"] for line in lines} == {"info", "error"}
    assert all(line["time"].endswith("Z") for line in lines)


def test_initializer_memory_does_not_grow_with_the_model(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    os.truncate(tmp_path / "model.bin", 300 * MIB)
    target = Repository(Reference.parse(f"{runner.proxy.address}/team/large"), connection=Connection(plain_http=True))
    kitfile = Kitfile.parse(b"manifestVersion: 1.0.0\npackage:\n  name: m\nmodel:\n  path: model.bin\n")
    pack(kitfile, tmp_path, target, PackOptions(tags=("v1",)))
    script = (
        "import os, sys; from kitcar.initializer.entry import initialize\n"
        "code = initialize(sys.argv[1:], os.environ, sys.stdout, sys.stderr)\n"
        "print(open('/proc/self/status').read()); sys.exit(code)"
    )
    command = [sys.executable, "-c", script, f"kit://{runner.proxy.address}/team/large:v1", str(runner.models)]
    done = subprocess.run(command, env={"KIT_UNPACK_FLAGS": "--plain-http"}, capture_output=True, text=True, check=True)
    peak = int(done.stdout.partition(PEAK)[2].split()[0])
    assert peak < 64 * 1024, f"{peak} KiB"
