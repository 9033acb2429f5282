import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import Index, Manifest, successors

CONFIG = Descriptor.of("application/x-config", b"{}")
LAYER = Descriptor.of(media.LAYER, b"layer", {"b": "2", "a": "1"})


def test_manifest_build_writes_members_in_kits_order():
    manifest = Manifest.build(CONFIG, (LAYER,), artifact_type="a/t", annotations={"z": "1", "b": "2"}, subject=CONFIG)
    assert list(json.loads(manifest.raw)) == [
        "schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations",
    ]  # fmt: skip
    assert manifest.layers[0].annotations == {"a": "1", "b": "2"}
    assert manifest.subject == CONFIG
    assert manifest.document()["annotations"] == {"b": "2", "z": "1"}


@given(st.lists(st.binary(max_size=8).map(lambda data: Descriptor.of(media.LAYER, data))), st.text())
def test_manifest_parse_of_build_is_the_same_manifest(layers, artifact_type):
    manifest = Manifest.build(CONFIG, tuple(layers), artifact_type=artifact_type)
    assert Manifest.parse(manifest.raw) == manifest
    assert successors(manifest.descriptor, manifest.raw) == (CONFIG, *layers)


def test_manifest_raw_bytes_are_kept_as_they_came():
    raw = json.dumps({"schemaVersion": 2, "config": CONFIG.encode(), "layers": None, "future": 1}, indent=3).encode()
    manifest = Manifest.parse(raw)
    assert manifest.raw == raw
    assert (manifest.media_type, manifest.layers, manifest.artifact_type) == (media.MANIFEST, (), "")
    assert manifest.descriptor == Descriptor.of(media.MANIFEST, raw)


@pytest.mark.parametrize(
    "document",
    [
        "[]", "no json", '{"schemaVersion": 1}', '{"schemaVersion": 2}', '{"schemaVersion": 2, "config": {}}',
        json.dumps({"schemaVersion": 2, "config": CONFIG.encode(), "layers": {"a": 1}}),
        json.dumps({"schemaVersion": 2, "config": CONFIG.encode(), "annotations": {"a": 1}}),
        json.dumps({"schemaVersion": 2, "config": CONFIG.encode(), "annotations": ["a"]}),
        json.dumps({"schemaVersion": 2, "config": CONFIG.encode(), "mediaType": ["a"]}),
        json.dumps({"schemaVersion": 2, "config": CONFIG.encode(), "artifactType": {"a": 1}}),
        json.dumps({"schemaVersion": 2, "config": {**CONFIG.encode(), "artifactType": ["a"]}}),
        "[" * 100_000,
    ],
)  # fmt: skip
def test_manifest_malformed_is_refused(document):
    with pytest.raises(InvalidError):
        Manifest.parse(document.encode())


def test_index_build_and_parse_agree():
    manifest = Manifest.build(CONFIG, ())
    index = Index.build((manifest.descriptor,), {"k": "v"})
    assert Index.parse(index.raw) == index
    assert successors(index.descriptor, index.raw) == (manifest.descriptor,)
    assert Index.build(()).annotations == {}
    with_subject = {**json.loads(index.raw), "subject": CONFIG.encode()}
    assert Index.parse(json.dumps(with_subject).encode()).subject == CONFIG


def test_index_without_manifests_is_refused():
    with pytest.raises(InvalidError, match="manifests"):
        Index.parse(b"{}")


def test_index_with_a_media_type_that_is_no_text_is_refused():
    with pytest.raises(InvalidError, match="mediaType"):
        Index.parse(b'{"manifests": [], "mediaType": ["a"]}')
