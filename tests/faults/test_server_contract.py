"""kitcar's own client against its own registry: every contract, over a real socket."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.server import RunningRegistry
from kitcar.testing import contracts

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def repository(registry: RunningRegistry, name: str) -> Repository:
    return Repository(Reference(registry.address, name), connection=Connection(plain_http=True))


class TestRepositoryOverTheEmbeddedRegistry(contracts.StoreContract, contracts.MounterContract):
    @pytest.fixture
    def target(self, registry: RunningRegistry) -> Repository:
        return repository(registry, f"contract/{next(_NUMBERS)}")

    @pytest.fixture
    def origin_name(self) -> str:
        return f"origin/{next(_NUMBERS)}"

    @pytest.fixture
    def origin(self, registry: RunningRegistry, origin_name: str) -> Repository:
        return repository(registry, origin_name)
