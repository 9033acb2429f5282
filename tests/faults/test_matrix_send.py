"""push from storage, push DIRECTORY and pack --push as processes, for every way in which a registry can fail them.

After each: the same tree comes back out of the registry, or one sentence with a hint and no manifest to be seen; and the
same command mends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.matrix import MIB, SENDING, Kit, Road, combined, patience, publish, write_kit
from kitcar.server import RunningRegistry
from kitcar.testing.proxy import Action, Answer, Cut, Drop, FaultProxy, Flip, Rule, Stall

SIZE = 5 * MIB
AT = 3 * MIB
"""How much of the model's layer is sent before it is interrupted."""

LOST = 9 * MIB // 8
"""Bytes before the break that may have to travel twice: what the server had not taken in yet."""

ANY, BEGIN, SEND, CLOSE = ".", "POST .*/uploads/", "PATCH .*/uploads/", "PUT .*/uploads/"
HEAD, MANIFEST = "HEAD .*/blobs/", "PUT .*/manifests/"
DENIED = Answer(401, {"WWW-Authenticate": 'Basic realm="r"'})
SLOW_DOWN = Answer(429, {"Retry-After": "1"})


@dataclass(frozen=True)
class Passing:
    """A fault that goes by. `sent` is how many bytes of the layer travel again at most; None: whatever is needed."""

    match: str
    action: Action
    sent: int | None = None
    times: int = 1


@dataclass(frozen=True)
class Lasting:
    """A fault that stays; `says` is in what is printed."""

    match: str
    action: Action
    says: str
    hints: str = ""
    retries: int = 0


PASSING = {
    "begin-down": Passing(BEGIN, Answer(503)),
    "begin-slow-down": Passing(BEGIN, SLOW_DOWN),
    "begin-unanswered": Passing(BEGIN, Drop()),
    "send-cut": Passing(SEND, Cut(AT, of="request"), sent=SIZE - AT + LOST),
    "send-reset": Passing(SEND, Cut(AT, of="request", reset=True), sent=SIZE - AT + LOST),
    "send-cut-twice": Passing(SEND, Cut(AT // 2, of="request"), sent=2 * (SIZE - AT // 2 + LOST), times=2),
    "send-cut-at-once": Passing(SEND, Cut(of="request")),
    "send-down": Passing(SEND, Answer(503)),
    "send-slow-down": Passing(SEND, SLOW_DOWN),
    "send-unanswered": Passing(SEND, Drop(), sent=0),
    "send-flipped": Passing(SEND, Flip(AT, of="request")),
    "close-down": Passing(CLOSE, Answer(503)),
    "close-slow-down": Passing(CLOSE, SLOW_DOWN),
    "close-reset": Passing(CLOSE, Cut(of="request", reset=True)),
    "close-unanswered": Passing(CLOSE, Drop()),
    "close-of-all-unanswered": Passing(CLOSE, Drop(), times=3),
    "close-of-the-layer-unanswered": Passing("LAYER", Drop(), sent=0),
    "close-of-the-layer-down": Passing("LAYER", Answer(503), sent=0),
    "look-down": Passing(HEAD, Answer(503)),
    "look-cut": Passing(HEAD, Drop()),
    "look-slow-down": Passing(HEAD, SLOW_DOWN),
    "manifest-down": Passing(MANIFEST, Answer(503)),
    "manifest-slow-down": Passing(MANIFEST, SLOW_DOWN),
    "manifest-unanswered": Passing(MANIFEST, Drop()),
    "manifest-reset": Passing(MANIFEST, Cut(of="request", reset=True)),
}
LASTING = {
    "begin-denied": Lasting(BEGIN, DENIED, "got response 401 (Unauthorized)", "kitcar login"),
    "everything-denied": Lasting(ANY, DENIED, "401", "kitcar login"),
    "begin-forbidden": Lasting(BEGIN, Answer(403), "got response 403 (Forbidden)", "denies access"),
    "begin-of-no-repository": Lasting(BEGIN, Answer(404), "not found"),
    "begin-not-allowed": Lasting(BEGIN, Answer(405), "got response 405"),
    "begin-down": Lasting(BEGIN, Answer(503), "got response 503", "try again later", retries=1),
    "begin-slow-down": Lasting(BEGIN, SLOW_DOWN, "got response 429", "try again in 1 second"),
    "send-cut": Lasting(SEND, Cut(of="request"), "the connection to", retries=1),
    "send-too-large": Lasting(SEND, Answer(413), "got response 413", "limits the size"),
    "send-flipped": Lasting(SEND, Flip(AT, of="request"), "does not have the digest"),
    "send-down": Lasting(SEND, Answer(503), "got response 503", "try again later"),
    "close-down": Lasting(CLOSE, Answer(503), "got response 503", "try again later"),
    "close-refused": Lasting(CLOSE, Answer(400), "got response 400"),
    "close-reset": Lasting(CLOSE, Cut(of="request", reset=True), "the connection to"),
    "look-down": Lasting(HEAD, Answer(503), "got response 503", "try again later"),
    "look-denied": Lasting(HEAD, DENIED, "got response 401", "kitcar login"),
    "look-cut": Lasting(HEAD, Drop(), "the connection to"),
    "manifest-down": Lasting(MANIFEST, Answer(503), "got response 503", "try again later"),
    "manifest-refused": Lasting(MANIFEST, Answer(400), "got response 400"),
    "manifest-forbidden": Lasting(MANIFEST, Answer(403), "got response 403"),
    "manifest-unanswered-and-lost": Lasting(MANIFEST, Cut(of="request"), "the connection to"),
}


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


def rule_for(road: Road, fault: Passing | Lasting, times: int | None) -> Rule:
    """The fault as a rule for this ModelKit."""
    match = f"PUT .*digest={road.kit.layer.digest}" if fault.match == "LAYER" else fault.match
    return Rule(match, fault.action, times)


def sent_again(road: Road) -> int:
    """Bytes of the model's layer that were announced in requests after the first."""
    sizes = [int(request.headers["content-length"]) for request in road.proxy.seen(SEND)]
    assert sizes[0] == road.kit.layer.size
    return sum(sizes[1:])


@pytest.mark.parametrize(("fault", "verb"), combined(PASSING, SENDING))
def test_sending_through_a_passing_fault_ends_well(road: Road, verb: str, fault: Passing) -> None:
    road.prepare(verb)
    rule = rule_for(road, fault, fault.times)
    road.proxy.rules.append(rule)
    road.environ = patience(fault.action, 3)
    ended = road.run(verb)
    assert ended.code == 0, ended.err
    assert rule.hits == fault.times
    road.check_right(verb)
    if fault.sent is not None:
        assert sent_again(road) <= fault.sent
        assert road.proxy.seen("GET .*/uploads/")


@pytest.mark.parametrize(("fault", "verb"), combined(LASTING, SENDING))
def test_sending_through_a_lasting_fault_says_so_shows_nothing_and_is_mended_by_running_again(
    road: Road, verb: str, fault: Lasting
) -> None:
    road.prepare(verb)
    rule = rule_for(road, fault, None)
    road.proxy.rules.append(rule)
    road.environ = patience(fault.action, fault.retries)
    ended = road.run(verb)
    assert fault.says in ended.reason
    assert fault.hints in ended.hint
    assert ended.code == 1
    assert rule.hits
    road.proxy.rules.clear()
    road.check_nothing_wrong(verb)
    again = road.again(verb)
    assert again.code == 0, again.err
    road.check_right(verb)


@pytest.mark.parametrize("verb", ["push", *(pytest.param(verb, marks=pytest.mark.expensive) for verb in SENDING[1:])])
def test_sending_to_a_registry_that_stands_still_ends(
    embedded_registry: RunningRegistry, tmp_path: Path, verb: str
) -> None:
    context = write_kit(tmp_path / "context", size=0)
    # More than the kernel takes without anybody reading.
    with (context / "model.bin").open("wb") as file:
        file.truncate(32 * MIB)
    with RunningRegistry(tmp_path / "elsewhere") as elsewhere:
        kit = publish(context, elsewhere.address)
    host, _, port = embedded_registry.address.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        road = Road(embedded_registry.address, proxy, kit, tmp_path)
        road.prepare(verb)
        rule = Rule(SEND, Stall(MIB, of="request"), times=None)
        proxy.rules.append(rule)
        road.environ = patience(rule.action, 0)
        ended = road.run(verb)
        assert ended.code == 1
        assert "did not answer in time" in ended.reason
        proxy.rules[:] = [Rule(SEND, Stall(MIB, of="request"), times=1)]
        road.environ = patience(rule.action, 1)
        assert road.run(verb).code == 0
        road.check_right(verb)
