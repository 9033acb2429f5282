"""Each kit of the corpus, unpacked from kit's own storage, gives the tree that kit unpacked."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.corpus import Case
from kitcar.deliver import DeliverOptions, Existing, deliver
from kitcar.modelkit.kit import read_kit
from kitcar.oci.digest import Digest
from kitcar.sources.kit import KitSource
from kitcar.stores.layout import LayoutStore


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def source(case: Case) -> KitSource:
    name, _, tag = case.reference.rpartition(":")
    repository = LayoutStore(case.storage).repository(name)
    return KitSource(repository, read_kit(repository, repository.resolve(tag)))


def unpacked(root: Path) -> dict[str, tuple[int, str | None]]:
    found: dict[str, tuple[int, str | None]] = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        found[str(path.relative_to(root))] = (
            mode,
            Digest.of(path.read_bytes()).encoded if stat.S_ISREG(mode) else None,
        )
    return found


def test_corpus_unpacked_gives_the_tree_that_kit_gave(corpus_case: Case, tmp_path: Path) -> None:
    lines: list[str] = []
    deliver(source(corpus_case), tmp_path / "out", DeliverOptions(log=lines.append))
    assert unpacked(tmp_path / "out") == corpus_case.unpacked
    printed = corpus_case.command("unpack").stdout.replace("$BASE", str(tmp_path)).replace("model  to", "model to")
    assert ["Unpacking to " + str(tmp_path / "out"), *lines] == printed.splitlines()


@pytest.mark.parametrize("existing", list(Existing))
def test_corpus_unpacked_twice_fetches_nothing_the_second_time(
    corpus_case: Case, tmp_path: Path, existing: Existing
) -> None:
    deliver(source(corpus_case), tmp_path / "out")
    report = deliver(source(corpus_case), tmp_path / "out", DeliverOptions(existing=existing))
    assert report.bytes_fetched == 0
    assert report.kept == 0
    assert unpacked(tmp_path / "out") == corpus_case.unpacked
