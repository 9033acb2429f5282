"""The test data about Kitfiles that kit's module carries: every case holds for kitcar."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.peers import PeerMissingError, module_folder
from kitcar.errors import KitcarError
from kitcar.modelkit.init.generate import init
from kitcar.modelkit.kit_layers import generate
from kitcar.modelkit.kitfile import Kitfile, Package
from kitcar.modelkit.kitfile.nodes import read, value_of
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest


def cases(folder: str) -> list[Any]:
    """The cases of a folder of the module; one that skips, saying why, where there is no module."""
    try:
        found = sorted((module_folder("kit") / folder).glob("*.yaml"))
    except PeerMissingError:
        return [pytest.param(None, id="module-is-missing")]
    return [pytest.param(path, id=path.stem) for path in found]


def load(path: Path | None, request: pytest.FixtureRequest) -> dict[str, Any]:
    if path is None:
        request.getfixturevalue("kit_module")
        raise AssertionError("the fixture skips or fails where there is no module")
    root = read(path.read_bytes())
    assert root
    document: dict[str, Any] = value_of(root, lambda node, message: pytest.fail(f"{node}: {message}"))
    return document


def whole_digests(text: str) -> str:
    """The cases shorten digests to a few letters; these are made whole."""
    return re.sub(r"sha256:[0-9a-z]+", lambda found: str(Digest.of(found[0].encode())), text)


@pytest.mark.parametrize("path", cases("pkg/artifact/testdata/parameters"))
def test_parameters_are_written_as_kit_writes_them(path: Path | None, request: pytest.FixtureRequest) -> None:
    case = load(path, request)
    kitfile = Kitfile.parse(case["kitfileYaml"].encode())
    assert kitfile.to_yaml().decode() == case["kitfileYaml"]
    assert kitfile.to_json().decode() == case["kitfileJson"]


@pytest.mark.parametrize("path", cases("pkg/artifact/testdata/validation"))
def test_validation_finds_what_kit_finds(path: Path | None, request: pytest.FixtureRequest) -> None:
    case = load(path, request)
    try:
        Kitfile.parse(case["kitfile"].encode())
        message = ""
    except KitcarError as error:
        message = str(error)
    assert bool(message) == bool(case["errRegexp"])
    assert re.search(case["errRegexp"], message)


@pytest.mark.parametrize("path", cases("pkg/artifact/testdata/kitfile-generation"))
def test_kitfile_of_a_foreign_modelpack_is_what_kit_makes(path: Path | None, request: pytest.FixtureRequest) -> None:
    case = load(path, request)
    document = json.loads(whole_digests(case["manifestJson"]))
    config = json.loads(whole_digests(case.get("configJson") or "null"))
    try:
        kitfile = _generated(document, config)
        message = ""
    except KitcarError as error:
        message = str(error)
    if "errRegexp" in case:
        assert re.search(case["errRegexp"], message) or "is not a Model manifest" in message
    else:
        assert kitfile == Kitfile.from_json(whole_digests(case["kitfileJson"]))


def _generated(document: dict[str, Any], config: dict[str, Any] | None) -> Kitfile:
    from kitcar.modelkit.dialect import dialect_of
    from kitcar.modelkit.kit_layers import diff_ids_of

    manifest = Manifest.parse(json.dumps(document).encode())
    dialect_of(manifest)
    return generate(manifest, diff_ids_of(json.dumps(config).encode(), manifest) if config else None)


@pytest.mark.parametrize("path", cases("testing/testdata/kitfile-generation"))
def test_init_makes_the_kitfile_that_kit_makes(
    path: Path | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    case = load(path, request)
    for name in case["files"]:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"testing: {name}")
    package = Package(name=case["modelName"], description=case["description"])
    expected = Kitfile.from_json(json.dumps(case["expectedKitfile"]))
    assert init(tmp_path, package=package) == expected
