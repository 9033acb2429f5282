from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from kitcar.errors import IntegrityError, InvalidError, NotFoundError
from kitcar.modelkit import dialect as words
from kitcar.modelkit.dialect import Dialect, Kind
from kitcar.modelkit.kit import Kit, read_kit
from kitcar.modelkit.kitfile import Code, Dataset, Docs, Kitfile, McpServer, Model, ModelPart, Prompt
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Index, Manifest
from kitcar.oci.storage import BytesContent
from kitcar.stores.memory import MemoryStore

KIT = "application/vnd.kitops.modelkit"
PACK = "application/vnd.cncf.model"
PROMPT = {words.LAYER_SUBTYPE: words.SUBTYPE_PROMPT}
KITFILE = Kitfile(
    model=Model(name="m", path="./m.bin", parts=(ModelPart(path="parts/"),)),
    code=(Code(path="src"),),
    datasets=(Dataset(path="d.csv"), Dataset(path="far", remote_path="s3://b/k", remote_hash="x")),
    docs=(Docs(path="README.md"),),
    prompts=(Prompt(path="p.prompt"),),
    mcp_servers=(McpServer(name="s", path="s.mcpb"),),
)


def layer(
    kind: str,
    path: str,
    content: bytes = b"",
    form: str = "tar",
    prefix: str = KIT,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Descriptor:
    annotations = {words.FILEPATH: path, **more} if path else more
    return Descriptor.of(f"{prefix}.{kind}.v1.{form}", content or f"{kind} {path}".encode(), annotations)


MODEL = layer("model", "m.bin")
PART = layer("modelpart", "parts")
CODE = layer("code", "src")
DATA = layer("dataset", "d.csv")
DOCS = layer("docs", "README.md")
ASK = layer("code", "p.prompt", more=PROMPT)
SERVER = layer("mcpb", "s.mcpb", form="raw")
LAYERS = (MODEL, PART, CODE, DATA, DOCS, ASK, SERVER)


def marked(kitfile: Kitfile, layers: tuple[Descriptor, ...]) -> Kitfile:
    """The Kitfile with the digests of layers given in the order of its entries."""
    entries = [entry for entry in kitfile.entries() if not entry.remote]
    found = zip(entries, layers, strict=True)
    return kitfile.with_layers({(entry.kind, entry.index): (item.digest, item.digest) for entry, item in found})


def kit_of(kitfile: Kitfile, layers: tuple[Descriptor, ...], **members: Any) -> Kit:
    config = Descriptor.of(words.MODELKIT_CONFIG, kitfile.to_json())
    manifest = Manifest.build(config, layers, artifact_type=words.MODELKIT_ARTIFACT)
    return Kit(manifest.descriptor, manifest, kitfile, Dialect.MODELKIT, **members)


def stored(
    config: bytes, layers: tuple[Descriptor, ...], dialect: Dialect, annotations: Mapping[str, str] | None = None
) -> Kit:
    store = MemoryStore()
    descriptor = Descriptor.of(dialect.config_type, config)
    manifest = Manifest.build(descriptor, layers, artifact_type=dialect.artifact_type, annotations=annotations)
    store.push(descriptor, BytesContent(config))
    store.push(manifest.descriptor, BytesContent(manifest.raw))
    return read_kit(store, manifest.descriptor)


def pack_config(*diff_ids: Digest) -> bytes:
    return json.dumps({"modelfs": {"type": "layers", "diffIds": [str(item) for item in diff_ids]}}).encode()


def problems(kit: Kit) -> list[str]:
    with pytest.raises(InvalidError) as caught:
        kit.layers()
    assert all(fault.message in str(caught.value) for fault in caught.value.faults)
    return [fault.message for fault in caught.value.faults]


def test_read_kit_of_a_modelkit_gives_its_kitfile() -> None:
    kitfile = marked(KITFILE, LAYERS)
    kit = stored(kitfile.to_json(), LAYERS, Dialect.MODELKIT, {words.CLI_VERSION: "1.15.0"})
    assert (kit.kitfile, kit.dialect, kit.generated, kit.version) == (kitfile, Dialect.MODELKIT, False, "1.15.0")
    assert kit.size == sum(item.size for item in LAYERS)


def test_layers_give_every_layer_with_its_entry() -> None:
    layers = kit_of(marked(KITFILE, LAYERS), LAYERS).layers()
    assert [item.descriptor for item in layers] == list(LAYERS)
    assert [(item.entry.kind, item.path) for item in layers] == [
        (Kind.MODEL, "m.bin"),
        (Kind.MODELPART, "parts"),
        (Kind.CODE, "src"),
        (Kind.DATASET, "d.csv"),
        (Kind.DOCS, "README.md"),
        (Kind.PROMPT, "p.prompt"),
        (Kind.MCPB, "s.mcpb"),
    ]
    assert {item.base for item in layers} == {"."}
    assert all(item.diff_id == item.descriptor.digest for item in layers)


def test_layers_in_another_order_are_found_by_digest() -> None:
    layers = kit_of(marked(KITFILE, LAYERS), LAYERS[::-1]).layers()
    assert [item.descriptor for item in layers] == list(LAYERS)


def test_layers_without_annotations_are_found_by_digest() -> None:
    bare = tuple(item.plain() for item in (MODEL, PART, CODE, DATA, DOCS, ASK))
    kitfile = replace(KITFILE, mcp_servers=())
    assert [item.path for item in kit_of(marked(kitfile, bare), bare).layers()][-1] == "p.prompt"


def test_version_that_is_not_told_is_unknown() -> None:
    assert kit_of(Kitfile(), ()).version == "unknown"


def test_raw_layers_of_equal_files_are_told_apart_by_their_paths() -> None:
    one, two = (layer("docs", path, b"same", "raw") for path in ("a", "b"))
    kitfile = marked(Kitfile(docs=(Docs(path="a"), Docs(path="b"))), (one, two))
    found = kit_of(kitfile, (two, one)).layers()
    assert [(item.path, item.descriptor.annotations[words.FILEPATH]) for item in found] == [("a", "a"), ("b", "b")]


def test_raw_layer_gives_mode_and_size_of_its_metadata_without_setuid() -> None:
    metadata = '{"name":"../x","mode":2541,"uid":0,"gid":0,"size":7,"mtime":"2001-02-03T04:05:06Z","typeflag":50}'
    raw = layer("docs", "a", b"content", "raw", more={words.FILE_METADATA: metadata})
    (found,) = kit_of(marked(Kitfile(docs=(Docs(path="a"),)), (raw,)), (raw,)).layers()
    assert (found.mode, found.content_size) == (2541 & 0o777, 7)


def test_raw_layer_without_metadata_promises_nothing() -> None:
    raw = layer("docs", "a", b"content", "raw")
    (found,) = kit_of(marked(Kitfile(docs=(Docs(path="a"),)), (raw,)), (raw,)).layers()
    assert (found.mode, found.content_size) == (None, None)


@pytest.mark.parametrize("metadata", ["x", "[]", '{"mode":"x"}', '{"size":-1}', '{"size":1.5}', "[" * 100_000])
def test_raw_layer_with_unreadable_metadata_is_refused(metadata: str) -> None:
    raw = layer("docs", "a", b"content", "raw", more={words.FILE_METADATA: metadata})
    (problem,) = problems(kit_of(marked(Kitfile(docs=(Docs(path="a"),)), (raw,)), (raw,)))
    assert problem.startswith(f"error reading {words.FILE_METADATA} annotation on layer {raw.digest}")


def test_layers_of_an_empty_kit_are_none() -> None:
    assert kit_of(Kitfile(), ()).layers() == ()


def test_layers_of_a_referenced_model_are_its_own_alone() -> None:
    kitfile = Kitfile(model=Model(path="reg.io/a/b:v1"), docs=(Docs(path="README.md"),))
    assert [item.path for item in kit_of(marked(kitfile, (DOCS,)), (DOCS,)).layers()] == ["README.md"]


def test_entry_whose_layer_is_missing_is_refused_in_kits_words() -> None:
    (problem,) = problems(kit_of(marked(KITFILE, LAYERS), LAYERS[1:]))
    assert problem == f"digest {MODEL.digest} not found in manifest (model m)"


def test_layer_that_no_entry_names_is_refused() -> None:
    extra = layer("docs", "more")
    (problem,) = problems(kit_of(marked(KITFILE, LAYERS), (*LAYERS, extra)))
    assert problem == f"layer {extra.digest} (docs) is not named in the Kitfile"


def test_model_layer_without_a_model_in_the_kitfile_is_refused() -> None:
    assert "(model) is not named in the Kitfile" in problems(kit_of(Kitfile(), (MODEL,)))[0]


def test_layer_twice_in_the_manifest_is_refused() -> None:
    kitfile = marked(Kitfile(docs=(Docs(path="README.md"),)), (DOCS,))
    assert "is not named in the Kitfile" in problems(kit_of(kitfile, (DOCS, DOCS)))[0]


@pytest.mark.parametrize(
    "media_type", ["application/x", f"{KIT}.model.v1.tar+lz4", f"{KIT}.other.v1.tar", words.MODELKIT_CONFIG]
)
def test_layer_of_an_unknown_type_is_refused(media_type: str) -> None:
    strange = replace(DOCS, media_type=media_type)
    found = problems(kit_of(marked(KITFILE, LAYERS), (*LAYERS[:4], strange, *LAYERS[5:])))
    assert found[0] == f"layer {DOCS.digest} has the unknown media type {media_type}"


@pytest.mark.parametrize(
    ("media_type", "label"),
    [
        (f"{KIT}.model.v1.tar", "model"),
        (f"{KIT}.code.v1.tar", "code"),
        (f"{PACK}.doc.v1.tar", "doc"),
        (f"{PACK}.weight.v1.tar", "weight"),
    ],
)
def test_layer_of_another_kind_than_its_entry_is_refused(media_type: str, label: str) -> None:
    wrong = replace(DOCS, media_type=media_type)
    (problem,) = problems(kit_of(marked(KITFILE, LAYERS), (*LAYERS[:4], wrong, *LAYERS[5:])))
    assert problem == f"docs layer 0 names layer {DOCS.digest}, which is of type {label}"


def test_prompt_layer_for_a_code_entry_is_refused() -> None:
    wrong = replace(CODE, annotations={**CODE.annotations, **PROMPT})
    assert "which is of type code" in problems(kit_of(marked(KITFILE, LAYERS), (MODEL, PART, wrong, *LAYERS[3:])))[0]


def test_layer_that_says_another_path_than_its_entry_is_refused() -> None:
    wrong = replace(DOCS, annotations={words.FILEPATH: ".git/config"})
    (problem,) = problems(kit_of(marked(KITFILE, LAYERS), (*LAYERS[:4], wrong, *LAYERS[5:])))
    assert problem == f"layer {DOCS.digest} says it is '.git/config', docs layer 0 says 'README.md'"


def test_raw_layer_without_a_path_is_refused() -> None:
    wrong = replace(SERVER, annotations={})
    (problem,) = problems(kit_of(marked(KITFILE, LAYERS), (*LAYERS[:6], wrong)))
    assert problem == f"failed to unpack raw layer: no {words.FILEPATH} annotation ({SERVER.digest})"


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "..", "a\0b"])
def test_entry_that_would_leave_the_destination_is_refused(path: str) -> None:
    one = layer("docs", path)
    (problem,) = problems(kit_of(marked(Kitfile(docs=(Docs(path=path),)), (one,)), (one,)))
    assert problem.startswith("paths must be within context directory")


def test_all_that_does_not_fit_is_told_at_once() -> None:
    found = problems(
        kit_of(marked(KITFILE, LAYERS), (*LAYERS[2:6], layer("docs", "x"), replace(MODEL, media_type="x/y")))
    )
    assert len(found) == 5


def test_diff_id_of_an_uncompressed_layer_must_be_its_digest() -> None:
    kitfile = Kitfile(docs=(Docs(path="README.md", digest=DOCS.digest, diff_id=Digest.of(b"other")),))
    with pytest.raises(IntegrityError, match=r"the diffId of docs layer 0 contradicts the manifest"):
        kit_of(kitfile, (DOCS,)).layers()


def test_diff_id_of_a_compressed_layer_is_left_to_whoever_unpacks() -> None:
    packed = layer("docs", "README.md", form="tar+zstd")
    diff_id = Digest.of(b"other")
    kitfile = Kitfile(docs=(Docs(path="README.md", digest=packed.digest, diff_id=diff_id),))
    assert kit_of(kitfile, (packed,)).layers()[0].diff_id == diff_id


def test_kitfile_with_some_digests_only_is_refused_in_kits_words() -> None:
    kitfile = Kitfile(docs=(Docs(path="a", digest=DOCS.digest), Docs(path="b")))
    with pytest.raises(InvalidError, match=r"invalid digests in layerinfo in Kitfile: docs layer 1 has none"):
        kit_of(kitfile, (DOCS, DOCS)).layers()


def test_layers_of_a_kit_without_digests_are_found_by_position_below_the_entrys_parent() -> None:
    kitfile = Kitfile(
        model=Model(path="m/model.bin", parts=(ModelPart(path="p"),)),
        datasets=(Dataset(path="d1"), Dataset(path="deep/er/d2")),
    )
    kinds = (("dataset", b"1"), ("dataset", b"2"), ("modelpart", b"3"), ("model", b"4"))
    plain = tuple(Descriptor.of(f"{KIT}.{kind}.v1.tar", name) for kind, name in kinds)
    found = kit_of(kitfile, plain).layers()
    assert [(item.descriptor, item.path, item.base) for item in found] == [
        (plain[3], "m/model.bin", "m"),
        (plain[2], "p", "."),
        (plain[0], "d1", "."),
        (plain[1], "deep/er/d2", "deep/er"),
    ]
    assert {item.diff_id for item in found} == {None}


def test_layers_more_than_entries_without_digests_are_refused() -> None:
    bare = replace(DOCS, annotations={})
    (problem,) = problems(kit_of(Kitfile(docs=(Docs(path="a"),)), (bare, replace(bare, digest=Digest.of(b"2")))))
    assert problem.endswith("(docs) is not named in the Kitfile")


def test_layers_fewer_than_entries_without_digests_are_refused() -> None:
    (problem,) = problems(kit_of(Kitfile(docs=(Docs(path="a"), Docs(path="b"))), (replace(DOCS, annotations={}),)))
    assert problem == "no layer for docs layer 1: the manifest has too few of that kind"


def test_read_kit_of_a_modelpack_takes_the_kitfile_of_its_annotation() -> None:
    one = layer("weight", "m.bin", prefix=PACK)
    kitfile = marked(Kitfile(model=Model(name="m", path="m.bin")), (one,))
    annotations = {words.KITFILE: kitfile.to_json().decode()}
    kit = stored(pack_config(one.digest), (one,), Dialect.MODELPACK, annotations)
    assert (kit.kitfile, kit.generated) == (kitfile, False)
    assert kit.layers()[0].diff_id == one.digest


def test_modelpack_of_an_old_kit_may_list_the_digest_of_the_diff_ids_text() -> None:
    one = layer("weight", "m.bin", prefix=PACK)
    kitfile = marked(Kitfile(model=Model(path="m.bin")), (one,))
    config = pack_config(Digest.of(str(one.digest).encode()))
    kit = stored(config, (one,), Dialect.MODELPACK, {words.KITFILE: kitfile.to_json().decode()})
    assert kit.layers()[0].diff_id == one.digest


def test_modelpack_whose_config_contradicts_its_kitfile_is_refused() -> None:
    one = layer("weight", "m.bin", prefix=PACK)
    kitfile = marked(Kitfile(model=Model(path="m.bin")), (one,))
    kit = stored(pack_config(Digest.of(b"x")), (one,), Dialect.MODELPACK, {words.KITFILE: kitfile.to_json().decode()})
    with pytest.raises(IntegrityError, match=r"contradicts the ModelPack config"):
        kit.layers()


def test_read_kit_of_a_foreign_modelpack_makes_a_kitfile_of_its_layers() -> None:
    kinds = [
        ("weight.config", "config.json"),
        ("weight", "w1"),
        ("weight", "w2"),
        ("doc", "R"),
        ("code", "c"),
        ("dataset", "d"),
    ]
    layers = tuple(layer(kind, path, form="raw", prefix=PACK) for kind, path in kinds)
    kit = stored(pack_config(*(item.digest for item in layers)), layers, Dialect.MODELPACK)
    assert kit.generated
    assert kit.kitfile.model
    assert kit.kitfile.model.path == "w1"
    assert [part.path for part in kit.kitfile.model.parts] == ["config.json", "w2"]
    assert [item.path for item in kit.layers()] == ["w1", "config.json", "w2", "c", "d", "R"]
    assert all(item.diff_id == item.descriptor.digest for item in kit.layers())


def test_read_kit_of_a_modelpack_without_its_config_knows_no_diff_ids() -> None:
    one = layer("weight", "m.bin", prefix=PACK)
    store = MemoryStore()
    manifest = Manifest.build(Descriptor.of(media.EMPTY, b"{}"), (one,), artifact_type=words.MODELPACK_ARTIFACT)
    store.push(manifest.descriptor, BytesContent(manifest.raw))
    (found,) = read_kit(store, manifest.descriptor).layers()
    assert found.diff_id is None


def test_kitfile_that_travels_as_a_layer_of_a_modelpack_is_no_entrys() -> None:
    one = layer("weight", "m.bin", prefix=PACK)
    kitfile = marked(Kitfile(model=Model(path="m.bin")), (one,))
    as_layer = Descriptor.of(words.MODELKIT_CONFIG, b"{}")
    annotations = {words.KITFILE: kitfile.to_json().decode()}
    kit = stored(pack_config(one.digest, as_layer.digest), (one, as_layer), Dialect.MODELPACK, annotations)
    assert [item.descriptor for item in kit.layers()] == [one]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (pack_config(), r"number of layers does not match DiffIDs \(1 layers, 0 diffIds\)"),
        (pack_config(DOCS.digest, DOCS.digest), r"number of layers does not match DiffIDs"),
        (b"{}", r"failed to parse modelpack config"),
        (b"[]", r"failed to parse modelpack config"),
        (b"x", r"failed to parse modelpack config"),
        (b'{"modelfs":{"diffIds":["x"]}}', r"'x' is not a digest"),
        (b'{"modelfs":{"diffIds":[1]}}', r"failed to parse modelpack config"),
    ],
)
def test_modelpack_with_a_wrong_config_is_refused(config: bytes, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        stored(config, (layer("weight", "m.bin", prefix=PACK),), Dialect.MODELPACK)


@pytest.mark.parametrize(
    ("strange", "message"),
    [
        (layer("weight", "", prefix=PACK), f"unknown file path for layer: no {words.FILEPATH} annotation"),
        (layer("other", "a", prefix=PACK), "unrecognized media type"),
        (layer("model", "a"), "unrecognized media type"),
    ],
)
def test_foreign_modelpack_that_cannot_be_told_is_refused(strange: Descriptor, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        stored(pack_config(strange.digest), (strange,), Dialect.MODELPACK)


def test_read_kit_of_an_index_is_refused() -> None:
    index = Index.build(())
    with pytest.raises(InvalidError, match=r"is an index of several artifacts, not a ModelKit"):
        read_kit(MemoryStore(), index.descriptor)


def test_read_kit_of_an_image_is_refused() -> None:
    store = MemoryStore()
    manifest = Manifest.build(Descriptor.of(media.IMAGE_CONFIG, b"{}"), ())
    store.push(manifest.descriptor, BytesContent(manifest.raw))
    with pytest.raises(InvalidError, match=r"manifest is not a Model manifest"):
        read_kit(store, manifest.descriptor)


def test_read_kit_whose_config_is_no_kitfile_is_refused_in_kits_words() -> None:
    store = MemoryStore()
    manifest = Manifest.build(Descriptor.of(media.EMPTY, b"{}"), (), artifact_type=words.MODELKIT_ARTIFACT)
    store.push(manifest.descriptor, BytesContent(manifest.raw))
    with pytest.raises(InvalidError, match=r"configuration descriptor does not describe a Kitfile"):
        read_kit(store, manifest.descriptor)


def test_read_kit_without_its_config_says_it_is_missing() -> None:
    store = MemoryStore()
    kit = kit_of(Kitfile(), ())
    store.push(kit.descriptor, BytesContent(kit.manifest.raw))
    with pytest.raises(NotFoundError):
        read_kit(store, kit.descriptor)
