"""Every verb killed with SIGKILL at several points, and the same command again: the right result, and no leftovers."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.matrix import FETCHING, MIB, SENDING, Kit, Road, kill, largest, publish, resumable, wait_until, write_kit
from kitcar.server import RunningRegistry
from kitcar.testing.proxy import Action, FaultProxy, Rule, Stall

SIZE = 13 * MIB
AT = 5 * MIB
KEPT = 3 * MIB
"""Bytes of the layer that are on disk once `AT` bytes have come: one buffer may still be filling."""

CONFIG, LAYER = "CONFIG", "LAYER"


@dataclass(frozen=True)
class Point:
    """Where a transfer stands still to be killed; `kept` bytes of the layer are on disk by then."""

    match: str
    action: Action
    kept: int = 0


FETCH_POINTS = {
    "at-the-manifest": Point("GET .*/manifests/", Stall()),
    "at-the-config": Point(CONFIG, Stall()),
    "before-the-layer": Point(LAYER, Stall()),
    "in-the-layer": Point(LAYER, Stall(AT), KEPT),
    "at-the-last-byte-of-the-layer": Point(LAYER, Stall(SIZE), KEPT),
}
SEND_POINTS = {
    "before-the-layer": Point("POST .*/uploads/", Stall(of="request")),
    "in-the-layer": Point("PATCH .*/uploads/", Stall(AT, of="request")),
    "at-the-end-of-the-layer": Point(LAYER, Stall(of="request")),
    "at-the-config": Point(CONFIG, Stall(of="request")),
    "at-the-manifest": Point("PUT .*/manifests/", Stall(of="request")),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Kit]]:
    context = write_kit(tmp_path_factory.mktemp("context"), size=SIZE)
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running.address, publish(context, running.address)


@pytest.fixture
def road(published: tuple[str, Kit], tmp_path: Path) -> Iterator[Road]:
    """A way to the registry that has the ModelKit."""
    address, kit = published
    host, _, port = address.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield Road(address, proxy, kit, tmp_path)


@pytest.fixture
def empty_road(published: tuple[str, Kit], embedded_registry: RunningRegistry, tmp_path: Path) -> Iterator[Road]:
    """A way to a registry that has nothing."""
    host, _, port = embedded_registry.address.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield Road(embedded_registry.address, proxy, published[1], tmp_path)


def rule_for(road: Road, point: Point) -> Rule:
    """The point as a rule for this ModelKit."""
    digests = {CONFIG: road.kit.manifest.config.digest, LAYER: road.kit.layer.digest}
    match = point.match
    if match in digests:
        match = f"{'PUT .*digest=' if point in SEND_POINTS.values() else 'GET .*/blobs/'}{digests[match]}"
    return Rule(match, point.action, times=None)


def offsets(road: Road) -> list[int]:
    """Where the requests for the model's layer begin."""
    asked = road.proxy.seen(f"GET .*/blobs/{road.kit.layer.digest}")
    ranges = [request.headers.get("range", "bytes=0-") for request in asked]
    return [int(text.removeprefix("bytes=").partition("-")[0]) for text in ranges]


@pytest.mark.parametrize("verb", FETCHING)
@pytest.mark.parametrize("point", FETCH_POINTS.values(), ids=FETCH_POINTS.keys())
def test_fetching_killed_and_run_again_goes_on_where_it_was(road: Road, verb: str, point: Point) -> None:
    rule = rule_for(road, point)
    road.proxy.rules.append(rule)
    kill(road.start(verb), lambda: rule.hits > 0 and resumable(road.folder) >= point.kept)
    road.check_nothing_wrong(verb)
    road.proxy.rules.clear()
    road.proxy.requests.clear()
    again = road.again(verb)
    assert again.code == 0, again.err
    road.check_right(verb)
    assert len(offsets(road)) == 1
    assert offsets(road)[0] >= point.kept


@pytest.mark.parametrize("verb", FETCHING)
def test_fetching_killed_again_and_again_comes_on_each_time(road: Road, verb: str) -> None:
    rule = Rule(f"GET .*/blobs/{road.kit.layer.digest}", Stall(AT), times=None)
    road.proxy.rules.append(rule)
    for turn in (1, 2):
        kill(road.start(verb), lambda turn=turn: rule.hits == turn and resumable(road.folder) >= turn * KEPT)  # type: ignore[misc]
        road.check_nothing_wrong(verb)
    road.proxy.rules.clear()
    again = road.again(verb)
    assert again.code == 0, again.err
    road.check_right(verb)
    assert offsets(road)[0] == 0
    assert [offset >= turn * KEPT for turn, offset in enumerate(offsets(road))] == [True] * 3


@pytest.mark.parametrize("verb", SENDING)
@pytest.mark.parametrize("point", SEND_POINTS.values(), ids=SEND_POINTS.keys())
def test_sending_killed_and_run_again_ends_well(empty_road: Road, verb: str, point: Point) -> None:
    road = empty_road
    road.prepare(verb)
    rule = rule_for(road, point)
    road.proxy.rules.append(rule)
    kill(road.start(verb), lambda: rule.hits > 0)
    road.proxy.rules.clear()
    road.check_nothing_wrong(verb)
    road.proxy.requests.clear()
    again = road.again(verb)
    assert again.code == 0, again.err
    road.check_right(verb)
    if verb == "push" and rule.match.startswith("PUT .*/manifests/"):
        assert not road.proxy.seen("(PATCH|PUT|POST) .*/uploads/")


def writing(road: Road, size: int) -> Callable[[], bool]:
    """Whether a pack has written so much of a layer."""
    return lambda: largest(road.home / "storage" / "ingest") >= size


@pytest.mark.parametrize("size", [1, 8 * MIB, 64 * MIB])
def test_pack_killed_while_it_writes_a_layer_and_run_again_ends_well(road: Road, tmp_path: Path, size: int) -> None:
    with RunningRegistry(tmp_path / "other") as other:
        road.kit = big_kit(tmp_path / "big", other.address)
    kill(road.start("pack"), writing(road, size))
    road.check_nothing_wrong("pack")
    assert road.again("pack").code == 0
    road.check_store("iris:v1")


def test_pack_killed_before_it_shows_a_layer_and_run_again_ends_well(road: Road, tmp_path: Path) -> None:
    with RunningRegistry(tmp_path / "other") as other:
        road.kit = big_kit(tmp_path / "big", other.address)
    process = road.start("pack")
    wait_until(writing(road, 1), process)
    with (road.home / "storage" / ".kitcar" / "lock").open("rb") as lock:
        # Nothing becomes a blob while somebody else holds the store.
        fcntl.flock(lock, fcntl.LOCK_EX)
        kill(process, writing(road, road.kit.layer.size))
    road.check_nothing_wrong("pack")
    assert road.again("pack").code == 0
    road.check_store("iris:v1")


def big_kit(context: Path, address: str) -> Kit:
    """A kit whose model takes a while to be packed, though little of the disk."""
    write_kit(context, size=0)
    with (context / "model.bin").open("wb") as file:
        file.truncate(192 * MIB)
    return publish(context, address)
