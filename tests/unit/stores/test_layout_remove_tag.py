"""Removing a tag in one step, beside others that tag and store the same artifact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kitcar.errors import NotFoundError
from kitcar.oci.copy import copy
from kitcar.stores.layout import LayoutStore
from kitcar.stores.memory import MemoryStore
from kitcar.testing.samples import sample

NAME = "localhost/iris"

STORES_AND_WAITS = """
import sys
from pathlib import Path
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import sample
repository = LayoutStore(Path(sys.argv[1])).repository("localhost/iris")
kit = sample(b"layer")
kit.push(repository)
print("stored", flush=True)
sys.stdin.readline()
repository.tag(kit.descriptor, "mine")
"""


def test_remove_of_one_of_several_tags_leaves_the_manifest(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    kit = sample(b"layer")
    kit.push(store.repository(NAME), "v1", "v2")
    assert store.repository(NAME).remove("v1") == kit.descriptor
    assert list(store.repository(NAME).tags()) == ["v2"]
    assert store.intact(kit.layers[0])


def test_remove_of_the_last_tag_takes_manifest_and_blobs(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path)
    kit = sample(b"layer")
    kit.push(store.repository(NAME), "v1")
    store.repository(NAME).remove("v1")
    assert store.repositories() == []
    assert not store.intact(kit.layers[0])
    assert not store.intact(kit.descriptor)


def test_remove_of_a_tag_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="tag v1"):
        LayoutStore(tmp_path).repository(NAME).remove("v1")


def test_remove_leaves_a_manifest_that_another_process_is_about_to_tag(tmp_path: Path) -> None:
    kit = sample(b"layer")
    kit.push(LayoutStore(tmp_path).repository(NAME), "v1")
    with subprocess.Popen(
        [sys.executable, "-c", STORES_AND_WAITS, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "stored\n"
        LayoutStore(tmp_path).repository(NAME).remove("v1")
        other.communicate("go\n")
    assert other.returncode == 0
    store = LayoutStore(tmp_path)
    assert list(store.repository(NAME).tags()) == ["mine"]
    assert store.intact(kit.layers[0])


def test_copy_stores_a_manifest_again_that_was_removed_before_it_was_tagged() -> None:
    class Losing(MemoryStore):
        """Loses the manifest once, just before it is tagged."""

        lost = False

        def tag(self, descriptor, tag):  # type: ignore[no-untyped-def]
            if not self.lost:
                self.lost = True
                self.delete(descriptor)
            super().tag(descriptor, tag)

    source, target = MemoryStore(), Losing()
    kit = sample(b"layer")
    kit.push(source, "v1")
    copy(source, target, kit.descriptor, tags=("v1",))
    assert target.lost
    assert target.resolve("v1") == kit.descriptor
