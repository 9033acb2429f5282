"""Delivery by processes that are killed, run twice at once, or fed by a connection that fails: the right tree, or an error."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitcar.deliver import DeliverOptions, Report, deliver
from kitcar.errors import IntegrityError, KitcarError, RegistryError
from kitcar.modelkit.kit import read_kit
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.pack import PackOptions, pack
from kitcar.oci.progress import Event, Step
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.retry import Pauser, RetryPolicy
from kitcar.registry.settings import Connection
from kitcar.server import RunningRegistry
from kitcar.sources.kit import KitSource
from kitcar.testing.parts import tree
from kitcar.testing.proxy import Action, Alter, Answer, Cut, FaultProxy, Flip, Rule, Truncate

MIB = 1024 * 1024
SIZE = 24 * MIB
KITFILE = b"manifestVersion: 1.0.0\nmodel: {path: model.bin}\ndatasets: [{path: data}]\ndocs: [{path: docs}]\n"
QUICK = Pauser(RetryPolicy(attempts=3, base=0.01))
BLOBS = "GET /v2/team/m/blobs/"

SCRIPT = """
import sys
from pathlib import Path
from kitcar.deliver import DeliverOptions, deliver
from kitcar.modelkit.kit import read_kit
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.sources.kit import KitSource

repository = Repository(Reference.parse(sys.argv[1]), connection=Connection(plain_http=True))
kit = read_kit(repository, repository.resolve("v1"))
print("begin", flush=True)
report = deliver(KitSource(repository, kit), Path(sys.argv[2]), DeliverOptions(log=lambda line: print(line, flush=True)))
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print("fetched", report.bytes_fetched, "peak", peak, flush=True)
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    source = random.Random(7)
    (folder / "model.bin").write_bytes(source.randbytes(SIZE))
    for number in range(300):
        path = folder / "data" / str(number % 7) / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(number * 10))
    (folder / "docs").mkdir()
    (folder / "docs/README.md").write_bytes(b"read")
    return folder


@pytest.fixture(scope="module")
def registry(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        pack(Kitfile.parse(KITFILE), context, at(running.address), PackOptions(tags=("v1",)))
        yield running.address


@pytest.fixture
def proxy(registry: str) -> Iterator[FaultProxy]:
    host, _, port = registry.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def wanted(context: Path) -> dict[str, tuple[int, bytes | str | None]]:
    return {**tree(context), "Kitfile": (0o644, Kitfile.parse(KITFILE).to_yaml())}


def at(address: str) -> Repository:
    retry = RetryPolicy(attempts=3, base=0.001)
    return Repository(Reference.parse(f"{address}/team/m"), connection=Connection(plain_http=True, retry=retry))


def fetch(address: str, root: Path, **options: object) -> Report:
    repository = at(address)
    source = KitSource(repository, read_kit(repository, repository.resolve("v1")))
    return deliver(source, root, DeliverOptions(**{"pauser": QUICK, **options}))  # type: ignore[arg-type]


def start(address: str, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, f"{address}/team/m", str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def model_blob(address: str) -> str:
    repository = at(address)
    layers = read_kit(repository, repository.resolve("v1")).manifest.layers
    return BLOBS + str(max(layers, key=lambda layer: layer.size).digest)


@pytest.mark.parametrize(
    "action",
    [Cut(after=9 * MIB), Cut(after=9 * MIB, reset=True), Cut(after=0), Answer(503), Answer(429, {"Retry-After": "0"})],
    ids=repr,
)
def test_deliver_passing_fault_is_outlived(
    proxy: FaultProxy, tmp_path: Path, wanted: dict[str, object], action: Action
) -> None:
    rule = Rule(model_blob(proxy.address), action, times=2)
    proxy.rules.append(rule)
    fetch(proxy.address, tmp_path)
    assert rule.hits == 2
    assert tree(tmp_path) == wanted


def test_deliver_reader_that_gives_up_is_opened_again_where_it_was(
    proxy: FaultProxy, tmp_path: Path, wanted: dict[str, object]
) -> None:
    blob = model_blob(proxy.address)
    proxy.rules += [Rule(blob, Cut(after=17 * MIB), times=1), Rule(blob, Answer(503), times=3)]
    events: list[Event] = []
    report = fetch(proxy.address, tmp_path, listener=events.append)
    assert tree(tmp_path) == wanted
    ranges = [request.headers.get("range") for request in proxy.seen(blob)]
    assert ranges[0] is None
    assert ranges[-1] is not None
    assert int(ranges[-1].removeprefix("bytes=").partition("-")[0]) >= 12 * MIB
    assert any(event.step is Step.RETRIED for event in events)
    model = max(report.parts, key=lambda part: part.size or 0)
    assert model.fetched <= (model.size or 0) + 5 * MIB


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (Flip(at=10), IntegrityError),
        (Flip(at=SIZE // 2), IntegrityError),
        (Truncate(after=0), IntegrityError),
        (Answer(404), KitcarError),
        (Answer(401), RegistryError),
        (Answer(403), RegistryError),
        (Answer(200, {"Content-Type": "text/html"}, b"<html>"), IntegrityError),
    ],
    ids=repr,
)
def test_deliver_lasting_fault_is_an_error_and_shows_nothing_wrong(
    proxy: FaultProxy,
    tmp_path: Path,
    wanted: dict[str, tuple[int, object]],
    action: Action,
    error: type[KitcarError],
) -> None:
    proxy.rules.append(Rule(model_blob(proxy.address), action, times=None))
    with pytest.raises(error):
        fetch(proxy.address, tmp_path)
    shown = {path: value for path, value in tree(tmp_path).items() if not path.startswith(".kitcar")}
    assert "model.bin" not in shown
    assert all(wanted[path] == value for path, value in shown.items())
    proxy.rules.clear()
    fetch(proxy.address, tmp_path)
    assert tree(tmp_path) == wanted


def test_deliver_registry_without_ranges_starts_over_after_a_kill(
    proxy: FaultProxy, tmp_path: Path, wanted: dict[str, object]
) -> None:
    blob = model_blob(proxy.address)
    proxy.rules += [Rule(blob, Cut(after=9 * MIB), times=1), Rule(blob, Answer(503), times=None)]
    with pytest.raises(RegistryError):
        fetch(proxy.address, tmp_path)
    assert (tmp_path / ".kitcar-staging").is_dir()
    proxy.rules[:] = [Rule(blob, Alter(request={"Range": None}), times=None)]
    fetch(proxy.address, tmp_path)
    assert tree(tmp_path) == wanted


@pytest.mark.parametrize("seed", range(6))
def test_deliver_killed_at_any_moment_and_again_gives_the_right_tree(
    registry: str, tmp_path: Path, wanted: dict[str, tuple[int, object]], seed: int
) -> None:
    moments = random.Random(seed)
    for _ in range(2):
        with start(registry, tmp_path) as process:
            assert process.stdout
            assert process.stdout.readline() == "begin\n"
            time.sleep(moments.random() * 0.15)
            process.kill()
        shown = {path: value for path, value in tree(tmp_path).items() if not path.startswith(".kitcar")}
        for path, (mode, content) in shown.items():
            assert wanted[path][1] == content
            assert content is None or wanted[path][0] == mode
    fetch(registry, tmp_path)
    assert tree(tmp_path) == wanted


def test_deliver_two_processes_into_one_directory_take_turns(
    registry: str, tmp_path: Path, wanted: dict[str, object]
) -> None:
    processes = [start(registry, tmp_path) for _ in range(3)]
    outputs = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert tree(tmp_path) == wanted
    fetched = sorted(int(out.rsplit("fetched ", 1)[1].split()[0]) for out, _ in outputs)
    assert fetched[:2] == [0, 0]


def test_deliver_memory_stays_small_for_layers_of_any_size(registry: str, tmp_path: Path) -> None:
    with start(registry, tmp_path) as process:
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert int(out.rsplit("peak ", 1)[1]) < 64 * 1024


def test_deliver_second_process_fetches_nothing(registry: str, tmp_path: Path) -> None:
    fetch(registry, tmp_path)
    before = {path: hashlib.sha256(os.fsencode(str(path.lstat()))).hexdigest() for path in tmp_path.rglob("*")}
    assert fetch(registry, tmp_path).bytes_fetched == 0
    assert {
        path: hashlib.sha256(os.fsencode(str(path.lstat()))).hexdigest() for path in tmp_path.rglob("*")
    }.keys() == before.keys()
