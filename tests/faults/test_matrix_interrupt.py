"""Ctrl-C while the network stalls, and a registry that is nobody: every verb ends in order, and run again ends well."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.matrix import MIB, SENDING, Kit, Road, finish, publish, resumable, wait_until, write_kit
from kitcar.server import RunningRegistry
from kitcar.testing.proxy import FaultProxy, Rule, Stall

SIZE = 13 * MIB
AT = 5 * MIB
KEPT = 3 * MIB
"""Bytes of the layer that are on disk once `AT` bytes have come: one buffer may still be filling."""


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    context = write_kit(tmp_path_factory.mktemp("context"), size=SIZE)
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        return publish(context, running.address)


@pytest.fixture
def road(kit: Kit, embedded_registry: RunningRegistry, tmp_path: Path) -> Iterator[Road]:
    host, _, port = embedded_registry.address.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield Road(embedded_registry.address, proxy, kit, tmp_path)


@pytest.mark.parametrize("verb", ["pull", "unpack", "push", "push-directory"])
def test_command_that_is_interrupted_while_the_network_stalls_ends_and_run_again_ends_well(
    road: Road, verb: str
) -> None:
    if verb in SENDING:
        road.prepare(verb)
        stall = Rule("PATCH .*/uploads/", Stall(AT, of="request"), times=None)
        others, kept = len(road.kit.manifest.layers) - 1, 0
    else:
        publish(road.kit.context, road.registry)
        stall = Rule(f"GET .*/blobs/{road.kit.layer.digest}", Stall(AT), times=None)
        others, kept = 0, KEPT
    road.proxy.rules.append(stall)
    process = road.start(verb)
    try:
        wait_until(lambda: stall.hits > 0 and resumable(road.folder) >= kept, process)
        wait_until(lambda: len(road.proxy.seen("PUT .*/uploads/")) >= others, process)
    finally:
        process.send_signal(signal.SIGINT)
        ended = finish(process)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    road.proxy.rules.clear()
    road.check_nothing_wrong(verb)
    again = road.again(verb)
    assert again.code == 0, again.err
    road.check_right(verb)


@pytest.mark.parametrize("verb", ["pull", "push-directory"])
def test_command_to_nobody_is_one_sentence_and_a_hint(road: Road, verb: str) -> None:
    road.proxy.stop()
    ended = road.run(verb)
    assert ended.code == 1
    assert "refuses connections" in ended.reason
    assert ended.hint
