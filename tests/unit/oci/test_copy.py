import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitcar.errors import IntegrityError, NotFoundError, TransportError
from kitcar.oci import media
from kitcar.oci.copy import CopyOptions, copy
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import Index, Manifest
from kitcar.oci.progress import Step
from kitcar.oci.storage import BytesReader
from kitcar.oci.verify import VerifyingReader

CONFIG = b"{}"


class Shelf:
    """A target in memory that notes what it is given, in order."""

    def __init__(self):
        self.content, self.names, self.pushed, self.mountable = {}, {}, [], ()

    def fetch(self, descriptor):
        if descriptor.digest not in self.content:
            raise NotFoundError(f"{descriptor.digest} is not here")
        return BytesReader(self.content[descriptor.digest])

    def fetch_range(self, descriptor, offset):
        return BytesReader(self.content[descriptor.digest][offset:])

    def exists(self, descriptor):
        return descriptor.digest in self.content

    def push(self, descriptor, content):
        self.content[descriptor.digest] = VerifyingReader(content.open(), descriptor).read()
        self.pushed.append(descriptor)

    def resolve(self, reference):
        return self.names[reference]

    def tag(self, descriptor, tag):
        self.names[tag] = descriptor

    def mount(self, descriptor, repository):
        if descriptor.digest in self.mountable:
            self.content[descriptor.digest] = b"mounted"
        return descriptor.digest in self.mountable

    def put(self, data, media_type=media.OCTETS):
        descriptor = Descriptor.of(media_type, data)
        self.content[descriptor.digest] = data
        return descriptor


def artifact(shelf, layers):
    manifest = Manifest.build(shelf.put(CONFIG), tuple(shelf.put(layer) for layer in layers))
    return shelf.put(manifest.raw, media.MANIFEST)


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=50), max_size=6), st.integers(1, 4))
def test_copy_gives_the_same_graph_and_a_second_one_sends_nothing(layers, concurrency):
    source, target = Shelf(), Shelf()
    root = artifact(source, layers)
    copy(source, target, root, tags=("v1", "v2"), options=CopyOptions(concurrency))
    assert target.content == source.content
    assert target.names == {"v1": root, "v2": root}
    assert target.pushed[-1] == root
    sent = len(target.pushed)
    copy(source, target, root, options=CopyOptions(concurrency))
    assert len(target.pushed) == sent


def test_copy_index_sends_children_before_parents_and_shared_blobs_once():
    source, target = Shelf(), Shelf()
    one, two = artifact(source, [b"shared", b"one"]), artifact(source, [b"shared", b"two"])
    index = Index.build((one, two, one))
    root = source.put(index.raw, media.INDEX)
    copy(source, target, root)
    assert target.pushed[-1] == root
    assert set(target.pushed[-3:-1]) == {one, two}
    assert len(target.pushed) == len(set(target.pushed)) == 7


def test_copy_missing_blob_is_sent_although_the_manifest_exists():
    source, target = Shelf(), Shelf()
    root = artifact(source, [b"layer"])
    copy(source, target, root)
    del target.content[Descriptor.of("x/y", b"layer").digest]
    events = []
    copy(source, target, root, options=CopyOptions(listener=events.append))
    assert target.content == source.content
    assert [event.step for event in events].count(Step.DONE) == 1


def test_copy_mountable_blob_is_not_sent():
    source, target = Shelf(), Shelf()
    root = artifact(source, [b"big", b"small"])
    big = Descriptor.of(media.OCTETS, b"big")
    target.mountable = (big.digest,)
    events = []
    copy(source, target, root, options=CopyOptions(listener=events.append, mount_from=lambda _: "other/repo"))
    assert big not in target.pushed
    assert [event.detail for event in events if event.step is Step.MOUNTED] == ["other/repo"]


def test_copy_corrupt_blob_stops_before_the_manifest():
    source, target = Shelf(), Shelf()
    root = artifact(source, [b"layer"])
    source.content[Descriptor.of("x/y", b"layer").digest] = b"lyaer"
    events = []
    with pytest.raises(IntegrityError):
        copy(source, target, root, tags=("v1",), options=CopyOptions(listener=events.append))
    assert root.digest not in target.content
    assert not target.names
    assert Step.FAILED in [event.step for event in events]


def test_copy_one_failure_ends_a_sibling_that_is_reading():
    source, target = Shelf(), Shelf()
    root = artifact(source, [b"good" * 1000, b"bad"])
    failed, begun = threading.Event(), threading.Event()

    class Slow(Shelf):
        def push(self, descriptor, content):
            if descriptor.size == 3:
                begun.wait(10)
                failed.set()
                raise TransportError("cut")
            if descriptor.size > 1000:
                reader = content.open()
                reader.readinto(memoryview(bytearray(1)))
                begun.set()
                failed.wait(10)
                while reader.readinto(memoryview(bytearray(1))):
                    pass
                raise AssertionError("read to its end although a sibling failed")
            super().push(descriptor, content)

    with pytest.raises(TransportError, match="cut"):
        copy(source, Slow(), root, options=CopyOptions(concurrency=3))
    assert not target.content


def test_copy_waiting_jobs_are_dropped_after_a_failure():
    source = Shelf()
    root = artifact(source, [bytes([n]) * (100 - n) for n in range(20)])

    class Refusing(Shelf):
        def push(self, descriptor, content):
            self.pushed.append(descriptor)
            raise TransportError("refused")

    target = Refusing()
    with pytest.raises(TransportError, match="refused"):
        copy(source, target, root, options=CopyOptions(concurrency=1))
    assert len(target.pushed) == 1


def test_copy_missing_source_manifest_is_told():
    with pytest.raises(NotFoundError):
        copy(Shelf(), Shelf(), Descriptor.of(media.MANIFEST, b"gone"))


def test_copy_events_count_every_byte():
    source, target = Shelf(), Shelf()
    root = artifact(source, [b"a" * 100, b"b" * 50])
    events = []
    copy(source, target, root, options=CopyOptions(listener=events.append))
    assert sum(event.count for event in events if event.step is Step.ADVANCED) == 100 + 50 + len(CONFIG)


class Forgetful(Shelf):
    """A target from which somebody removes the manifest before it is tagged."""

    def tag(self, descriptor, tag):
        if self.pushed.count(descriptor) < 2:
            self.content.pop(descriptor.digest, None)
            raise NotFoundError("removed meanwhile")
        super().tag(descriptor, tag)


def test_copy_manifest_removed_before_it_is_tagged_is_stored_again():
    source, target = Shelf(), Forgetful()
    root = artifact(source, [b"layer"])
    copy(source, target, root, tags=("v1",))
    assert target.names == {"v1": root}
    assert target.content == source.content


def test_copy_blob_that_is_tagged_and_removed_is_told():
    source, target = Shelf(), Forgetful()
    with pytest.raises(NotFoundError, match="meanwhile"):
        copy(source, target, source.put(b"no manifest"), tags=("v1",))
