"""Memory that does not grow with a model, and many processes that share one directory or one local storage."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.kitcar import Kitcar
from harness.matrix import MIB, Kit, Road, finish, publish, wait_until, write_kit
from kitcar.server import RunningRegistry
from kitcar.testing.parts import tree
from kitcar.testing.proxy import FaultProxy, Rule, Stall

LARGE = 300 * MIB
LIMIT = 64 * 1024
"""KiB that a process may take at its peak."""

PEAK = """
import atexit, runpy, sys
from pathlib import Path

def leave():
    lines = Path("/proc/self/status").read_text().splitlines()
    Path(sys.argv[0]).write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))

target = sys.argv.pop(1)
atexit.register(lambda: (sys.argv.__setitem__(0, target), leave()))
runpy.run_module("kitcar", run_name="__main__", alter_sys=True)
"""


def write_large(context: Path, layers: int) -> Path:
    """A kit of `layers` layers, `LARGE` bytes together and little of the disk."""
    context.mkdir()
    names = [f"part-{number}.bin" for number in range(layers)]
    for number, name in enumerate(names):
        with (context / name).open("wb") as file:
            file.write(b"%d" % number)
            file.truncate(LARGE // layers)
    kitfile = f"manifestVersion: 1.0.0\npackage:\n  name: large\nmodel:\n  path: {names[0]}\n"
    if layers > 1:
        kitfile += "datasets:\n" + "".join(f"  - name: {name}\n    path: {name}\n" for name in names[1:])
    (context / "Kitfile").write_text(kitfile)
    return context


@pytest.fixture(scope="module", params=[1, 5], ids=["one-layer", "five-layers"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Kit]]:
    folder = tmp_path_factory.mktemp("large")
    with RunningRegistry(folder / "registry") as running:
        yield running.address, publish(write_large(folder / "context", request.param), running.address)


@pytest.mark.parametrize("verb", ["unpack", "initializer", "pull", "push-directory"])
def test_memory_does_not_grow_with_the_model(large: tuple[str, Kit], tmp_path: Path, verb: str) -> None:
    address, kit = large
    host, _, port = address.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        road = Road(address, proxy, kit, tmp_path)
        name = f"{address}/team/{'copy' if verb == 'push-directory' else 'iris'}:v1"
        peak = tmp_path / "peak"
        command = [sys.executable, "-c", PEAK, str(peak), *road.words(verb, name)]
        ended = finish(road.start_command(command))
        assert ended.code == 0, ended.err
        assert int(peak.read_text()) < LIMIT
        if verb in {"unpack", "initializer"}:
            sizes = {path.name: path.stat().st_size for path in road.out.iterdir()}
            assert sizes == {path.name: path.stat().st_size for path in kit.context.iterdir()} | {
                "Kitfile": sizes["Kitfile"]
            }


@pytest.mark.parametrize("method", ["gzip-fastest", "gzip", "zstd"])
def test_memory_of_compressed_layers_side_by_side_is_bounded(tmp_path: Path, method: str) -> None:
    context = write_large(tmp_path / "context", 5)
    # What no window reaches back over does not compress: each layer gives as much as it takes.
    block = os.urandom(10 * MIB)
    for path in context.glob("*.bin"):
        path.write_bytes(block * 3)
    peak, environ = tmp_path / "peak", {"KITOPS_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", PEAK, str(peak), "pack", str(context), "-t", "large:v1", "--compression", method]
    subprocess.run(command, env=environ, check=True, capture_output=True)
    assert int(peak.read_text()) < LIMIT


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Kit]]:
    context = write_kit(tmp_path_factory.mktemp("context"), size=3 * MIB)
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running.address, publish(context, running.address)


@pytest.fixture
def road(published: tuple[str, Kit], tmp_path: Path) -> Iterator[Road]:
    address, kit = published
    host, _, port = address.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield Road(address, proxy, kit, tmp_path)


@pytest.mark.parametrize("verb", ["unpack", "initializer"])
def test_second_process_into_the_same_directory_waits_and_fetches_nothing(road: Road, verb: str) -> None:
    layer = f"GET .*/blobs/{road.kit.layer.digest}"
    rule = Rule(layer, Stall(MIB, seconds=1))
    road.proxy.rules.append(rule)
    first = road.start(verb)
    wait_until(lambda: rule.hits > 0, first)
    second = road.start(verb)
    ended = [finish(first), finish(second)]
    assert [item.code for item in ended] == [0, 0], ended
    assert "Waiting for another process" in ended[1].out
    assert len(road.proxy.seen(layer)) == 1
    road.check_right(verb)


def test_second_process_goes_on_where_one_that_is_killed_was(road: Road) -> None:
    layer = f"GET .*/blobs/{road.kit.layer.digest}"
    rule = Rule(layer, Stall(MIB))
    road.proxy.rules.append(rule)
    first = road.start("unpack")
    wait_until(lambda: rule.hits > 0, first)
    with road.start("unpack") as second:
        assert second.stdout
        assert any("Waiting for another process" in line for line in second.stdout)
        first.kill()
        first.communicate()
        ended = finish(second)
    assert ended.code == 0, ended.err
    road.check_right("unpack")


PACKS = 16
WORKER = """
import io, os, sys
from kitcar.cli.app import run
from kitcar.cli.session import Surroundings

def kitcar(*words):
    out, err = io.StringIO(), io.StringIO()
    code = run(list(words), Surroundings(os.environ, io.BytesIO(), out, err))
    assert code == 0, (words, code, out.getvalue(), err.getvalue())

name, mine, context = sys.argv[1], sys.argv[2], sys.argv[3]
sys.stdin.readline()
for turn in range(3):
    kitcar("pull", name, "--plain-http")
    kitcar("tag", name, f"iris:{mine}-{turn}")
    kitcar("pack", context, "-t", f"iris:other-{mine}")
    kitcar("remove", f"iris:other-{mine}")
    if turn < 2:
        kitcar("remove", f"iris:{mine}-{turn}")
"""


def at_once(commands: list[list[str]], environment: dict[str, str]) -> None:
    """Runs all commands at the same time; each begins when it gets a line."""
    processes = [
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [finish(process) for process in processes]
    assert [item.code for item in ended] == [0] * len(commands), [item.err for item in ended if item.code]


def test_sixteen_packs_into_one_storage_lose_nothing(road: Road, tmp_path: Path) -> None:
    commands = []
    contexts = {}
    for number in range(PACKS):
        # The code and the document are the same in all of them, and so are two models each.
        contexts[number] = write_kit(tmp_path / "contexts" / str(number), size=0, seed=5)
        (contexts[number] / "model.bin").write_bytes(b"%d" % (number // 2) * 300_000)
        commands.append(
            [sys.executable, "-m", "kitcar", "pack", str(contexts[number]), "-t", f"iris:p{number},q{number}"]
        )
    at_once(commands, road.environment)
    names = [f"iris:{letter}{number}" for number in range(PACKS) for letter in "pq"]
    road.check_store(*names)
    for number in (0, 1, PACKS - 1):
        target = tmp_path / "out" / str(number)
        Kitcar(road.home)("unpack", f"iris:q{number}", "-d", target)
        assert tree(target) == replace(road.kit, context=contexts[number]).wanted


def test_storm_of_pulls_packs_and_removals_on_one_storage_loses_nothing(road: Road, tmp_path: Path) -> None:
    workers = 5
    commands = [
        [sys.executable, "-c", WORKER, road.name, f"w{number}", str(road.kit.context)] for number in range(workers)
    ]
    at_once(commands, {**os.environ, **road.environment})
    road.check_store(road.name, *(f"iris:w{number}-2" for number in range(workers)))
    road.check_right_offline(road.name)
