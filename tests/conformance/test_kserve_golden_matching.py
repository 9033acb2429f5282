"""Matching against pods that a real KServe mutated: the storage container it took is one that we say claims the URI."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kitcar.errors import InvalidError, NotFoundError
from kitcar.kserve.documents import Document, read_documents
from kitcar.kserve.match import match
from kitcar.kserve.values import StorageContainer, decode

GOLDEN = Path(__file__).parents[1] / "golden"
# Modelcars and volumes never reach a storage container, and plain pods have no predictor.
OURS = re.compile(r"^ +storageUri: (?!oci|pvc)", re.MULTILINE)
CASES = sorted(path for path in GOLDEN.glob("*/[0-9]*.yaml") if OURS.search(path.read_text()))
PROVISIONED = "kserve-provision-location"


def case_of(path: Path) -> dict[str, Any]:
    (document,) = read_documents(path.read_bytes(), path.name)
    value: dict[str, Any] = document.value
    return value


def uri_of(case: dict[str, Any]) -> tuple[str, str]:
    """The one storage URI that a storage container may have to fetch, and the container named for it."""
    predictor = (case.get("inferenceService") or {}).get("spec", {}).get("predictor", {})
    return predictor.get("model", {}).get("storageUri", ""), predictor.get("storageContainerName", "")


def images_of(case: dict[str, Any]) -> set[str]:
    """Images of the init containers that fill the model's volume."""
    containers = case["mutatedPod"]["spec"].get("initContainers", [])
    return {
        container["image"]
        for container in containers
        if any(mount["name"] == PROVISIONED for mount in container.get("volumeMounts", []))
    }


def storage_of(case: dict[str, Any]) -> tuple[StorageContainer, ...]:
    return decode(Document(item, "golden") for item in case.get("clusterStorageContainers") or ()).containers


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_match_golden_case_agrees_with_kserve(path: Path) -> None:
    case = case_of(path)
    uri, name = uri_of(case)
    containers = storage_of(case)
    if "mutatedPod" in case:
        own = {container.container.image for container in containers}
        claimed = {claim.container.container.image for claim in match(uri, containers, name=name).claims}
        taken = images_of(case)
        assert taken <= claimed if taken & own else not claimed
        return
    told = refusal(uri, containers, name)
    if "ClusterStorageContainer" in (denied := case.get("podAdmissionError", "")):
        assert denied.endswith(told)
    if "error parsing regexp" in str(case.get("events")):
        assert "malformed regex" in told
    elif "is not supported" in str(case.get("events")):
        assert told


def refusal(uri: str, containers: tuple[StorageContainer, ...], name: str) -> str:
    """Why nothing serves the URI; the empty text where something does."""
    try:
        return "" if match(uri, containers, name=name).claims else "no claim"
    except (InvalidError, NotFoundError) as error:
        return error.message
