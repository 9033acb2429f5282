"""Packing what kit packed: same layers, same configs, same descriptors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.corpus import Case
from kitcar.files.tree import Tree
from kitcar.modelkit.assemble import read_rules
from kitcar.modelkit.compression import Method
from kitcar.modelkit.dialect import FILE_METADATA, Dialect
from kitcar.modelkit.kit import Kit, read_kit
from kitcar.modelkit.kitfile import Kitfile, find_kitfile
from kitcar.modelkit.pack import PackOptions, pack
from kitcar.modelkit.plan import plan_raw, plan_tar
from kitcar.modelkit.stream import LayerStream
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.reference import Reference
from kitcar.stores.layout import LayoutStore
from kitcar.stores.memory import MemoryStore

TAR_MODELKITS = ("catch-all", "full", "gzip", "ignore", "mcp", "minimal", "minimal-kit-1.7", "zstd")
METHODS = {"gzip": Method.GZIP, "zstd": Method.ZSTD}


def original(case: Case) -> Kit:
    reference = Reference.parse(case.reference)
    source = LayoutStore(case.storage).repository(reference.name)
    return read_kit(source, source.resolve(reference.tag or "latest"))


def context(case: Case, folder: Path) -> tuple[Path, Kitfile]:
    directory = case.extract(folder)
    return directory, Kitfile.parse(find_kitfile(directory).read_bytes())


@pytest.mark.parametrize("name", TAR_MODELKITS)
def test_corpus_kit_packed_again_has_the_layers_and_config_of_kit(
    corpus: dict[str, Case], name: str, tmp_path: Path
) -> None:
    case, method = corpus[name], METHODS.get(name, Method.NONE)
    directory, kitfile = context(case, tmp_path)
    made, theirs = pack(kitfile, directory, MemoryStore(), PackOptions(compression=method)), original(case)
    assert made.warnings == ()
    assert [layer.diff_id for layer in made.layers] == [layer.diff_id for layer in theirs.layers()]
    assert [layer.media_type for layer in made.manifest.layers] == [
        layer.media_type for layer in theirs.manifest.layers
    ]
    if method is Method.NONE:
        assert made.manifest.config == theirs.manifest.config
        assert made.manifest.layers == theirs.manifest.layers
    if theirs.manifest.artifact_type:  # kit 1.7 wrote neither this nor annotations of layers
        assert list(map(annotations, made.manifest.layers)) == list(map(annotations, theirs.manifest.layers))


def test_corpus_layers_of_every_form_have_the_bytes_of_kit(corpus_case: Case, tmp_path: Path) -> None:
    directory, kitfile = context(corpus_case, tmp_path)
    tree, paths = Tree(directory), [entry.clean_path for entry in kitfile.entries()]
    for layer in original(corpus_case).layers():
        raw = layer.type.form == "raw"
        plan = plan_raw(tree, layer.path) if raw else plan_tar(tree, layer.path, read_rules(tree), paths)
        stream = LayerStream(plan)
        for _ in stream.chunks():
            pass
        assert stream.digest() == layer.diff_id, layer.path


def test_corpus_modelpack_kitfile_packed_as_modelkit_keeps_its_diff_ids(
    corpus: dict[str, Case], tmp_path: Path
) -> None:
    directory, kitfile = context(corpus["modelpack"], tmp_path)
    theirs = original(corpus["modelpack"])
    assert theirs.dialect is Dialect.MODELPACK
    made = pack(kitfile, directory, MemoryStore())
    assert made.kitfile.to_json() == theirs.kitfile.to_json()


def annotations(layer: Descriptor) -> dict[str, object]:
    found: dict[str, object] = dict(layer.annotations)
    if FILE_METADATA in found:
        # The archive of the corpus has no times.
        metadata = json.loads(str(found[FILE_METADATA]))
        found[FILE_METADATA] = list({**metadata, "mtime": ""}.items())
    return found
