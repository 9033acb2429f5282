from __future__ import annotations

from pathlib import Path

import pytest

from kitcar.stores.layout import LayoutRepository, LayoutStore
from kitcar.testing import contracts


class TestLayoutRepository(contracts.StoreContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> LayoutRepository:
        return LayoutStore(tmp_path / "storage").repository("localhost/team/iris")
