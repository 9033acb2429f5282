# ruff: noqa: D102 - a test's name is its sentence
"""Contract suites: what every place that holds content must do.

Subclass one in a test module, under a name that starts with `Test`, and give it the fixture `target`: a fresh repository.
Its blobs may be shared with other repositories. The suites need pytest and nothing of the network.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from kitcar.errors import IntegrityError, InvalidError, NotFoundError
from kitcar.oci import media
from kitcar.oci.copy import copy
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Index
from kitcar.oci.progress import Event, Step
from kitcar.oci.storage import (
    BytesContent,
    Deleter,
    Ingester,
    Mounter,
    RangeFetcher,
    Reader,
    ReferrerLister,
    TagLister,
    Target,
)
from kitcar.oci.verify import fetch_all
from kitcar.stores.memory import MemoryStore
from kitcar.testing.samples import ARTIFACT_TYPE, CONFIG_TYPE, LAYER_TYPE, ChunkStream, noise, sample, with_raw

_BIG = 5 * 1024 * 1024 + 17


class RangeTarget(Target, RangeFetcher, Protocol):
    """What `RangeContract` asks for."""


class IngestTarget(Target, Ingester, Protocol):
    """What `IngesterContract` asks for."""


class TagTarget(Target, TagLister, Protocol):
    """What `TagListerContract` asks for."""


class ReferrerTarget(Target, ReferrerLister, Protocol):
    """What `ReferrerListerContract` asks for."""


class DeleteTarget(Target, Deleter, Protocol):
    """What `DeleterContract` asks for."""


class MountTarget(Target, Mounter, Protocol):
    """What `MounterContract` asks for."""


class TargetContract:
    """`Fetcher`, `Storage`, `Resolver`, `Target` and `copy` over them."""

    def test_exists_of_unknown_blob_is_false(self, target: Target) -> None:
        assert not target.exists(Descriptor.of(LAYER_TYPE, b"never stored"))

    @pytest.mark.parametrize("size", [1, 4096, _BIG])
    def test_push_of_blob_then_fetch_gives_its_bytes(self, target: Target, size: int) -> None:
        data = noise(size)
        blob = Descriptor.of(LAYER_TYPE, data)
        target.push(blob, BytesContent(data))
        assert target.exists(blob)
        assert read(target.fetch(blob)) == data

    def test_push_of_same_blob_again_changes_nothing(self, target: Target) -> None:
        blob = Descriptor.of(LAYER_TYPE, b"twice")
        target.push(blob, BytesContent(b"twice"))
        target.push(blob, BytesContent(b"twice"))
        assert read(target.fetch(blob)) == b"twice"

    @pytest.mark.parametrize(
        "wrong",
        [b"other bytes!", b"promised", b"promised bytes and more", b""],
        ids=["other", "short", "long", "empty"],
    )
    def test_push_of_wrong_bytes_is_refused_and_shows_nothing(self, target: Target, wrong: bytes) -> None:
        blob = Descriptor(LAYER_TYPE, Digest.of(b"promised bytes"), 14 if wrong != b"other bytes!" else 12)
        with pytest.raises(IntegrityError):
            target.push(blob, BytesContent(wrong))
        assert not target.exists(blob)

    def test_push_of_wrong_big_blob_then_right_one_succeeds(self, target: Target) -> None:
        data = noise(_BIG, seed=1)
        blob = Descriptor.of(LAYER_TYPE, data)
        with pytest.raises(IntegrityError):
            target.push(blob, BytesContent(data[:-1] + bytes([data[-1] ^ 1])))
        assert not target.exists(blob)
        target.push(blob, BytesContent(data))
        assert read(target.fetch(blob)) == data

    def test_fetch_of_unknown_content_raises_not_found(self, target: Target) -> None:
        for media_type in (LAYER_TYPE, media.MANIFEST):
            with pytest.raises(NotFoundError):
                read(target.fetch(Descriptor.of(media_type, b"never stored")))

    def test_manifest_resolves_by_digest_and_tag(self, target: Target) -> None:
        kit = sample(b"layer")
        kit.push(target, "v1")
        assert target.resolve("v1") == kit.descriptor
        assert target.resolve(str(kit.descriptor.digest)) == kit.descriptor
        assert target.exists(kit.descriptor)

    def test_manifest_keeps_every_byte_of_its_spelling(self, target: Target) -> None:
        kit = sample(b"layer")
        odd = with_raw(kit, json.dumps(kit.manifest.document(), indent=3).encode() + b"\n")
        odd.push(target, "odd")
        assert fetch_all(target, target.resolve("odd")) == odd.manifest.raw

    def test_manifest_of_unknown_digest_is_not_there(self, target: Target) -> None:
        sample(b"layer").push(target, "v1")
        other = sample(b"another layer").descriptor
        assert not target.exists(other)
        with pytest.raises(NotFoundError):
            target.resolve(str(other.digest))

    def test_resolve_of_unknown_tag_raises_not_found(self, target: Target) -> None:
        sample(b"layer").push(target, "v1")
        with pytest.raises(NotFoundError):
            target.resolve("v2")

    def test_tag_on_another_manifest_moves(self, target: Target) -> None:
        first, second = sample(b"first"), sample(b"second")
        first.push(target, "latest", "first")
        second.push(target, "latest")
        assert target.resolve("latest") == second.descriptor
        assert target.resolve("first") == first.descriptor

    def test_tag_of_unknown_manifest_raises_not_found(self, target: Target) -> None:
        with pytest.raises(NotFoundError):
            target.tag(sample(b"never stored").descriptor, "v1")

    @pytest.mark.parametrize("tag", ["", "!bad", ".dot", "a" * 129, "a b", "sha256:" + "0" * 64])
    def test_tag_that_is_malformed_is_refused(self, target: Target, tag: str) -> None:
        kit = sample(b"layer")
        kit.push(target)
        with pytest.raises(InvalidError):
            target.tag(kit.descriptor, tag)

    def test_index_over_manifests_is_kept(self, target: Target) -> None:
        one, two = sample(b"one"), sample(b"two")
        index = Index.build((one.push(target), two.push(target)))
        target.push(index.descriptor, BytesContent(index.raw))
        target.tag(index.descriptor, "all")
        assert target.resolve("all") == index.descriptor
        assert fetch_all(target, index.descriptor) == index.raw

    def test_copy_there_and_back_loses_nothing(self, target: Target) -> None:
        source, back, kit = MemoryStore(), MemoryStore(), sample(noise(_BIG, seed=2), b"small", b"")
        kit.push(source)
        copy(source, target, kit.descriptor, tags=("v1", "v2"))
        copy(target, back, target.resolve("v2"))
        assert fetch_all(back, kit.descriptor) == kit.manifest.raw
        for blob, data in kit.blobs.items():
            assert read(back.fetch(blob)) == data

    def test_copy_twice_sends_nothing_again(self, target: Target) -> None:
        source, kit, events = MemoryStore(), sample(b"layer", b"another"), list[Event]()
        kit.push(source)
        copy(source, target, kit.descriptor)
        copy(source, _Watched(target, events.append), kit.descriptor)
        assert events == []

    def test_pushes_at_the_same_time_all_succeed(self, target: Target) -> None:
        kits = [sample(b"shared by all", noise(3000, seed)) for seed in range(6)]
        barrier = threading.Barrier(len(kits))

        def push(number: int) -> None:
            barrier.wait()
            kits[number].push(target, f"v{number}")

        with ThreadPoolExecutor(len(kits)) as pool:
            list(pool.map(push, range(len(kits))))
        assert [target.resolve(f"v{n}") for n in range(len(kits))] == [kit.descriptor for kit in kits]


class RangeContract:
    """`RangeFetcher`."""

    @pytest.mark.parametrize("offset", [0, 1, 4096, _BIG - 1])
    def test_fetch_range_gives_the_rest(self, target: RangeTarget, offset: int) -> None:
        data = noise(_BIG, seed=3)
        blob = Descriptor.of(LAYER_TYPE, data)
        target.push(blob, BytesContent(data))
        assert read(target.fetch_range(blob, offset)) == data[offset:]

    def test_fetch_range_of_unknown_blob_raises_not_found(self, target: RangeTarget) -> None:
        with pytest.raises(NotFoundError):
            read(target.fetch_range(Descriptor.of(LAYER_TYPE, b"never stored"), 3))


class IngesterContract:
    """`Ingester`."""

    @pytest.mark.parametrize("known", [True, False], ids=["size-known", "size-unknown"])
    @pytest.mark.parametrize("size", [0, 1, _BIG])
    def test_ingest_gives_digest_and_size(self, target: IngestTarget, size: int, known: bool) -> None:  # noqa: FBT001
        data = noise(size, seed=4)
        assert target.ingest(ChunkStream(data, known=known)) == (Digest.of(data), size)
        assert read(target.fetch(Descriptor.of(LAYER_TYPE, data))) == data

    def test_ingest_of_the_same_bytes_again_gives_the_same(self, target: IngestTarget) -> None:
        assert target.ingest(ChunkStream(b"bytes")) == target.ingest(ChunkStream(b"bytes"))

    def test_ingest_that_fails_shows_nothing(self, target: IngestTarget) -> None:
        class Failing(ChunkStream):
            def chunks(self, offset: int = 0):  # type: ignore[no-untyped-def]
                yield from super().chunks(offset)
                raise RuntimeError("the disk of the model is gone")

        with pytest.raises(RuntimeError):
            target.ingest(Failing(b"half a layer"))
        assert not target.exists(Descriptor.of(LAYER_TYPE, b"half a layer"))


class TagListerContract:
    """`TagLister`."""

    def test_tags_are_all_and_sorted(self, target: TagTarget) -> None:
        tags = [f"v{number}" for number in range(25)] + ["latest", "A"]
        sample(b"layer").push(target, *tags)
        assert list(target.tags()) == sorted(tags)


class ReferrerListerContract:
    """`ReferrerLister`."""

    def test_referrers_of_a_manifest_are_listed(self, target: ReferrerTarget) -> None:
        subject = sample(b"layer").push(target, "v1")
        other = sample(b"other").push(target)
        signature = sample(b"sig", subject=subject, artifact_type="application/vnd.sig", annotations={"by": "me"})
        statement = sample(b"att", subject=subject, artifact_type="application/vnd.att")
        for referrer in (signature, statement, sample(b"x", subject=other)):
            referrer.push(target)
        found = target.referrers(subject)
        assert {item.digest for item in found} == {signature.descriptor.digest, statement.descriptor.digest}
        (entry,) = target.referrers(subject, "application/vnd.sig")
        assert entry == signature.descriptor
        assert entry.artifact_type == "application/vnd.sig"
        assert entry.annotations == {"by": "me"}

    def test_referrer_without_artifact_type_has_that_of_its_config(self, target: ReferrerTarget) -> None:
        subject = sample(b"layer").push(target)
        sample(b"sig", subject=subject, artifact_type="").push(target)
        assert [item.artifact_type for item in target.referrers(subject)] == [CONFIG_TYPE]

    def test_manifest_that_nothing_refers_to_has_no_referrers(self, target: ReferrerTarget) -> None:
        subject = sample(b"layer").push(target, "v1")
        assert target.referrers(subject) == ()
        assert target.referrers(subject, ARTIFACT_TYPE) == ()


class DeleterContract:
    """`Deleter`."""

    def test_delete_of_manifest_takes_its_tags_along(self, target: DeleteTarget) -> None:
        gone, kept = sample(b"gone"), sample(b"kept")
        gone.push(target, "v1", "v2")
        kept.push(target, "v3")
        target.delete(gone.descriptor)
        for reference in ("v1", "v2", str(gone.descriptor.digest)):
            with pytest.raises(NotFoundError):
                target.resolve(reference)
        assert target.resolve("v3") == kept.descriptor
        assert [read(target.fetch(layer)) for layer in kept.layers] == [b"kept"]

    def test_delete_of_what_is_not_there_raises_not_found(self, target: DeleteTarget) -> None:
        sample(b"layer").push(target, "v1")
        with pytest.raises(NotFoundError):
            target.delete(sample(b"never stored").descriptor)

    def test_delete_leaves_what_another_manifest_needs(self, target: DeleteTarget) -> None:
        one, two = sample(b"shared", b"one"), sample(b"shared", b"two")
        one.push(target, "one")
        two.push(target, "two")
        target.delete(one.descriptor)
        assert [read(target.fetch(layer)) for layer in two.layers] == [b"shared", b"two"]

    def test_deleted_manifest_can_be_pushed_again(self, target: DeleteTarget) -> None:
        kit = sample(b"layer")
        kit.push(target, "v1")
        target.delete(kit.descriptor)
        kit.push(target, "v1")
        assert target.resolve("v1") == kit.descriptor
        assert [read(target.fetch(layer)) for layer in kit.layers] == [b"layer"]


class MounterContract:
    """`Mounter`: the fixture `origin` is a second repository of the same registry, `origin_name` its name."""

    def test_mount_of_blob_of_another_repository_succeeds(
        self, target: MountTarget, origin: Target, origin_name: str
    ) -> None:
        blob = Descriptor.of(LAYER_TYPE, b"to be mounted")
        origin.push(blob, BytesContent(b"to be mounted"))
        assert target.mount(blob, origin_name)
        assert read(target.fetch(blob)) == b"to be mounted"

    def test_mount_of_unknown_blob_is_declined(self, target: MountTarget, origin_name: str) -> None:
        assert not target.mount(Descriptor.of(LAYER_TYPE, b"never stored"), origin_name)


def read(reader: Reader) -> bytes:
    """All bytes of a stream."""
    buffer, data = memoryview(bytearray(1 << 20)), bytearray()
    try:
        while count := reader.readinto(buffer):
            data += buffer[:count]
    finally:
        reader.close()
    return bytes(data)


class StoreContract(
    TargetContract, RangeContract, IngesterContract, TagListerContract, ReferrerListerContract, DeleterContract
):
    """All that a place for kits can do."""


class _Watched:
    """A target that tells of every push."""

    def __init__(self, target: Target, tell: Callable[[Event], None]) -> None:
        self._target, self._tell = target, tell
        self.fetch, self.exists, self.resolve, self.tag = target.fetch, target.exists, target.resolve, target.tag

    def push(self, descriptor: Descriptor, _content: object) -> None:
        self._tell(Event(Step.STARTED, str(descriptor.digest)))
