"""Unit tests reach no network, whoever tries is told so at once; and they wait for no disk."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_REFUSED = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"})
_state = {"refuse": False}
_MEMORY = Path("/dev/shm")
_ROOM = 1 << 30


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


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the machine has one with room: what is stored for good need not wait for a disk here."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix=f"{tmp_path.name}-", dir=_MEMORY) as folder:
        yield Path(folder)
