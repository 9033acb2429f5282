"""pull, unpack and the initializer as processes, for every way in which a registry or the network can fail them.

After each: the right tree, or one sentence with a hint and nothing wrong to be seen; and the same command mends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.matrix import FETCHING, MIB, Kit, Road, combined, patience, publish, write_kit
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.server import RunningRegistry
from kitcar.testing.proxy import Action, Alter, Answer, Cut, Drop, FaultProxy, Flip, Rule, Stall, Truncate

SIZE = 3 * MIB
AT = 2 * MIB
"""How far the model's layer comes before it is interrupted."""

LOST = 9 * MIB // 8
"""Bytes before the break that may have to travel twice: what was on its way into a buffer."""

LAYER, BLOBS, MANIFEST, ALL = "LAYER", "GET .*/blobs/", "GET .*/manifests/", "."
DENIED = Answer(401, {"WWW-Authenticate": 'Basic realm="r"'})
SLOW_DOWN = Answer(429, {"Retry-After": "1"})


@dataclass(frozen=True)
class Passing:
    """A fault that goes by; `resumed` if the layer goes on where it broke."""

    match: str
    action: Action
    times: int | None = 1
    resumed: bool = False


@dataclass(frozen=True)
class Lasting:
    """A fault that stays; `says` is in the reason, `hints` in the hint, `code` is the initializer's exit code."""

    match: str
    action: Action
    says: str
    code: int = 1
    hints: str = ""
    times: int | None = None
    by_digest: bool = False
    retries: int = 0


PASSING = {
    "cut": Passing(LAYER, Cut(AT), resumed=True),
    "reset": Passing(LAYER, Cut(AT, reset=True)),
    "truncated": Passing(LAYER, Truncate(AT), resumed=True),
    "stalled": Passing(LAYER, Stall(AT), resumed=True),
    "cut-every-time": Passing(LAYER, Cut(MIB), times=None, resumed=True),
    "cut-at-once": Passing(LAYER, Cut()),
    "unanswered": Passing(LAYER, Drop()),
    "silent": Passing(LAYER, Stall()),
    "slow-down": Passing(LAYER, SLOW_DOWN),
    "down": Passing(LAYER, Answer(503)),
    "broken": Passing(LAYER, Answer(500)),
    "bad-gateway": Passing(LAYER, Answer(502, {"Content-Type": "text/html"}, b"<html>no</html>")),
    "every-blob-down-once": Passing(BLOBS, Answer(503), times=1),
    "manifest-cut": Passing(MANIFEST, Cut(100)),
    "manifest-down": Passing(MANIFEST, Answer(503)),
    "manifest-slow-down": Passing(MANIFEST, SLOW_DOWN),
}
LASTING = {
    "cut": Lasting(LAYER, Cut(), "closed the connection", 75, retries=1),
    "reset": Lasting(LAYER, Cut(reset=True), "the connection to", 75),
    "truncated": Lasting(LAYER, Truncate(100), "ended after", 75),
    "stalled": Lasting(LAYER, Stall(), "did not answer in time", 75),
    "flipped-once": Lasting(LAYER, Flip(AT), "has the digest", times=1),
    "flipped-early": Lasting(LAYER, Flip(0), "has the digest"),
    "flipped-late": Lasting(LAYER, Flip(SIZE), "has the digest"),
    "every-blob-flipped": Lasting(BLOBS, Flip(10), "digest"),
    "longer": Lasting(LAYER, Answer(200, {}, b"x" * (SIZE + MIB)), "longer than"),
    "page-of-a-portal": Lasting(
        LAYER, Answer(200, {"Content-Type": "text/html"}, b"<html>log in</html>"), "bytes", retries=1
    ),
    "denied": Lasting(ALL, DENIED, "wants credentials"),
    "layer-denied": Lasting(LAYER, Answer(401), "401"),
    "forbidden": Lasting(ALL, Answer(403), "denies access"),
    "layer-forbidden": Lasting(LAYER, Answer(403), "denies access"),
    "layer-gone": Lasting(LAYER, Answer(404), "not found"),
    "manifest-gone": Lasting(MANIFEST, Answer(404), "found"),
    "slow-down": Lasting(LAYER, SLOW_DOWN, "asks to slow down", 75, "try again in 1 second"),
    "down": Lasting(LAYER, Answer(503), "503", 75, "try again later", retries=1),
    "everything-down": Lasting(ALL, Answer(503), "503", 75, "try again later"),
    "manifest-flipped": Lasting(MANIFEST, Flip(20), "digest"),
    "manifest-swapped": Lasting(MANIFEST, Answer(200, {}, b"OTHER"), "digest", by_digest=True),
    "manifest-of-another-digest": Lasting(
        MANIFEST, Alter(response={"Docker-Content-Digest": str(Digest.of(b"other"))}), "digest"
    ),
    "manifest-is-a-page": Lasting(MANIFEST, Answer(200, {"Content-Type": "text/html"}, b"<html>hi</html>"), "manifest"),
    "manifest-cut": Lasting(MANIFEST, Cut(100), "closed the connection", 75),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Kit]]:
    context = write_kit(tmp_path_factory.mktemp("context"), size=SIZE)
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running.address, publish(context, running.address)


@pytest.fixture
def road(published: tuple[str, Kit], tmp_path: Path) -> Iterator[Road]:
    address, kit = published
    host, _, port = address.partition(":")
    with FaultProxy(host, int(port)) as proxy:
        yield Road(address, proxy, kit, tmp_path)


def rule_for(road: Road, fault: Passing | Lasting) -> Rule:
    """The fault as a rule for this ModelKit."""
    match = f"GET .*/blobs/{road.kit.layer.digest}" if fault.match == LAYER else fault.match
    action = fault.action
    if action == Answer(200, {}, b"OTHER"):
        manifest = road.kit.manifest
        other = Manifest.build(manifest.config, manifest.layers[:1], artifact_type=manifest.artifact_type)
        action = Answer(200, {"Content-Type": other.media_type}, other.raw)
    return Rule(match, action, fault.times)


@pytest.mark.parametrize(("fault", "verb"), combined(PASSING, FETCHING))
def test_fetching_through_a_passing_fault_ends_well(road: Road, verb: str, fault: Passing) -> None:
    rule = rule_for(road, fault)
    road.proxy.rules.append(rule)
    road.environ = patience(rule.action, 3)
    ended = road.run(verb)
    assert ended.code == 0, ended.err
    assert rule.hits
    road.check_right(verb)
    if fault.resumed:
        ranges = [request.headers.get("range", "bytes=0-") for request in road.proxy.seen(rule.match)]
        starts = [int(text.removeprefix("bytes=").partition("-")[0]) for text in ranges]
        assert len(starts) >= 2
        assert starts[0] == 0
        assert starts[1] >= (AT - LOST if fault.times else MIB // 2)
        assert starts == sorted(set(starts))


@pytest.mark.parametrize(("fault", "verb"), combined(LASTING, FETCHING))
def test_fetching_through_a_lasting_fault_says_so_shows_nothing_wrong_and_is_mended_by_running_again(
    road: Road, verb: str, fault: Lasting
) -> None:
    road.proxy.rules.append(rule_for(road, fault))
    road.environ = patience(fault.action, fault.retries)
    (road.folder / "termination-log").touch()
    name = road.name.removesuffix(":v1") + f"@{road.kit.descriptor.digest}" if fault.by_digest else road.name
    ended = road.run(verb, name)
    assert fault.says in ended.reason
    assert fault.hints in ended.hint
    assert ended.code == (fault.code if verb == "initializer" else 1)
    if verb == "initializer":
        assert (road.folder / "termination-log").read_text() == f"{ended.reason}\nHint: {ended.hint}"
    road.check_nothing_wrong(verb)
    road.proxy.rules.clear()
    again = road.again(verb)
    assert again.code == 0, again.err
    road.check_right(verb)
