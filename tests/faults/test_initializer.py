"""The storage initializer as a process, with a registry that fails on cue: right files, or an exit code and a reason."""

from __future__ import annotations

import contextlib
import hashlib
import io
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
from typing import NoReturn

import pytest

from harness import registries
from kitcar.initializer.entry import initialize, initialize_from_environment, stoppable
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.pack import PackOptions, pack
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.server import RunningRegistry
from kitcar.testing.proxy import Action, Answer, Cut, FaultProxy, Rule, Stall, Truncate

MIB = 1024 * 1024
MODEL = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(4096)) * (6 * MIB // 131072)
FILES = {"model.bin": MODEL, "docs/README.md": b"# Read me\n", "docs/empty": b""}
KITFILE = b"manifestVersion: 1.0.0\npackage:\n  name: m\nmodel:\n  path: model.bin\ndocs:\n  - path: docs\n"
BLOB = r"GET /v2/team/m/blobs/"


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
        """A run as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "kitcar.initializer", *self.words(*words, tag=tag)],
            env=self.environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, tag: str = "v1") -> Ended:
        """One run inside this process."""
        out, err, reason = io.StringIO(), io.StringIO(), self.folder / "termination-log"
        code = initialize(self.words(*words, tag=tag), self.environment(), out, err)
        return Ended(code, out.getvalue(), err.getvalue(), reason.read_text())

    def words(self, *words: str, tag: str) -> list[str]:
        return [*words, f"kit://{self.proxy.address}/team/m:{tag}", str(self.models)]

    def environment(self) -> dict[str, str]:
        reason = self.folder / "termination-log"
        reason.write_text("")
        return {"KIT_UNPACK_FLAGS": "--plain-http", "KITCAR_TERMINATION_LOG": str(reason), **self.environ}

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


def test_initializer_passing_fault_is_outlived(runner: Runner) -> None:
    rule = Rule(runner.layer, Cut(after=MIB), times=1)
    runner.proxy.rules.append(rule)
    ended = runner.run()
    assert (ended.code, ended.reason) == (0, ""), ended.err
    assert rule.hits == 1
    assert runner.is_right()
    assert not (runner.models / ".kitcar-staging").exists()


@pytest.mark.parametrize(
    ("action", "code", "says"),
    [
        (Truncate(after=0), 1, "bytes"),
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


@pytest.mark.parametrize(("password", "code"), [("right", 0), ("wrong", 1)])
def test_initializer_logs_in_before_it_fetches(
    registry: tuple[RunningRegistry, str], tmp_path: Path, password: str, code: int
) -> None:
    (tmp_path / "passwords").write_text(registries.htpasswd("ada", "right"))
    with RunningRegistry(registry[0].root, htpasswd=tmp_path / "passwords") as guarded:
        environ = {"KIT_UNPACK_FLAGS": "--plain-http", "KIT_USER": "ada", "KIT_PASSWORD": password}
        out, err = io.StringIO(), io.StringIO()
        words = [f"kit://{guarded.address}/team/m:v1", str(tmp_path / "models")]
        assert initialize(words, environ, out, err) == code
    assert f"Logging in using repo url: {guarded.address}\n" in out.getvalue()
    assert ("Log in successful\n" in out.getvalue()) is (code == 0)
    assert (tmp_path / "models" / "model.bin").exists() is (code == 0)


def test_initializer_half_a_login_is_told(runner: Runner) -> None:
    runner.environ["KIT_USER"] = "ada"
    assert "Not logging in: KIT_PASSWORD is not set\n" in runner.run().err


def test_initializer_missing_tag_is_permanent(runner: Runner) -> None:
    ended = runner.run(tag="v2")
    assert ended.code == 1
    assert "not found" in ended.reason


def test_initializer_registry_that_is_away_is_transient(runner: Runner) -> None:
    runner.proxy.stop()
    ended = runner.run()
    assert ended.code == 75
    assert "refuses connections" in ended.reason


def _size(folder: Path) -> int:
    """Bytes of all files in a folder that another process changes."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(path, name).stat().st_size
    return total


def _stalled(runner: Runner, *words: str) -> tuple[subprocess.Popen[str], Rule]:
    """A run that stands still in the middle of the model."""
    rule = Rule(runner.layer, Stall(after=5 * MIB, seconds=60), times=1)
    runner.proxy.rules.append(rule)
    process = runner.start(*words)
    while _size(runner.models) < 3 * MIB:
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
    user, become = os.geteuid(), []
    with tempfile.TemporaryDirectory() as folder:
        if user == 0:
            user = 54321
            os.chown(folder, user, user)
            # May read everything, so that Python is found wherever it is, and write nowhere but into the volume.
            become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
            become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        command = [sys.executable, "-m", "kitcar.initializer", f"kit://{runner.proxy.address}/team/m:v1", folder]
        environ = {"KIT_UNPACK_FLAGS": "--plain-http", "TMPDIR": "/nowhere", "PATH": os.environ["PATH"]}
        done = subprocess.run([*become, *command], env=environ, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert Path(folder, "model.bin").read_bytes() == MODEL
        assert Path(folder, "model.bin").stat().st_uid == user


def test_initializer_several_models_go_to_their_directories(runner: Runner) -> None:
    source, other = f"kit://{runner.proxy.address}/team/m:v1", runner.folder / "other"
    assert runner.run(source, str(other)).code == 0
    assert runner.is_right()
    assert (other / "model.bin").read_bytes() == MODEL


def test_initializer_second_of_several_that_fails_is_told(runner: Runner) -> None:
    ended = runner.run(f"kit://{runner.proxy.address}/team/m:v1", str(runner.folder / "a"), tag="v2")
    assert ended.code == 1
    assert "m:v2" in ended.reason


def test_initializer_words_that_are_no_pairs_print_the_usage(runner: Runner) -> None:
    out = io.StringIO()
    assert initialize(["kit://x.io/y"], runner.environment(), out, io.StringIO()) == 1
    assert "Usage: entrypoint.sh <src-uri> <dest-path>\n" in out.getvalue()


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("kit://team/m:v1", "team/m:v1 names no registry"),
        ("s3://bucket/key", "s3://bucket/key is no kit:// URI"),
        ("kit://x.io/UPPER", "must be lowercase"),
    ],
)
def test_initializer_source_that_is_no_kit_is_permanent(runner: Runner, word: str, says: str) -> None:
    err = io.StringIO()
    assert initialize([word, str(runner.models)], runner.environment(), io.StringIO(), err) == 1
    assert says in err.getvalue()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"KIT_UNPACK_FLAGS": "--what"}, "KIT_UNPACK_FLAGS: unknown flag: --what"),
        ({"KIT_UNPACK_FLAGS": "--plain-http -f what"}, "invalid filter type what"),
        ({"KITCAR_LOG_FORMAT": "xml"}, "unknown log format 'xml'"),
        ({"GCP_WIF": "true"}, "GCP_GAR_LOCATION env should be set"),
    ],
)
def test_initializer_variables_that_mean_nothing_are_told(runner: Runner, environ: dict[str, str], says: str) -> None:
    runner.environ.update(environ)
    ended = runner.run()
    assert ended.code == 1
    assert says in ended.err


def test_initializer_flags_select_and_keep(runner: Runner) -> None:
    runner.models.mkdir()
    (runner.models / "model.bin").write_bytes(b"mine")
    runner.environ["KIT_UNPACK_FLAGS"] = "--plain-http -v -i --filter model --filter code:nothing"
    ended = runner.run()
    assert ended.code == 0, ended.err
    assert runner.shown() == {"model.bin": b"mine"}
    assert "[WARN ] Filter 'code:nothing' takes nothing of this modelkit" in ended.err
    assert "[WARN ] 1 files exist with other content and were kept" in ended.err


def test_initializer_filters_that_take_nothing_are_an_error(runner: Runner) -> None:
    runner.environ["KIT_UNPACK_FLAGS"] = "--plain-http -f code"
    ended = runner.run()
    assert ended.code == 1
    assert ended.reason == "the filters take nothing of this modelkit\nHint: it has model.bin, docs"


def test_initializer_older_flags_and_filters_count_together(runner: Runner) -> None:
    runner.environ["KIT_UNPACK_FLAGS"] = "--plain-http --model -f docs"
    assert runner.run().code == 0
    assert runner.shown() == FILES


def test_initializer_without_tag_takes_latest_and_says_so(runner: Runner) -> None:
    out, err = io.StringIO(), io.StringIO()
    words = [f"kit://{runner.proxy.address}/team/m", str(runner.models)]
    assert initialize(words, runner.environment(), out, err) == 1
    assert f"Using 'latest' as default ('{runner.proxy.address}/team/m:latest')\n" in out.getvalue()
    assert "m:latest not found" in err.getvalue()


def test_initializer_directory_that_cannot_be_made_is_permanent(runner: Runner) -> None:
    runner.models.write_text("a file")
    ended = runner.run()
    assert ended.code == 1
    assert "Traceback" not in ended.err


def test_initializer_fault_of_our_own_ends_with_a_reason_and_a_traceback(runner: Runner) -> None:
    class Broken(dict[str, str]):
        def get(self, *_: object) -> NoReturn:
            raise ZeroDivisionError("never")

    err = io.StringIO()
    assert initialize(["a", "b"], Broken(), io.StringIO(), err) == 1
    assert "[ERROR] unexpected ZeroDivisionError: never" in err.getvalue()
    assert "Traceback" in err.getvalue()


def test_initializer_reference_to_another_kit_is_refused(runner: Runner) -> None:
    target = Repository(Reference.parse(f"{runner.proxy.address}/team/m"), connection=Connection(plain_http=True))
    kitfile = b"manifestVersion: 1.0.0\npackage:\n  name: m\nmodel:\n  path: registry.example.com/team/base:v1\n"
    pack(Kitfile.parse(kitfile), runner.folder, target, PackOptions(tags=("refers",)))
    ended = runner.run(tag="refers")
    assert ended.code == 1
    assert "the model is a reference to registry.example.com/team/base:v1" in ended.reason


def test_initializer_remote_dataset_is_told_or_refused(runner: Runner) -> None:
    target = Repository(Reference.parse(f"{runner.proxy.address}/team/m"), connection=Connection(plain_http=True))
    (runner.folder / "model.bin").write_bytes(b"model")
    kitfile = Kitfile.parse(
        b"manifestVersion: 1.0.0\npackage:\n  name: m\nmodel:\n  path: model.bin\n"
        b"datasets:\n  - name: far\n    path: far.csv\n    remotePath: s3://bucket/far.csv\n    remoteHash: abc\n"
    )
    pack(kitfile, runner.folder, target, PackOptions(tags=("remote",)))
    ended = runner.run(tag="remote")
    assert ended.code == 0, ended.err
    assert "[WARN ] ModelKit contains remote datasets." in ended.err
    runner.environ["KIT_UNPACK_FLAGS"] = "--plain-http --include-remote"
    ended = runner.run(tag="remote")
    assert ended.code == 1
    assert "the dataset far.csv lies outside of the ModelKit" in ended.reason


def test_initializer_filters_may_leave_the_reference_out(runner: Runner) -> None:
    runner.environ["KIT_UNPACK_FLAGS"] = "--plain-http -f kitfile"
    target = Repository(Reference.parse(f"{runner.proxy.address}/team/m"), connection=Connection(plain_http=True))
    kitfile = b"manifestVersion: 1.0.0\npackage:\n  name: m\nmodel:\n  path: registry.example.com/team/base:v1\n"
    pack(Kitfile.parse(kitfile), runner.folder, target, PackOptions(tags=("refers",)))
    assert runner.run(tag="refers").code == 0
    assert set(runner.shown()) == {"Kitfile"}


def test_stoppable_run_that_is_stopped_gives_the_signals_code() -> None:
    err, before = io.StringIO(), signal.getsignal(signal.SIGTERM)

    def run() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    assert stoppable(run, err) == 143
    assert "run again" in err.getvalue()
    assert signal.getsignal(signal.SIGTERM) is before


def init(runner: Runner, *words: str, **environ: str) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    code = initialize_from_environment(words, runner.environment() | environ, out, err)
    return Ended(code, out.getvalue(), err.getvalue(), (runner.folder / "termination-log").read_text())


def test_init_container_unpacks_what_its_variables_say(runner: Runner) -> None:
    reference = f"{runner.proxy.address}/team/m:v1"
    variables = {"MODELKIT_REF": reference, "UNPACK_PATH": str(runner.models), "EXTRA_FLAGS": "--plain-http"}
    ended = init(runner, **variables)
    assert ended.code == 0, ended.err
    assert set(runner.shown()) == {"model.bin"}
    elsewhere = str(runner.folder / "elsewhere")
    variables |= {"EXTRA_FLAGS": f"--plain-http -d {elsewhere}", "UNPACK_FILTER": "docs"}
    ended = init(runner, **variables)
    assert ended.code == 0, ended.err
    assert f"with flags '--filter=docs --plain-http -d {elsewhere}'" in ended.out
    assert sorted(path.name for path in Path(elsewhere).rglob("*.md")) == ["README.md"]


@pytest.mark.parametrize("name", ["COSIGN_KEY", "COSIGN_CERT_IDENTITY", "COSIGN_CERT_OIDC_ISSUER"])
def test_init_container_that_should_verify_fetches_nothing(runner: Runner, name: str) -> None:
    reference = f"{runner.proxy.address}/team/m:v1"
    ended = init(runner, MODELKIT_REF=reference, UNPACK_PATH=str(runner.models), **{name: "x"})
    assert ended.code == 1
    assert ended.reason.startswith(f"{name} asks for the signature to be verified")
    assert runner.proxy.requests == []


def test_init_container_without_reference_or_with_words_fails(runner: Runner) -> None:
    ended = init(runner)
    assert (ended.code, ended.out) == (1, "Environment variable $MODELKIT_REF is required\n")
    assert "unexpected argument 'x'" in init(runner, "x").err


def test_initializer_json_lines_are_all_json(runner: Runner) -> None:
    runner.environ["KITCAR_LOG_FORMAT"] = "json"
    ended = runner.run(tag="v2")
    lines = [json.loads(line) for line in (ended.out + ended.err).splitlines()]
    assert {line["level"] for line in lines} == {"info", "error"}
    assert all(line["time"].endswith("Z") for line in lines)
