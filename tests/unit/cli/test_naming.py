"""References as arguments."""

from __future__ import annotations

import pytest

from kitcar.cli import naming
from kitcar.errors import InvalidError


@pytest.mark.parametrize("scheme", ["", "kit://", "oci://"])
def test_reference_behind_a_scheme_is_the_reference(scheme: str) -> None:
    assert str(naming.one(f"{scheme}r.io/team/iris:v1")) == "r.io/team/iris:v1"
    assert str(naming.named(f"{scheme}r.io/team/iris:v1")) == "r.io/team/iris:v1"
    assert naming.several(f"{scheme}iris:v1,v2", what="")[1] == ("v2",)


@pytest.mark.parametrize("text", ["s3://bucket/key", "kit://kit://iris", "kit://oci://iris", "kit://", "KIT://iris"])
def test_reference_behind_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        naming.one(text)
