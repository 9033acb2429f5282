"""kitcar's client against Docker's own registry and go-containerregistry's: the contracts they can keep."""

from __future__ import annotations

import itertools

import pytest

from harness.processes import Server
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.testing import contracts

_NUMBERS = itertools.count()


def repository(server: Server, name: str) -> Repository:
    return Repository(Reference(server.address, name), connection=Connection(plain_http=True))


class TestRepositoryOverDockerRegistry(contracts.StoreContract, contracts.MounterContract):
    @pytest.fixture
    def target(self, docker_registry: Server) -> Repository:
        return repository(docker_registry, f"contract/{next(_NUMBERS)}")

    @pytest.fixture
    def origin_name(self) -> str:
        return f"origin/{next(_NUMBERS)}"

    @pytest.fixture
    def origin(self, docker_registry: Server, origin_name: str) -> Repository:
        return repository(docker_registry, origin_name)


class TestRepositoryOverCraneRegistry(
    contracts.TargetContract,
    contracts.IngesterContract,
    contracts.TagListerContract,
):
    """It refuses open ranges, and its referrers have the media type of their config for an artifact type."""

    @pytest.fixture
    def target(self, crane_registry: Server) -> Repository:
        return repository(crane_registry, f"contract/{next(_NUMBERS)}")
