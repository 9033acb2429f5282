"""What a delivery is told by the environment."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from harness.delivery import MIB, run
from kitcar.deliver import Limits
from kitcar.errors import InvalidError
from kitcar.oci.digest import Digest
from kitcar.sources.source import SingleFile
from kitcar.testing.parts import BytesPart, tree


def zeros(size: int) -> BytesPart:
    """A file of zeros, a thousandth of its size as gzip."""
    return BytesPart(gzip.compress(bytes(size)), SingleFile("m", 0o644, "gzip", Digest.of(bytes(size))))


def test_limits_of_the_environment_are_the_usual_ones_unless_it_says_otherwise() -> None:
    assert Limits.from_environment({}) == Limits.from_environment({"KITCAR_EXPANSION": ""}) == Limits()
    assert Limits.from_environment({"KITCAR_EXPANSION": "2000"}) == Limits(expansion=2000)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "9" * 19, "²"])
def test_limits_of_the_environment_without_meaning_are_refused(value: str) -> None:
    with pytest.raises(InvalidError, match="KITCAR_EXPANSION is"):
        Limits.from_environment({"KITCAR_EXPANSION": value})


def test_deliver_layer_that_expands_far_arrives_where_the_environment_allows_it(tmp_path: Path) -> None:
    size = 65 * MIB
    with pytest.raises(InvalidError, match="expands to more than") as caught:
        run(tmp_path, zeros(size), limits=Limits.from_environment({}))
    assert "KITCAR_EXPANSION" in str(caught.value.hint)
    assert tree(tmp_path) == {}
    run(tmp_path, zeros(size), limits=Limits.from_environment({"KITCAR_EXPANSION": "2000"}))
    assert (tmp_path / "m").stat().st_size == size
