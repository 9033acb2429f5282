from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kitcar.errors import CancelledError, InvalidError, KitcarError, NotFoundError, UnsafePathError
from kitcar.modelkit.compression import Method
from kitcar.modelkit.kit import read_kit
from kitcar.modelkit.kitfile import Code, Docs, Kitfile
from kitcar.modelkit.pack import Packed, PackOptions, pack
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.progress import Event, Step
from kitcar.oci.storage import BytesContent, Stream
from kitcar.oci.verify import fetch_all
from kitcar.stores.layout import LayoutStore
from kitcar.stores.memory import MemoryStore

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
KITFILE = b"""
manifestVersion: 1.0.0
package:
  name: test
model:
  name: m
  path: ./model/m.bin
code:
  - path: src/
datasets:
  - name: d
    path: data
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return write(tmp_path / "context", "model/m.bin", "src/a.py", "data/x.csv")


def write(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (1, 1))
    return root


def packed(context: Path, kitfile: bytes = KITFILE, target: Any = None, **options: Any) -> Packed:
    options.setdefault("version", "1.0")
    return pack(Kitfile.parse(kitfile), context, target or MemoryStore(), PackOptions(**options))


def test_pack_stores_layers_config_and_manifest_under_the_tags(context: Path) -> None:
    store = MemoryStore()
    made = packed(context, target=store, tags=("v1", "v2"), created=NOW)
    kit = read_kit(store, store.resolve("v2"))
    assert store.resolve("v1").digest == made.descriptor.digest == kit.descriptor.digest
    assert [layer.path for layer in kit.layers()] == ["model/m.bin", "src", "data"]
    assert kit.kitfile == made.kitfile
    for layer, stored in zip(made.layers, made.manifest.layers, strict=True):
        assert layer.descriptor == stored
        assert Digest.of(fetch_all(store, stored)) == stored.digest == layer.diff_id
    assert [layer.label for layer in made.layers] == ["model", "code", "dataset"]


def test_manifest_has_the_members_of_kit(context: Path) -> None:
    document = packed(context, created=NOW).manifest.document()
    assert list(document) == ["schemaVersion", "mediaType", "artifactType", "config", "layers", "annotations"]
    assert document["artifactType"] == "application/vnd.kitops.modelkit.manifest.v1+json"
    assert document["config"]["mediaType"] == "application/vnd.kitops.modelkit.config.v1+json"
    assert document["annotations"] == {
        "ml.kitops.modelkit.cli-version": "1.0",
        "org.opencontainers.image.created": "2030-01-02T03:04:05Z",
    }
    assert document["layers"][1]["mediaType"] == "application/vnd.kitops.modelkit.code.v1.tar"
    assert document["layers"][1]["annotations"] == {"org.cncf.model.filepath": "src"}


def test_prompt_is_a_code_layer_with_its_subtype(context: Path) -> None:
    made = packed(write(context, "sys.prompt"), b"manifestVersion: 1.0.0\nprompts:\n  - path: sys.prompt\n")
    (layer,) = made.manifest.layers
    assert layer.media_type == "application/vnd.kitops.modelkit.code.v1.tar"
    assert layer.annotations == {
        "ml.kitops.modelkit.layer-subtype": "prompt",
        "org.cncf.model.filepath": "sys.prompt",
    }


def bundle(context: Path, name: str = "s.mcpb", member: str = "manifest.json") -> Path:
    context.mkdir(exist_ok=True)
    with zipfile.ZipFile(context / name, "w") as archive:
        archive.writestr(member, "{}")
    (context / name).chmod(0o4640)
    os.utime(context / name, ns=(0, 1_000_000_000_120_000_000))
    return context


MCP = b"manifestVersion: 1.0.0\nmcpServers:\n  - name: s\n    path: s.mcpb\n"


@pytest.mark.parametrize("method", [Method.NONE, Method.GZIP])
def test_mcp_bundle_is_always_a_raw_layer(tmp_path: Path, method: Method) -> None:
    made = packed(bundle(tmp_path / "c"), MCP, compression=method)
    (layer,) = made.manifest.layers
    assert layer.media_type == "application/vnd.kitops.modelkit.mcpb.v1.raw"
    assert layer.digest == made.layers[0].diff_id == Digest.of((tmp_path / "c/s.mcpb").read_bytes())
    assert json.loads(layer.annotations["org.cncf.model.file.metadata+json"]) == {
        "name": "s.mcpb",
        "mode": 0o640,
        "uid": 0,
        "gid": 0,
        "size": layer.size,
        "mtime": "2001-09-09T01:46:40.12Z",
        "typeflag": 48,
    }


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (lambda c: write(c, "s.mcpb"), "is not a valid ZIP archive"),
        (lambda c: (c / "s.mcpb").mkdir(parents=True), "is not a valid ZIP archive"),
        (lambda c: bundle(c, member="sub/manifest.json"), "does not contain a manifest.json at its root"),
    ],
)
def test_mcp_bundle_that_is_none_is_an_error(tmp_path: Path, prepare: Any, text: str) -> None:
    prepare(tmp_path / "c")
    with pytest.raises(InvalidError, match="invalid MCP bundle for mcpServer s: MCP bundle s.mcpb " + text):
        packed(tmp_path / "c", MCP)


def test_missing_path_is_an_error_in_the_words_of_kit(context: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        packed(context, KITFILE.replace(b"m.bin", b"nope.bin"))
    assert str(caught.value) == "error processing model: path model/nope.bin does not exist"


@pytest.mark.parametrize("name", ["Kitfile", "kitfile", ".kitfile"])
def test_entry_that_names_the_kitfile_is_refused(context: Path, name: str) -> None:
    with pytest.raises(InvalidError, match="the Kitfile itself"):
        packed(write(context, name), f"manifestVersion: 1.0.0\ndocs:\n  - path: ./{name}\n".encode())


def test_path_outside_is_refused_and_nothing_is_stored(context: Path) -> None:
    store = MemoryStore()
    write(context.parent, "out.txt")
    kitfile = Kitfile(code=(Code(path="src"),), docs=(Docs(path="../out.txt"),))
    with pytest.raises(UnsafePathError, match=r"\.\./out\.txt is outside"):
        pack(kitfile, context, store, PackOptions(tags=("v1",)))
    with pytest.raises(NotFoundError):
        store.resolve("v1")


def test_missing_context_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        packed(tmp_path / "none")


def test_malformed_kitignore_is_an_error(context: Path) -> None:
    (context / ".kitignore").write_text("[\n")
    with pytest.raises(InvalidError, match=r"\.kitignore"):
        packed(context)


def test_kitignore_that_is_no_file_is_an_error(context: Path) -> None:
    (context / ".kitignore").mkdir()
    with pytest.raises(KitcarError, match=r"cannot read \.kitignore"):
        packed(context)


def test_explicit_path_that_is_ignored_is_packed_with_a_warning(context: Path) -> None:
    (context / ".kitignore").write_text("data\n")
    made = packed(context)
    assert made.warnings == ("dataset layer path data is in .kitignore: packed all the same, as the Kitfile names it",)
    assert [entry.path for entry in made.layers[2].planned.plan.entries] == ["data", "data/x.csv"]


def test_explicit_path_that_is_taken_back_in_part_is_packed_in_part_with_a_warning(context: Path) -> None:
    (context / ".kitignore").write_text("data\n!data/x.csv\n")
    write(context, "data/y.csv")
    made = packed(context)
    assert made.warnings == ("dataset layer path data is in .kitignore: only what that takes back is packed",)
    assert [entry.path for entry in made.layers[2].planned.plan.entries] == ["data/x.csv"]


def test_paths_that_do_not_exist_are_all_named(context: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        packed(
            context, b"manifestVersion: 1.0.0\nmodel: {path: a}\ncode: [{path: src}, {path: b}]\ndocs: [{path: c}]\n"
        )
    assert str(caught.value) == "error processing model: path a does not exist, nor do b, c"
    assert caught.value.hint


def test_path_with_empty_files_alone_is_packed_with_a_warning_that_is_true(context: Path) -> None:
    write(context, "empty/__init__.py").joinpath("empty/__init__.py").write_bytes(b"")
    made = packed(context, b"manifestVersion: 1.0.0\ncode:\n  - path: empty\n")
    assert made.warnings == ("all files in code layer with path empty are empty",)


def test_path_without_content_is_packed_with_the_warning_of_kit(context: Path) -> None:
    (context / "empty").mkdir()
    made = packed(context, b"manifestVersion: 1.0.0\ncode:\n  - path: empty\n")
    assert made.warnings == ("No files detected in code layer with path empty",)
    assert made.layers[0].descriptor.size == 1536


def test_warnings_of_the_kitfile_and_of_remote_datasets_are_kept(context: Path) -> None:
    text = b"manifestVersion: 9.0.0\ndatasets:\n  - path: f.csv\n    remotePath: s3://bucket/f.csv\n    remoteHash: x\n"
    made = packed(context, text)
    assert len(made.warnings) == 2
    assert "9.0.0" in made.warnings[0]
    assert made.warnings[1] == "remote dataset f.csv is recorded as it is: s3://bucket/f.csv was not looked at"
    assert made.layers == ()


def test_model_reference_has_no_layer_and_claimed_paths_stay_out(context: Path) -> None:
    text = b"manifestVersion: 1.0.0\nmodel:\n  path: registry.example/team/base:v1\ncode:\n  - path: .\n"
    made = packed(context, text, claimed=("model",))
    assert [layer.label for layer in made.layers] == ["code"]
    assert [entry.path for entry in made.layers[0].planned.plan.entries] == ["data", "data/x.csv", "src", "src/a.py"]


def test_empty_kitfile_makes_a_manifest_without_layers(context: Path) -> None:
    made = packed(context, b"manifestVersion: 1.0.0\n")
    assert made.manifest.document()["layers"] == []
    assert "annotations" not in packed(context, b"manifestVersion: 1.0.0\n", version="").manifest.document()


@pytest.mark.parametrize("method", [Method.GZIP, Method.GZIP_FASTEST, Method.ZSTD])
def test_compressed_layers_have_the_diff_ids_of_plain_ones(context: Path, method: Method) -> None:
    plain, made = packed(context), packed(context, compression=method)
    assert [layer.diff_id for layer in made.layers] == [layer.diff_id for layer in plain.layers]
    suffix = "zstd" if method is Method.ZSTD else "gzip"
    assert all(layer.media_type.endswith(f".tar+{suffix}") for layer in made.manifest.layers)


class Counting(MemoryStore):
    """Counts what is ingested."""

    def __init__(self) -> None:
        super().__init__()
        self.ingested = 0

    def ingest(self, stream: Stream) -> tuple[Digest, int]:
        self.ingested += 1
        return super().ingest(stream)


@pytest.mark.parametrize("method", [Method.NONE, Method.GZIP])
def test_packing_again_what_has_not_changed_makes_nothing_new(context: Path, method: Method) -> None:
    store = Counting()
    first = packed(context, target=store, tags=("v1",), created=NOW, compression=method)
    again = packed(context, target=store, tags=("v1",), created=NOW + timedelta(days=1), compression=method)
    assert store.ingested == 3
    assert again.descriptor == first.descriptor
    assert (again.manifest_new, again.config_new) == (False, False)
    assert not any(layer.new for layer in again.layers)
    assert [layer.descriptor.annotations for layer in again.layers] == [
        layer.descriptor.annotations for layer in first.layers
    ]


def test_packing_again_for_a_given_time_records_that_time(context: Path) -> None:
    store = MemoryStore()
    packed(context, target=store, tags=("v1",), created=NOW)
    again = packed(context, target=store, tags=("v1",), created=NOW + timedelta(days=1), pinned=True)
    assert again.manifest.annotations[media.CREATED] == "2030-01-03T03:04:05Z"
    assert not again.config_new


@pytest.mark.parametrize("late", [False, True])
def test_packing_again_what_has_changed_stores_what_is_new(context: Path, late: bool) -> None:
    store = MemoryStore()
    first = packed(context, target=store, tags=("v1",), created=NOW)
    (context / "model/m.bin").write_text("model/M.bin")
    moment = (NOW + timedelta(days=1)).timestamp() if late else 1
    os.utime(context / "model/m.bin", (moment, moment))
    again = packed(context, target=store, tags=("v1",), created=NOW + timedelta(days=1))
    assert [layer.new for layer in again.layers] == [True, False, False]
    assert again.layers[0].diff_id != first.layers[0].diff_id
    assert store.resolve("v1").digest == again.descriptor.digest != first.descriptor.digest
    assert again.manifest.annotations[media.CREATED] == "2030-01-03T03:04:05Z"


def test_packing_again_a_layer_that_was_lost_stores_it(context: Path) -> None:
    store = MemoryStore()
    first = packed(context, target=store, tags=("v1",), created=NOW)
    store.delete(first.layers[1].descriptor)
    again = packed(context, target=store, tags=("v1",), created=NOW)
    assert [layer.new for layer in again.layers] == [False, True, False]
    assert store.exists(first.layers[1].descriptor)


@pytest.mark.parametrize("created", [None, "yesterday"])
def test_packing_again_over_a_kit_without_a_time_stores_its_layers_again(context: Path, created: str | None) -> None:
    store = Counting()
    first = packed(context, target=store, tags=("v1",))
    if created:
        members = first.manifest.document()
        members["annotations"][media.CREATED] = created
        raw = json.dumps(members).encode()
        store.push(Descriptor.of(media.MANIFEST, raw), BytesContent(raw))
        store.tag(Descriptor.of(media.MANIFEST, raw), "v1")
    again = packed(context, target=store, tags=("v1",))
    assert store.ingested == 6
    assert again.descriptor == first.descriptor


def test_packing_again_in_another_form_stores_the_layers_in_it(context: Path) -> None:
    store = Counting()
    packed(context, target=store, tags=("v1",), created=NOW)
    again = packed(context, target=store, tags=("v1",), created=NOW, compression=Method.GZIP)
    assert store.ingested == 6
    assert all(layer.new for layer in again.layers)


def test_packing_again_compressed_otherwise_gives_what_a_first_packing_gives(context: Path) -> None:
    (context / "model/m.bin").write_bytes(Path(__file__).read_bytes())
    os.utime(context / "model/m.bin", (1, 1))
    store = MemoryStore()
    options: dict[str, Any] = {"tags": ("v1",), "created": NOW, "pinned": True}
    before = packed(context, target=store, compression=Method.GZIP_FASTEST, **options)
    again = packed(context, target=store, compression=Method.GZIP, **options)
    assert again.descriptor == packed(context, compression=Method.GZIP, **options).descriptor != before.descriptor


def test_packing_again_an_entry_that_was_added_stores_it(context: Path) -> None:
    store = Counting()
    packed(context, target=store, tags=("v1",), created=NOW)
    write(context, "README.md")
    packed(context, KITFILE + b"docs:\n  - path: README.md\n", store, tags=("v1",), created=NOW)
    assert store.ingested == 4


class Breaking(MemoryStore):
    """Takes layers until it is broken."""

    broken = False

    def ingest(self, stream: Stream) -> tuple[Digest, int]:
        if self.broken:
            raise KitcarError("disk full")
        return super().ingest(stream)


def test_packing_again_what_has_not_changed_can_be_stopped(context: Path) -> None:
    store, failed, events = Breaking(), threading.Event(), []

    def listen(event: Event) -> None:
        events.append(event)
        if event.step is Step.FAILED:
            failed.set()
        if event.step is Step.STARTED and event.key == "model/m.bin":
            failed.wait(10)

    os.truncate(context / "model/m.bin", 32 * 1024 * 1024)
    os.utime(context / "model/m.bin", (1, 1))
    first = packed(context, target=store, tags=("v1",), created=NOW)
    (context / "data/x.csv").write_bytes(bytes(2000))
    store.broken = True
    with pytest.raises(KitcarError, match="disk full"):
        packed(context, target=store, tags=("v1",), created=NOW, listener=listen, concurrency=2)
    assert {event.key for event in events if event.step is Step.FAILED} == {"data", "model/m.bin"}
    assert store.resolve("v1").digest == first.descriptor.digest


def test_packing_over_something_that_is_no_kit_replaces_it(context: Path) -> None:
    store = MemoryStore()
    made = packed(context, target=store)
    store.push(Descriptor.of(media.MANIFEST, b"{}"), BytesContent(b"{}"))
    store.tag(Descriptor.of(media.MANIFEST, b"{}"), "v1")
    assert packed(context, target=store, tags=("v1",)).descriptor == made.descriptor


def test_layers_that_another_tag_brought_are_not_new(context: Path) -> None:
    store = MemoryStore()
    packed(context, target=store, tags=("v1",))
    again = packed(context, target=store, tags=("other",), created=NOW)
    assert not any(layer.new for layer in again.layers)
    assert (again.config_new, again.manifest_new) == (False, True)


def test_layout_store_does_not_grow_when_packed_again(context: Path, tmp_path: Path) -> None:
    store = LayoutStore(tmp_path / "storage").repository("localhost/team/kit")
    packed(context, target=store, tags=("v1",), created=NOW)
    before = sorted(path for path in (tmp_path / "storage/blobs").rglob("*"))
    packed(context, target=store, tags=("v1",), created=NOW + timedelta(hours=1))
    assert sorted(path for path in (tmp_path / "storage/blobs").rglob("*")) == before
    assert len(store.manifests()) == 1


def test_listener_is_told_of_each_layer_from_start_to_digest(context: Path) -> None:
    events: list[Event] = []
    store = MemoryStore()
    made = packed(context, target=store, listener=events.append, tags=("v1",))
    packed(context, target=store, listener=events.append)
    for layer in made.layers:
        plan = layer.planned.plan
        own = [event for event in events if event.key == plan.path]
        assert [event.step for event in own] == [
            Step.STARTED,
            Step.ADVANCED,
            Step.DONE,
            Step.STARTED,
            Step.ADVANCED,
            Step.EXISTS,
        ]
        assert {(event.name, event.size) for event in own} == {(layer.label, plan.size)}
        assert own[1].count == plan.size
        assert own[2].detail == own[5].detail == str(layer.descriptor.digest)


class Failing(MemoryStore):
    """Fails one layer once another has begun, and lets the rest wait."""

    def __init__(self, failing: int) -> None:
        super().__init__()
        self.failing, self.begun, self.failed = failing, threading.Event(), threading.Event()

    def ingest(self, stream: Stream) -> tuple[Digest, int]:
        size = sum(len(chunk) for chunk in self._slowly(stream))
        return stream.digest(), size

    def _slowly(self, stream: Stream) -> Iterator[memoryview]:
        for count, chunk in enumerate(stream.chunks()):
            if stream.size == self.failing:
                self.begun.wait(10)
                self.failed.set()
                raise KitcarError("disk full")
            if count == 0:
                self.begun.set()
                self.failed.wait(10)
            yield chunk


def test_layer_that_fails_stops_the_others_and_nothing_is_tagged(context: Path) -> None:
    (context / "model/m.bin").write_bytes(bytes(9 * 1024 * 1024))
    events: list[Event] = []
    store = Failing(failing=2560)
    with pytest.raises(KitcarError, match="disk full"):
        packed(context, target=store, listener=events.append, tags=("v1",), concurrency=2)
    assert {event.key for event in events if event.step is Step.FAILED} >= {"model/m.bin"}
    assert any(event.detail == str(CancelledError("given up because a sibling failed")) for event in events)
    with pytest.raises(NotFoundError):
        store.resolve("v1")


def test_hub_snapshot_is_packed_whole(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    write(repository, "blobs/aaa", "blobs/bbb")
    snapshot = repository / "snapshots/0123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/aaa")
    (snapshot / "config.json").symlink_to("../../blobs/bbb")
    plain = write(tmp_path / "plain", "model.safetensors", "config.json")
    (plain / "model.safetensors").write_text("blobs/aaa")
    (plain / "config.json").write_text("blobs/bbb")
    text = b"manifestVersion: 1.0.0\nmodel:\n  path: model.safetensors\n  parts:\n    - path: config.json\n"
    assert packed(snapshot, text).descriptor == packed(plain, text).descriptor
    whole = b"manifestVersion: 1.0.0\ncode:\n  - path: .\n"
    assert packed(snapshot, whole).descriptor == packed(plain, whole).descriptor


def test_same_tree_elsewhere_with_other_times_has_the_same_manifest(context: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "elsewhere/again", "data/x.csv", "src/a.py", "model/m.bin")
    for path in other.rglob("*"):
        os.utime(path, (5, 5))
    assert packed(context, created=NOW).manifest.raw == packed(other, created=NOW).manifest.raw
