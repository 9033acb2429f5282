"""Unit tests reach no network: whoever tries is told so at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

_REFUSED = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"})
_state = {"refuse": False}


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in _REFUSED and _state["refuse"]:
        raise RuntimeError(f"a unit test must not use the network ({event})")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Refuses addresses and connections while a unit test runs."""
    _state["refuse"] = True
    yield
    _state["refuse"] = False
