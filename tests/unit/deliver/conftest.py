"""What all tests of deliveries need."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The usual umask, whatever the user's."""
    before = os.umask(0o022)
    yield
    os.umask(before)
