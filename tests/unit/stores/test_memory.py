from __future__ import annotations

import pytest

from kitcar.errors import NotFoundError
from kitcar.stores.memory import MemoryStore
from kitcar.testing import contracts
from kitcar.testing.samples import sample


class TestMemoryStore(contracts.StoreContract):
    @pytest.fixture
    def target(self) -> MemoryStore:
        return MemoryStore()


def test_untag_forgets_the_tag_and_keeps_the_manifest() -> None:
    store = MemoryStore()
    kit = sample(b"layer")
    kit.push(store, "v1", "v2")
    store.untag("v1")
    assert list(store.tags()) == ["v2"]
    assert store.exists(kit.descriptor)
    with pytest.raises(NotFoundError):
        store.untag("v1")
