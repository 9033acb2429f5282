"""The peers are the versions they should be, and the servers answer."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.kit import Kit
from harness.processes import Server


def _output(*command: str | Path) -> str:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout


def _status(url: str, authorization: str = "") -> int:
    request = urllib.request.Request(url, headers={"Authorization": authorization} if authorization else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_kit_version_is_the_one_the_corpus_names(kit: Callable[..., Kit]) -> None:
    assert "Version: 1.15.0" in kit()("version").stdout


def test_kit_home_never_looks_for_updates(kit: Callable[..., Kit]) -> None:
    assert (kit().home / "disable-update-notifications").exists()


def test_clients_answer_with_a_version(crane: Path, regctl: Path, oras: Path, skopeo: Path) -> None:
    assert _output(crane, "version")
    assert _output(regctl, "version")
    assert "Version:" in _output(oras, "version")
    assert "skopeo version" in _output(skopeo, "--version")


def test_kit_module_carries_its_test_data(kit_module: Path) -> None:
    assert (kit_module / "testing" / "testdata" / "pack-unpack").is_dir()


@pytest.mark.parametrize("name", ["docker_registry", "crane_registry"])
def test_registry_answers_the_version_check(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    assert _status(f"http://{server.address}/v2/") == 200


def test_registry_with_passwords_refuses_who_has_none(docker_registry_auth: Server) -> None:
    url = f"http://{docker_registry_auth.address}/v2/"
    right = b64encode(f"{docker_registry_auth.username}:{docker_registry_auth.password}".encode()).decode()
    assert _status(url) == 401
    assert _status(url, f"Basic {right}") == 200


@pytest.mark.expensive
def test_cosign_answers_with_a_version_of_its_third_series(cosign: Path) -> None:
    assert _output(cosign, "version", "--json").strip().startswith("{")
