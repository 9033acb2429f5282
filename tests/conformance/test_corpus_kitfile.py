"""Every ModelKit of the corpus is read, matched and written back as the kit that made it did."""

from __future__ import annotations

import json

from harness.corpus import Case
from kitcar.modelkit.dialect import Dialect
from kitcar.modelkit.kit import Kit, read_kit
from kitcar.oci.encoding import encode
from kitcar.oci.reference import Reference
from kitcar.oci.verify import fetch_all
from kitcar.stores.layout import LayoutStore


def opened(case: Case) -> tuple[Kit, bytes]:
    reference = Reference.parse(case.reference)
    repository = LayoutStore(case.storage).repository(reference.name)
    kit = read_kit(repository, repository.resolve(reference.target))
    return kit, fetch_all(repository, kit.manifest.config)


def test_corpus_kitfile_is_written_as_kit_info_shows_it(corpus_case: Case) -> None:
    kit, _ = opened(corpus_case)
    assert kit.kitfile.to_yaml().decode() == corpus_case.command("info").stdout


def test_corpus_config_is_written_to_the_byte(corpus_case: Case) -> None:
    kit, config = opened(corpus_case)
    if kit.dialect is Dialect.MODELPACK:
        assert kit.kitfile.to_json().decode() in kit.manifest.annotations.values()
    else:
        assert kit.kitfile.to_json() == config


def test_corpus_inspect_shows_the_kitfile_as_a_document(corpus_case: Case) -> None:
    kit, _ = opened(corpus_case)
    shown = json.loads(corpus_case.command("inspect").stdout)
    assert json.dumps(shown["kitfile"]) == json.dumps(json.loads(encode(kit.kitfile.document())))
    assert kit.version == shown["cliVersion"] == corpus_case.version


def test_corpus_layers_all_find_their_entries(corpus_case: Case) -> None:
    kit, _ = opened(corpus_case)
    layers = kit.layers()
    assert {layer.descriptor for layer in layers} == set(kit.manifest.layers)
    assert [layer.entry for layer in layers] == [entry for entry in kit.kitfile.entries() if not entry.remote]
    assert all(layer.diff_id for layer in layers)
