from __future__ import annotations

import itertools

import pytest

from kitcar.errors import InvalidError
from kitcar.modelkit import dialect as words
from kitcar.modelkit.dialect import Dialect, Kind, LayerType, dialect_of
from kitcar.oci import media
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import Manifest

PROMPT = {words.LAYER_SUBTYPE: words.SUBTYPE_PROMPT}
EMPTY = Descriptor.of(media.EMPTY, b"{}")


def layer_types() -> list[LayerType]:
    found = []
    for dialect, kind, form, compression in itertools.product(Dialect, Kind, ("tar", "raw"), ("", "gzip", "zstd")):
        if dialect is Dialect.MODELPACK and (kind is Kind.MCPB or (form == "raw" and compression)):
            continue
        found.append(LayerType(kind, form, compression, dialect))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("layer_type", layer_types(), ids=str)
def test_layer_type_parse_and_media_type_are_inverses(layer_type: LayerType) -> None:
    annotations = PROMPT if layer_type.kind is Kind.PROMPT else {}
    assert LayerType.parse(layer_type.media_type, annotations) == layer_type


@pytest.mark.parametrize(
    ("media_type", "label"),
    [
        ("application/vnd.kitops.modelkit.model.v1.tar", "model"),
        ("application/vnd.kitops.modelkit.modelpart.v1.tar+gzip", "modelpart"),
        ("application/vnd.kitops.modelkit.docs.v1.raw+zstd", "docs"),
        ("application/vnd.kitops.modelkit.mcpb.v1.raw", "mcpb"),
        ("application/vnd.cncf.model.weight.v1.raw", "weight"),
        ("application/vnd.cncf.model.weight.config.v1.tar+zstd", "weight.config"),
        ("application/vnd.cncf.model.doc.v1.tar", "doc"),
    ],
)
def test_layer_type_label_is_kits_word(media_type: str, label: str) -> None:
    found = LayerType.parse(media_type)
    assert found is not None
    assert found.label == label


def test_layer_type_label_of_a_prompt_is_code() -> None:
    found = LayerType.parse("application/vnd.kitops.modelkit.code.v1.tar", PROMPT)
    assert found is not None
    assert (found.kind, found.label) == (Kind.PROMPT, "code")


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.kitops.modelkit.config.v1+json",
        "application/vnd.kitops.modelkit.weight.v1.tar",
        "application/vnd.kitops.modelkit.model.v2.tar",
        "application/vnd.kitops.modelkit.model.v1.tar+lz4",
        "application/vnd.kitops.modelkit.model.v1.tar ",
        "application/vnd.cncf.model.weight.v1.raw+gzip",
        "application/vnd.cncf.model.mcpb.v1.raw",
        "model.v1.tar",
    ],
)
def test_layer_type_parse_of_a_foreign_type_gives_none(media_type: str) -> None:
    assert LayerType.parse(media_type) is None


@pytest.mark.parametrize(
    "layer_type",
    [
        LayerType(Kind.MCPB, "raw", "", Dialect.MODELPACK),
        LayerType(Kind.MODEL, "raw", "gzip", Dialect.MODELPACK),
    ],
)
def test_media_type_of_what_modelpack_lacks_is_refused(layer_type: LayerType) -> None:
    with pytest.raises(InvalidError, match=r"not supported"):
        assert layer_type.media_type


@pytest.mark.parametrize("dialect", Dialect)
def test_dialect_of_a_manifest_with_artifact_type_is_told_by_it(dialect: Dialect) -> None:
    assert dialect_of(Manifest.build(EMPTY, (), artifact_type=dialect.artifact_type)) is dialect


@pytest.mark.parametrize("dialect", Dialect)
def test_dialect_of_an_old_manifest_is_told_by_its_config(dialect: Dialect) -> None:
    assert dialect_of(Manifest.build(Descriptor.of(dialect.config_type, b"{}"), ())) is dialect


def test_dialect_of_an_image_is_refused() -> None:
    image = Manifest.build(Descriptor.of(media.IMAGE_CONFIG, b"{}"), ())
    with pytest.raises(InvalidError, match=r"manifest is not a Model manifest"):
        dialect_of(image)
