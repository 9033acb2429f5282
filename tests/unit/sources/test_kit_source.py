"""A kit's parts: in kit's order, with kit's lines; hostile kits are refused and leave nothing outside or half."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitcar.deliver import DeliverOptions, Existing, Report, deliver
from kitcar.errors import ExistsError, IntegrityError, InvalidError, KitcarError, UnsafePathError
from kitcar.modelkit.compression import Method
from kitcar.modelkit.dialect import FILE_METADATA, FILEPATH, MODELKIT_ARTIFACT, MODELKIT_CONFIG
from kitcar.modelkit.kit import read_kit
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.pack import PackOptions, pack
from kitcar.modelkit.select import Selection
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.storage import BytesContent
from kitcar.registry.retry import NEVER, Pauser
from kitcar.sources.kit import KitSource
from kitcar.stores.memory import MemoryStore
from kitcar.testing.parts import Member, directory, tar, tree

TYPE = "application/vnd.kitops.modelkit.{}.v1.{}"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def push(store: MemoryStore, media_type: str, content: bytes, annotations: dict[str, str] | None = None) -> Descriptor:
    descriptor = Descriptor.of(media_type, content, annotations or {})
    store.push(descriptor, BytesContent(content))
    return descriptor


class Forge:
    """Makes kits by hand, wrong ones too."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.layers: list[Descriptor] = []

    def layer(self, kind: str, content: bytes, *, form: str = "tar", path: str = "", **metadata: Any) -> dict[str, str]:
        annotations = {FILEPATH: path} if path else {}
        if metadata:
            annotations[FILE_METADATA] = json.dumps(metadata)
        descriptor = push(self.store, TYPE.format(kind, form), content, annotations)
        self.layers.append(descriptor)
        plain = content
        if form.endswith("+gzip"):
            plain = gzip.decompress(content)
        elif form.endswith("+zstd"):
            plain = zstandard.decompress(content)
        return {"digest": str(descriptor.digest), "diffId": str(Digest.of(plain))}

    def kit(self, **kitfile: Any) -> Descriptor:
        config = push(
            self.store, MODELKIT_CONFIG, json.dumps({"manifestVersion": "1.0.0", "package": {}, **kitfile}).encode()
        )
        manifest = Manifest.build(config, tuple(self.layers), artifact_type=MODELKIT_ARTIFACT)
        return push(self.store, manifest.media_type, manifest.raw)

    def unpack(self, root: Path, descriptor: Descriptor, existing: Existing = Existing.FAIL, *filters: str) -> Report:
        return unpack(self.store, root, descriptor, existing, *filters)


def unpack(
    store: MemoryStore, root: Path, descriptor: Descriptor, existing: Existing = Existing.FAIL, *filters: str
) -> Report:
    source = KitSource(store, read_kit(store, descriptor), Selection.parse(filters))
    return deliver(source, root, DeliverOptions(existing=existing, pauser=Pauser(NEVER)))


# Right kits


def context(root: Path) -> Path:
    files = {
        "model.bin": b"weights" * 1000,
        "parts/lora.bin": b"lora",
        "data/d1.csv": b"1,2",
        "data/rest/d2.csv": b"3,4",
        "src/a/run.py": b"run",
        "README.md": b"read",
        "system.prompt": b"be good",
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    (root / "src/empty").mkdir()
    return root


KITFILE = Kitfile.parse(b"""\
manifestVersion: 1.0.0
package: {name: iris, authors: [Ada]}
model:
  name: iris
  path: model.bin
  parts: [{name: lora, path: ./parts/lora.bin}]
code: [{path: src/}]
datasets: [{name: first, path: data/d1.csv}, {name: rest, path: data}]
docs: [{path: README.md}]
prompts: [{name: system, path: system.prompt}]
""")

LINES = [
    "Unpacking model iris to model.bin",
    "Unpacking modelpart lora to ./parts/lora.bin",
    "Unpacking dataset first to data/d1.csv",
    "Unpacking dataset rest to data",
    "Unpacking code to src/",
    "Unpacking docs to README.md",
    "Unpacking prompt system to system.prompt",
]


@pytest.mark.parametrize("method", list(Method))
def test_kit_source_packed_kit_comes_back_as_it_was(tmp_path: Path, method: Method) -> None:
    store = MemoryStore()
    packed = pack(KITFILE, context(tmp_path / "in"), store, PackOptions(compression=method))
    out, lines = tmp_path / "out", list[str]()
    source = KitSource(store, read_kit(store, packed.descriptor))
    report = deliver(source, out, DeliverOptions(log=lines.append))
    assert lines == [f"Unpacking config to {out}/Kitfile", *LINES]
    assert report.files == 8
    wanted = tree(tmp_path / "in")
    wanted["Kitfile"] = (0o644, KITFILE.to_yaml())
    assert tree(out) == wanted


@pytest.mark.parametrize("method", list(Method))
def test_kit_source_second_run_fetches_nothing_of_what_is_there(tmp_path: Path, method: Method) -> None:
    store = MemoryStore()
    packed = pack(KITFILE, context(tmp_path / "in"), store, PackOptions(compression=method))
    out, lines = tmp_path / "out", list[str]()
    unpack(store, out, packed.descriptor)
    kit = read_kit(store, packed.descriptor)
    for layer in kit.manifest.layers:
        store.delete(layer)
    report = deliver(KitSource(store, kit), out, DeliverOptions(log=lines.append))
    assert report.bytes_fetched == 0
    assert all(part.present for part in report.parts)
    assert lines == [f"Found existing Kitfile at {out}/Kitfile", *LINES]


def test_kit_source_second_run_mends_what_is_missing_or_fails_for_what_differs(tmp_path: Path) -> None:
    store = MemoryStore()
    packed = pack(KITFILE, context(tmp_path / "in"), store)
    out = tmp_path / "out"
    unpack(store, out, packed.descriptor)
    right = tree(out)
    (out / "data/rest/d2.csv").unlink()
    report = unpack(store, out, packed.descriptor)
    assert [part.name for part in report.parts if not part.present] == ["data"]
    assert tree(out) == right
    (out / "model.bin").write_bytes(b"Weights" * 1000)
    with pytest.raises(ExistsError, match=r"path 'model\.bin' already exists"):
        unpack(store, out, packed.descriptor)
    assert unpack(store, out, packed.descriptor, Existing.KEEP).kept == 1
    unpack(store, out, packed.descriptor, Existing.REPLACE)
    assert tree(out) == right


def test_kit_source_other_kitfile_is_kept_replaced_or_an_error(tmp_path: Path) -> None:
    store = MemoryStore()
    packed = pack(KITFILE, context(tmp_path / "in"), store)
    (tmp_path / "Kitfile").write_bytes(b"other")
    with pytest.raises(ExistsError, match="path 'Kitfile' already exists"):
        unpack(store, tmp_path, packed.descriptor, Existing.FAIL, "kitfile")
    unpack(store, tmp_path, packed.descriptor, Existing.KEEP, "kitfile")
    assert (tmp_path / "Kitfile").read_bytes() == b"other"
    unpack(store, tmp_path, packed.descriptor, Existing.REPLACE, "kitfile")
    assert (tmp_path / "Kitfile").read_bytes() == KITFILE.to_yaml()


def test_kit_source_filters_choose_entries(tmp_path: Path) -> None:
    store = MemoryStore()
    packed = pack(KITFILE, context(tmp_path / "in"), store)
    unpack(store, tmp_path / "out", packed.descriptor, Existing.FAIL, "docs", "datasets:first")
    assert set(tree(tmp_path / "out")) == {"README.md", "data", "data/d1.csv"}


def test_kit_source_modes_that_the_umask_took_do_not_fetch_big_files_again(tmp_path: Path) -> None:
    store = MemoryStore()
    source = tmp_path / "in"
    source.mkdir()
    (source / "m").write_bytes(os.urandom(14 << 20))
    (source / "m").chmod(0o664)
    packed = pack(Kitfile.parse(b"manifestVersion: 1.0.0\nmodel: {path: m}\n"), source, store)
    unpack(store, tmp_path / "out", packed.descriptor)
    report = unpack(store, tmp_path / "out", packed.descriptor)
    assert (tmp_path / "out/m").stat().st_mode & 0o777 == 0o644
    assert report.bytes_fetched < 6 << 20


paths = st.lists(
    st.text("ab.é_", min_size=1, max_size=6).filter(lambda part: part not in {".", ".."}), min_size=1, max_size=3
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(files=st.dictionaries(paths.map("/".join), st.binary(max_size=3000), min_size=1, max_size=8), data=st.data())
def test_kit_source_any_tree_packed_and_unpacked_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], data: st.DataObject
) -> None:
    base = tmp_path_factory.mktemp("law")
    files = {path: content for path, content in files.items() if not any(o.startswith(f"{path}/") for o in files)}
    for path, content in files.items():
        (base / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (base / "in" / path).write_bytes(content)
    single = data.draw(st.sampled_from(sorted(files)))
    kitfile = Kitfile.parse(f"manifestVersion: 1.0.0\nmodel: {{path: '{single}'}}\ncode: [{{path: .}}]\n".encode())
    store = MemoryStore()
    method = data.draw(st.sampled_from(list(Method)))
    packed = pack(kitfile, base / "in", store, PackOptions(compression=method))
    unpack(store, base / "out", packed.descriptor)
    assert tree(base / "out") == {**tree(base / "in"), "Kitfile": (0o644, kitfile.to_yaml())}
    assert unpack(store, base / "out", packed.descriptor).bytes_fetched == 0


def test_kit_source_kits_of_old_without_digests_unpack_below_the_entrys_parent(tmp_path: Path) -> None:
    forge = Forge()
    forge.layer("model", tar([Member("m.bin", b"weights")]))
    forge.layer("code", tar([directory("lib"), Member("lib/a.py", b"a")]))
    kit = forge.kit(model={"path": "models/m.bin"}, code=[{"path": "src/lib"}])
    forge.unpack(tmp_path, kit, Existing.FAIL, "model", "code")
    assert {path: content for path, (_, content) in tree(tmp_path).items() if content} == {
        "models/m.bin": b"weights",
        "src/lib/a.py": b"a",
    }
    assert forge.unpack(tmp_path, kit, Existing.FAIL, "model", "code").kept == 0


def test_kit_source_raw_layers_keep_their_mode_without_setuid(tmp_path: Path) -> None:
    forge = Forge()
    layer = forge.layer("code", b"#!", form="raw", path="bin/run", name="../x", mode=0o4755, size=2, typeflag=50)
    packed = forge.layer("docs", gzip.compress(b"text"), form="raw+gzip", path="t.md", name="t.md", mode=0o600, size=4)
    plain = forge.layer("dataset", zstandard.compress(b"data"), form="raw+zstd", path="d.csv")
    kit = forge.kit(
        code=[{"path": "bin/run", **layer}], docs=[{"path": "t.md", **packed}], datasets=[{"path": "d.csv", **plain}]
    )
    forge.unpack(tmp_path, kit, Existing.FAIL, "code", "docs", "datasets")
    wanted = {
        "bin": (0o755, None),
        "bin/run": (0o755, b"#!"),
        "d.csv": (0o644, b"data"),
        "t.md": (0o600, b"text"),
    }
    assert tree(tmp_path) == wanted
    assert forge.unpack(tmp_path, kit, Existing.FAIL, "code", "docs").bytes_fetched == 0


# Hostile kits


def refuse(
    forge: Forge,
    tmp_path: Path,
    kit: Callable[[], Descriptor],
    error: type[KitcarError],
    existing: Existing,
    match: str = ".",
) -> None:
    """The kit is refused, and neither its own directory nor anything beside it shows a trace of its content."""
    root = tmp_path / "base/root"
    root.mkdir(parents=True, exist_ok=True)
    before = {path: value for path, value in tree(tmp_path).items() if not path.endswith("Kitfile")}
    with pytest.raises(error, match=match):
        forge.unpack(root, kit(), existing)
    after = {path: value for path, value in tree(tmp_path).items() if not path.endswith("Kitfile")}
    assert after == before


POLICIES = pytest.mark.parametrize("existing", list(Existing))


@POLICIES
@pytest.mark.parametrize(
    "members",
    [
        [Member("../x", b"evil")],
        [Member("code/../../x", b"evil")],
        [Member("/tmp/kitcar-evil", b"evil")],
        [directory("../up")],
        [Member("code/x", kind=b"2", link="/etc")],
        [Member("code/x", kind=b"1", link="/etc/passwd")],
        [Member("code/x", kind=b"3")],
        [Member("code/x", kind=b"6")],
        [directory("code"), Member("code/l", kind=b"2", link="../.."), Member("code/l/x", b"evil")],
        [Member("model.safetensors", b"evil")],
        [Member(".git/config", b"evil")],
        [directory(".git")],
        [Member("coder", b"evil")],
        [Member("code/x", b"1"), Member("code/x", b"2")],
        [Member("code/x", b"1"), Member("./code//x", b"1")],
        [Member("code/x", b"1"), Member("code/x/y", b"2")],
        [Member("code/x/y", b"1"), Member("code/x", b"2")],
        [Member("code/inner/z", b"belongs to docs")],
        [Member(".kitcar-staging/lock", b"evil")],
    ],
)
def test_kit_source_hostile_tar_is_refused(tmp_path: Path, members: list[Member], existing: Existing) -> None:
    forge = Forge()
    layer = forge.layer("code", tar(members))
    docs = forge.layer("docs", tar([Member("code/inner/z", b"docs")]))
    kit = forge.kit(code=[{"path": "code", **layer}], docs=[{"path": "code/inner", **docs}])
    root = tmp_path / "base/root"
    with pytest.raises((UnsafePathError, ExistsError, InvalidError)):
        forge.unpack(root, kit, existing)
    # The other part may have been shown before; the hostile one never is.
    assert set(tree(root)) <= {"Kitfile", "code", "code/inner", "code/inner/z"}
    assert set(tree(tmp_path)) - {f"base/root/{path}" for path in tree(root)} == {"base", "base/root"}
    if (root / "code/inner/z").exists():
        assert (root / "code/inner/z").read_bytes() == b"docs"


@POLICIES
@pytest.mark.parametrize("path", ["../x", "/tmp/kitcar-evil", "a/../../x", "..", "a\0b"])
@pytest.mark.parametrize("form", ["raw", "tar"])
def test_kit_source_hostile_path_is_refused(tmp_path: Path, path: str, form: str, existing: Existing) -> None:
    forge = Forge()
    content = b"evil" if form == "raw" else tar([Member("x", b"evil")])
    layer = forge.layer("model", content, form=form, path=path)
    refuse(forge, tmp_path, lambda: forge.kit(model={"path": path, **layer}), KitcarError, existing)


def test_kit_source_hostile_path_in_a_kit_of_old_is_refused(tmp_path: Path) -> None:
    forge = Forge()
    forge.layer("code", tar([Member("code", b"evil")]))
    refuse(forge, tmp_path, lambda: forge.kit(code=[{"path": "../../up/code"}]), KitcarError, Existing.FAIL)


@POLICIES
@pytest.mark.parametrize("form", ["tar", "raw"])
@pytest.mark.parametrize("link", ["dangling", "file", "directory"])
def test_kit_source_links_in_the_destination_are_never_followed(
    tmp_path: Path, form: str, link: str, existing: Existing
) -> None:
    root, outside = tmp_path / "base/root", tmp_path / "outside"
    root.mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_bytes(b"mine")
    path = "b/o.csv" if link == "directory" else "o.csv"
    if link == "directory":
        (root / "b").symlink_to(outside)
    else:
        (root / "o.csv").symlink_to(outside / ("gone" if link == "dangling" else "file"))
    forge = Forge()
    layer = forge.layer("dataset", b"evil" if form == "raw" else tar([Member(path, b"evil")]), form=form, path=path)
    kit = forge.kit(datasets=[{"path": path, **layer}])
    refuse(forge, tmp_path, lambda: kit, UnsafePathError, existing, "symbolic link")


@POLICIES
def test_kit_source_link_at_the_kitfiles_place_is_never_followed(tmp_path: Path, existing: Existing) -> None:
    root = tmp_path / "base/root"
    root.mkdir(parents=True)
    (root / "Kitfile").symlink_to(tmp_path / "gone")
    forge = Forge()
    with pytest.raises(UnsafePathError, match="symbolic link"):
        forge.unpack(root, forge.kit(), existing)
    assert not (tmp_path / "gone").exists()


@POLICIES
@pytest.mark.parametrize("form", ["tar", "tar+gzip", "tar+zstd", "raw", "raw+gzip"])
def test_kit_source_wrong_diff_id_is_refused(tmp_path: Path, form: str, existing: Existing) -> None:
    forge = Forge()
    plain = b"model" if form.startswith("raw") else tar([Member("m", b"model")])
    content = {"gzip": gzip.compress, "zstd": zstandard.compress}.get(form.partition("+")[2], bytes)(plain)
    layer = forge.layer("model", content, form=form, path="m", name="m", mode=0o644, size=5)
    layer["diffId"] = "sha256:" + "0" * 64
    refuse(forge, tmp_path, lambda: forge.kit(model={"path": "m", **layer}), IntegrityError, existing, "diffId")


def test_kit_source_raw_layer_with_wrong_size_in_its_metadata_is_refused(tmp_path: Path) -> None:
    forge = Forge()
    layer = forge.layer("model", b"model", form="raw", path="m", name="m", mode=0o644, size=4)
    refuse(forge, tmp_path, lambda: forge.kit(model={"path": "m", **layer}), IntegrityError, Existing.FAIL, "metadata")


def test_kit_source_gzip_bomb_is_refused(tmp_path: Path) -> None:
    forge = Forge()
    bomb = gzip.compress(tar([Member("m", bytes(128 << 20))]), 9)
    layer = forge.layer("model", bomb, form="tar+gzip")
    refuse(forge, tmp_path, lambda: forge.kit(model={"path": "m", **layer}), InvalidError, Existing.FAIL, "expands")


def test_kit_source_two_layers_with_one_file_are_refused(tmp_path: Path) -> None:
    forge = Forge()
    first = forge.layer("code", tar([Member("src/x", b"1")]))
    second = forge.layer("docs", tar([Member("src/x", b"2")]))
    kit = forge.kit(code=[{"path": "src", **first}], docs=[{"path": "src", **second}])
    with pytest.raises(KitcarError):
        forge.unpack(tmp_path, kit)


def test_kit_source_layer_with_a_kitfile_of_its_own_is_refused(tmp_path: Path) -> None:
    forge = Forge()
    layer = forge.layer("code", tar([Member("Kitfile", b"evil"), Member("sub/Kitfile", b"fine")]))
    kit = forge.kit(code=[{"path": ".", **layer}])
    with pytest.raises(UnsafePathError, match="another entry"):
        forge.unpack(tmp_path / "a", kit)
    forge.unpack(tmp_path / "b", kit, Existing.FAIL, "code")
    assert set(tree(tmp_path / "b")) == {"Kitfile", "sub", "sub/Kitfile"}


def test_kit_source_names_with_escapes_are_shown_harmless(tmp_path: Path) -> None:
    forge = Forge()
    layer = forge.layer("model", tar([Member("m\x1b[2J", b"x")]))
    kit = forge.kit(model={"name": "evil\x1b[31m\n", "path": "m\x1b[2J", **layer})
    lines: list[str] = []
    deliver(KitSource(forge.store, read_kit(forge.store, kit)), tmp_path, DeliverOptions(log=lines.append))
    assert not any("\x1b" in line or "\n" in line for line in lines)


def test_kit_source_corrupt_store_is_noticed(tmp_path: Path) -> None:
    class Corrupt(MemoryStore):
        def fetch(self, descriptor: Descriptor):  # type: ignore[no-untyped-def]
            reader = super().fetch(descriptor)
            if descriptor.media_type == TYPE.format("model", "tar"):
                inner = reader.readinto

                def readinto(buffer: memoryview, /) -> int:
                    count = inner(buffer)
                    if count > 600:
                        buffer[600] ^= 1
                    return count

                reader.readinto = readinto  # type: ignore[method-assign]
            return reader

    store = Corrupt()
    packed = pack(KITFILE, context(tmp_path / "in"), store)
    with pytest.raises(IntegrityError):
        unpack(store, tmp_path / "out", packed.descriptor)
    assert not (tmp_path / "out/model.bin").exists()


def calls(action: Callable[[], object]) -> int:
    """How many Python functions `action` calls."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def test_work_for_many_layers_grows_no_faster_than_their_number() -> None:
    def work(number: int) -> int:
        forge = Forge()
        docs = [{"path": f"d{n}", **forge.layer("docs", b"%d" % n)} for n in range(number)]
        descriptor = forge.kit(docs=docs)
        kit = read_kit(forge.store, descriptor)
        return calls(lambda: KitSource(forge.store, kit).parts())

    assert work(400) < 3 * work(200)


def test_parts_keep_out_of_each_others_paths() -> None:
    forge = Forge()
    paths = ["a", "a/b", "a/b/c", "a-b", "a0", "a.b", "b", "."]
    docs = [{"path": path, **forge.layer("docs", path.encode())} for path in paths]
    parts = KitSource(forge.store, read_kit(forge.store, forge.kit(docs=docs))).parts()
    others = {part.layout.scope.path: set(part.layout.scope.others) for part in parts if hasattr(part.layout, "scope")}
    assert others == {
        **{path: set() for path in paths},
        "a": {"a/b", "a/b/c"},
        "a/b": {"a/b/c"},
        ".": {"Kitfile", *paths} - {"."},
    }
