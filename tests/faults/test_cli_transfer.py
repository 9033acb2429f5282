"""pull, unpack and push when the network fails: right bytes or a clear error, nothing half-written, and a rerun mends it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.kitcar import Kitcar, Result
from kitcar.oci.digest import Digest
from kitcar.testing.proxy import Action, Answer, Cut, Drop, FaultProxy, Flip, Rule, Stall, Truncate

if TYPE_CHECKING:
    from kitcar.server import RunningRegistry

MIB = 1024 * 1024
WEIGHTS = random.Random(1).randbytes(3 * MIB)
BUSY = Answer(429, {"Retry-After": "0", "Content-Length": "0"})
DOWN = Answer(503, {"Content-Length": "0"})
DENIED = Answer(401, {"WWW-Authenticate": 'Basic realm="r"', "Content-Length": "0"})
GONE = Answer(404, {"Content-Length": "0"})
BLOB = r"GET .*/blobs/"
MANIFEST = r"(GET|HEAD) .*/manifests/"


class World:
    """A registry with a modelkit, and a proxy before it that fails on cue."""

    def __init__(self, registry: RunningRegistry, proxy: FaultProxy, folder: Path) -> None:
        self.folder, self.proxy = folder, proxy
        self.name = f"{proxy.address}/team/iris:v1"
        self.direct = f"{registry.address}/team/iris:v1"
        self.context = folder / "context"
        (self.context / "docs").mkdir(parents=True)
        (self.context / "model.bin").write_bytes(WEIGHTS)
        (self.context / "docs" / "a.md").write_text("# A\n")
        (self.context / "Kitfile").write_text(
            "manifestVersion: 1.0.0\npackage:\n  name: iris\nmodel:\n  path: model.bin\ndocs:\n  - path: docs\n"
        )
        self.out = folder / "out"

    def kitcar(self, *words: str | Path, check: bool = True) -> Result:
        return Kitcar(self.folder / "home")(*words, "--plain-http", check=check)

    def publish(self) -> None:
        Kitcar(self.folder / "publisher")("push", self.context, self.direct, "--plain-http")

    def line(self, verb: str) -> tuple[str | Path, ...]:
        """The command line of a verb under test."""
        return {
            "pull": ("pull", self.name),
            "unpack": ("unpack", self.name, "-d", self.out),
            "push": ("push", self.context, self.name),
        }[verb]

    def check_whole(self, verb: str) -> None:
        """What the verb made is right, to the byte."""
        target = self.out
        if verb == "pull":
            self.kitcar("unpack", self.name, "-d", target)
        if verb == "push":
            Kitcar(self.folder / "reader")("unpack", self.direct, "-d", target, "--plain-http")
        assert (target / "model.bin").read_bytes() == WEIGHTS
        assert (target / "docs" / "a.md").read_text() == "# A\n"
        assert not [path for path in target.iterdir() if path.name.startswith(".")]

    def check_nothing_wrong(self, verb: str) -> None:
        """What failed shows nothing that is not right."""
        if verb == "pull":
            assert self.kitcar("list").out.count("\n") == 1
            store = self.folder / "home" / "storage" / "blobs" / "sha256"
            for blob in store.iterdir() if store.is_dir() else ():
                assert Digest.of(blob.read_bytes()).encoded == blob.name
        elif verb == "unpack":
            assert (self.out / "model.bin").exists() is False or (self.out / "model.bin").read_bytes() == WEIGHTS
        else:
            assert Kitcar(self.folder / "reader")("pull", self.direct, "--plain-http", check=False).code == 1


@pytest.fixture
def world(embedded_registry: RunningRegistry, tmp_path: Path) -> Iterator[World]:
    """A fresh registry, a proxy, and an empty home."""
    host, port = embedded_registry.address.rsplit(":", 1)
    with FaultProxy(host, int(port)) as proxy:
        yield World(embedded_registry, proxy, tmp_path)


PASSING: dict[str, Rule] = {
    "cut": Rule(BLOB, Cut(MIB)),
    "reset": Rule(BLOB, Cut(MIB, reset=True)),
    "cut-twice": Rule(BLOB, Cut(MIB), times=2),
    "cut-at-once": Rule(BLOB, Cut(0)),
    "dropped": Rule(BLOB, Drop()),
    "busy": Rule(BLOB, BUSY),
    "down": Rule(BLOB, DOWN),
    "manifest-busy": Rule(MANIFEST, BUSY),
    "manifest-down": Rule(MANIFEST, DOWN),
}
LASTING: dict[str, tuple[Rule, str]] = {
    "flipped": (Rule(BLOB, Flip(MIB), times=None), "has the digest"),
    "denied": (Rule(".", DENIED, times=None), "log in first: kitcar login"),
    "blob-gone": (Rule(BLOB, GONE, times=None), "not found"),
    "manifest-gone": (Rule(MANIFEST, GONE, times=None), "found in"),
    "manifest-flipped": (Rule(MANIFEST, Flip(5), times=None), "digest"),
}


def rule(one: Rule) -> Rule:
    """The rule as it is before anything hit it."""
    return Rule(one.match, one.action, one.times, one.skip)


@pytest.mark.parametrize("verb", ["pull", "unpack"])
@pytest.mark.parametrize("fault", sorted(PASSING))
def test_fetching_through_a_passing_fault_ends_well(world: World, verb: str, fault: str) -> None:
    world.publish()
    world.proxy.rules.append(rule(PASSING[fault]))
    assert world.kitcar(*world.line(verb)).code == 0
    assert world.proxy.rules[0].hits > 0
    world.check_whole(verb)


@pytest.mark.parametrize("verb", ["pull", "unpack"])
@pytest.mark.parametrize("fault", sorted(LASTING))
def test_fetching_through_a_lasting_fault_shows_nothing_wrong_and_a_rerun_mends_it(
    world: World, verb: str, fault: str
) -> None:
    world.publish()
    one, words = LASTING[fault]
    world.proxy.rules.append(rule(one))
    result = world.kitcar(*world.line(verb), check=False)
    assert result.code == 1
    assert "[ERROR] " in result.err
    assert words in result.err
    world.proxy.rules.clear()
    world.check_nothing_wrong(verb)
    world.kitcar(*world.line(verb))
    world.check_whole(verb)


@pytest.mark.parametrize("verb", ["pull", "unpack"])
def test_fetching_a_truncated_answer_ends_well_or_says_so(world: World, verb: str) -> None:
    world.publish()
    world.proxy.rules.append(Rule(BLOB, Truncate(100), times=1))
    result = world.kitcar(*world.line(verb), check=False)
    if result.code:
        assert "[ERROR] " in result.err
        world.check_nothing_wrong(verb)
        world.kitcar(*world.line(verb))
    world.check_whole(verb)


PUSH_PASSING: dict[str, Rule] = {
    "start-busy": Rule(r"POST .*/uploads/", BUSY),
    "start-down": Rule(r"POST .*/uploads/", DOWN),
    "send-down": Rule(r"(PATCH|PUT) .*/uploads/", DOWN),
    "send-cut": Rule(r"(PATCH|PUT) .*/uploads/", Cut(MIB, of="request")),
    "send-reset": Rule(r"(PATCH|PUT) .*/uploads/", Cut(MIB, of="request", reset=True)),
    "answer-dropped": Rule(r"(PATCH|PUT) .*/uploads/", Drop()),
    "manifest-busy": Rule(r"PUT .*/manifests/", BUSY),
    "manifest-dropped": Rule(r"PUT .*/manifests/", Drop()),
}
PUSH_LASTING: dict[str, tuple[Action, str]] = {
    "denied": (DENIED, "got response 401"),
    "forbidden": (Answer(403, {"Content-Length": "0"}), "got response 403"),
    "too-large": (Answer(413, {"Content-Length": "0"}), "got response 413"),
}


@pytest.mark.parametrize("local", [True, False], ids=["from-storage", "from-directory"])
@pytest.mark.parametrize("fault", sorted(PUSH_PASSING))
def test_pushing_through_a_passing_fault_ends_well(world: World, fault: str, local: bool) -> None:
    line: tuple[str | Path, ...] = world.line("push")
    if local:
        Kitcar(world.folder / "home")("pack", world.context, "-t", world.name)
        line = ("push", world.name)
    world.proxy.rules.append(rule(PUSH_PASSING[fault]))
    world.kitcar(*line)
    assert world.proxy.rules[0].hits > 0
    world.check_whole("push")


@pytest.mark.parametrize("fault", sorted(PUSH_LASTING))
def test_pushing_through_a_lasting_fault_shows_nothing_and_a_rerun_mends_it(world: World, fault: str) -> None:
    action, words = PUSH_LASTING[fault]
    world.proxy.rules.append(Rule(r"(POST|PATCH|PUT) ", action, times=None))
    result = world.kitcar(*world.line("push"), check=False)
    assert result.code == 1
    assert f"[ERROR] Failed to push: {words}" in result.err
    world.proxy.rules.clear()
    world.check_nothing_wrong("push")
    world.kitcar(*world.line("push"))
    world.check_whole("push")


def test_pushing_to_nobody_is_one_sentence_and_a_hint(world: World) -> None:
    address = world.proxy.address
    world.proxy.__exit__(None, None, None)
    result = world.kitcar("push", world.context, f"{address}/team/iris:v1", check=False)
    assert result.code == 1
    assert len(result.err.splitlines()) == 2
    assert result.err.splitlines()[1].startswith("Hint: ")


@pytest.mark.parametrize("verb", ["pull", "unpack", "push"])
def test_command_that_is_killed_shows_nothing_wrong_and_a_rerun_mends_it(world: World, verb: str) -> None:
    if verb != "push":
        world.publish()
    assert stopped(world, verb, signal.SIGKILL) == -signal.SIGKILL
    world.check_nothing_wrong(verb)
    world.kitcar(*world.line(verb))
    world.check_whole(verb)


@pytest.mark.parametrize("verb", ["pull", "unpack", "push"])
def test_command_that_is_interrupted_while_the_network_stalls_ends_and_a_rerun_mends_it(
    world: World, verb: str
) -> None:
    if verb != "push":
        world.publish()
    assert stopped(world, verb, signal.SIGINT) == 130
    world.check_nothing_wrong(verb)
    world.kitcar(*world.line(verb))
    world.check_whole(verb)


def stopped(world: World, verb: str, number: signal.Signals) -> int:
    """Runs a command until its transfer stalls, sends it a signal, and gives its exit code."""
    upload = Rule(r"(PATCH|PUT) .*/uploads/", Stall(MIB, of="request"), times=None)
    stall = upload if verb == "push" else Rule(BLOB, Stall(2 * MIB), times=None)
    world.proxy.rules.append(stall)
    command = [sys.executable, "-m", "kitcar", *map(str, world.line(verb)), "--plain-http"]
    environment = {**os.environ, "KITOPS_HOME": str(world.folder / "home")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 30
        while not stall.hits and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert stall.hits
    assert b"Traceback" not in said
    world.proxy.rules.clear()
    return process.returncode
