"""The matrix of faults and kills with a registry of another make: what resumes, resumes there too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registries
from harness.matrix import FETCHING, MIB, SENDING, Kit, Road, kill, patience, publish, resumable, write_kit
from kitcar.server import RunningRegistry
from kitcar.testing.proxy import Action, Answer, Cut, Drop, FaultProxy, Flip, Rule, Stall, Truncate

SIZE = 13 * MIB
AT = 5 * MIB
KEPT = 3 * MIB
FETCH_FAULTS: dict[str, tuple[Action, bool]] = {
    "cut": (Cut(AT), True),
    "truncated": (Truncate(AT), True),
    "stalled": (Stall(AT), True),
    "down": (Answer(503), False),
    "slow-down": (Answer(429, {"Retry-After": "0"}), False),
}
SEND_FAULTS: dict[str, tuple[str, Action]] = {
    "send-cut": ("PATCH ", Cut(AT, of="request")),
    "send-reset": ("PATCH ", Cut(AT, of="request", reset=True)),
    "send-unanswered": ("PATCH ", Drop()),
    "send-down": ("PATCH ", Answer(503)),
    "send-flipped": ("PATCH ", Flip(AT, of="request")),
    "close-unanswered": ("PUT .*/uploads/", Drop()),
    "close-down": ("PUT .*/uploads/", Answer(503)),
    "look-down": ("HEAD ", Answer(503)),
    "manifest-unanswered": ("PUT .*/manifests/", Drop()),
}


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    context = write_kit(tmp_path_factory.mktemp("context"), size=SIZE)
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        return publish(context, running.address)


@pytest.fixture
def road(kit: Kit, docker_registry_binary: Path, tmp_path: Path) -> Iterator[Road]:
    with registries.docker_registry(docker_registry_binary, tmp_path / "docker-registry") as running:
        host, _, port = running.address.partition(":")
        with FaultProxy(host, int(port)) as proxy:
            yield Road(running.address, proxy, kit, tmp_path)


def offsets(road: Road) -> list[int]:
    asked = road.proxy.seen(f"GET .*/blobs/{road.kit.layer.digest}")
    return [int(item.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0]) for item in asked]


@pytest.mark.parametrize("verb", FETCHING)
@pytest.mark.parametrize("name", FETCH_FAULTS)
def test_fetching_from_docker_registry_through_a_fault_ends_well(road: Road, verb: str, name: str) -> None:
    publish(road.kit.context, road.registry)
    action, resumed = FETCH_FAULTS[name]
    rule = Rule(f"GET .*/blobs/{road.kit.layer.digest}", action)
    road.proxy.rules.append(rule)
    road.environ = patience(action, 3)
    ended = road.run(verb)
    assert ended.code == 0, ended.err
    assert rule.hits == 1
    road.check_right(verb)
    assert len(offsets(road)) == 2
    assert offsets(road)[1] >= (KEPT if resumed else 0)


@pytest.mark.parametrize("verb", SENDING)
@pytest.mark.parametrize("name", SEND_FAULTS)
def test_sending_to_docker_registry_through_a_fault_ends_well(road: Road, verb: str, name: str) -> None:
    road.prepare(verb)
    match, action = SEND_FAULTS[name]
    rule = Rule(match, action)
    road.proxy.rules.append(rule)
    road.environ = patience(action, 3)
    ended = road.run(verb)
    assert ended.code == 0, ended.err
    assert rule.hits == 1
    road.check_right(verb)
    if name in {"send-cut", "send-unanswered"}:
        # It is asked how far it came, and forgets an upload whose connection broke ("upload resumed at wrong offest").
        assert road.proxy.seen("GET .*/uploads/")
        assert len(road.proxy.seen("PATCH ")) == 2


@pytest.mark.parametrize("verb", FETCHING)
def test_fetching_from_docker_registry_killed_and_run_again_goes_on_where_it_was(road: Road, verb: str) -> None:
    publish(road.kit.context, road.registry)
    rule = Rule(f"GET .*/blobs/{road.kit.layer.digest}", Stall(AT), times=None)
    road.proxy.rules.append(rule)
    kill(road.start(verb), lambda: rule.hits > 0 and resumable(road.folder) >= KEPT)
    road.check_nothing_wrong(verb)
    road.proxy.rules.clear()
    assert road.again(verb).code == 0
    road.check_right(verb)
    assert offsets(road)[-1] >= KEPT


@pytest.mark.parametrize("verb", SENDING)
def test_sending_to_docker_registry_killed_and_run_again_ends_well(road: Road, verb: str) -> None:
    road.prepare(verb)
    rule = Rule("PATCH ", Stall(AT, of="request"), times=None)
    road.proxy.rules.append(rule)
    kill(road.start(verb), lambda: rule.hits > 0)
    road.proxy.rules.clear()
    road.check_nothing_wrong(verb)
    assert road.again(verb).code == 0
    road.check_right(verb)
