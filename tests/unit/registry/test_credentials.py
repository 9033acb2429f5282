from __future__ import annotations

import base64
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from kitcar.errors import InvalidError
from kitcar.registry.credentials import ConfigFile, Credential, CredentialChain, CredentialStore, FixedCredential
from kitcar.registry.docker_config import HUB_ADDRESS

HELPER = """#!/bin/sh
# A credential helper that keeps one entry in a file beside it.
folder=$(dirname "$0")
case "$1" in
get)
  read -r address
  echo "get $address" >> "$folder/log"
  [ -f "$folder/entry" ] && exec cat "$folder/entry"
  echo "credentials not found in native keychain"; exit 1 ;;
store) echo store >> "$folder/log"; cat > "$folder/entry" ;;
erase) echo erase >> "$folder/log"; rm -f "$folder/entry" ;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker-credential-vault"
    program.write_text(HELPER)
    program.chmod(0o755)
    broken = folder / "docker-credential-broken"
    broken.write_text("#!/bin/sh\necho secret-detail >&2\nexit 3\n")
    broken.chmod(0o755)
    odd = folder / "docker-credential-odd"
    odd.write_text("#!/bin/sh\necho '[]'\n")
    odd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def entry(name: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:pw".encode()).decode()}


def test_config_file_that_is_absent_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert ConfigFile(tmp_path / "none").find("ghcr.io") is None
    assert ConfigFile(tmp_path / "file" / "below").find("ghcr.io") is None
    assert ConfigFile(tmp_path).find("ghcr.io") is None


@pytest.mark.parametrize("name", ["config.json", ".dockerconfigjson"])
def test_config_folder_holds_a_mounted_secret_under_a_usual_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, {"auths": {"ghcr.io": entry("me")}})
    assert ConfigFile(tmp_path).find("ghcr.io") == Credential("me", "pw")


def test_config_folder_of_a_dockercfg_secret_is_read(tmp_path: Path) -> None:
    write(tmp_path / ".dockercfg", {"ghcr.io": entry("me")})
    assert ConfigFile(tmp_path).find("ghcr.io") == Credential("me", "pw")


def test_chain_from_environment_asks_kits_file_before_dockers(tmp_path: Path) -> None:
    write(tmp_path / "kit" / "credentials.json", {"auths": {"ghcr.io": entry("kit")}})
    write(tmp_path / ".docker" / "config.json", {"auths": {"ghcr.io": entry("docker"), "quay.io": entry("home")}})
    write(tmp_path / "elsewhere" / "config.json", {"auths": {"quay.io": entry("elsewhere")}})
    chain = CredentialChain.from_environment({"HOME": str(tmp_path)}, tmp_path / "kit")
    assert chain.find("ghcr.io") == Credential("kit", "pw")
    assert chain.find("quay.io") == Credential("home", "pw")
    assert chain.find("other.io") is None
    moved = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "elsewhere")}
    assert CredentialChain.from_environment(moved).find("quay.io") == Credential("elsewhere", "pw")
    assert CredentialChain.from_environment({}).find("quay.io") is None


def test_chain_before_asks_what_was_given_first() -> None:
    chain = CredentialChain([FixedCredential(Credential("late", "pw"))])
    first = FixedCredential(Credential("early", "pw"), "ghcr.io")
    assert chain.before(first).find("ghcr.io") == Credential("early", "pw")
    assert chain.before(first).find("quay.io") == Credential("late", "pw")


def test_helper_is_asked_by_the_address_docker_uses(tmp_path: Path, helper: Path) -> None:
    (helper / "entry").write_text(json.dumps({"ServerURL": "x", "Username": "me", "Secret": "pw"}))
    path = write(tmp_path / "config.json", {"credHelpers": {"gcr.io": "vault"}, "auths": {"quay.io": entry("file")}})
    assert ConfigFile(path).find("gcr.io") == Credential("me", "pw")
    assert ConfigFile(path).find("quay.io") == Credential("file", "pw")
    store = write(tmp_path / "store.json", {"credsStore": "vault", "auths": {HUB_ADDRESS: {}}})
    assert ConfigFile(store).find("docker.io") == Credential("me", "pw")
    assert (helper / "log").read_text().splitlines() == ["get gcr.io", f"get {HUB_ADDRESS}"]


def test_helper_with_an_identity_token_gives_one(tmp_path: Path, helper: Path) -> None:
    (helper / "entry").write_text(json.dumps({"Username": "<token>", "Secret": "it"}))
    path = write(tmp_path / "config.json", {"credsStore": "vault"})
    assert ConfigFile(path).find("azurecr.io") == Credential(identity_token="it")


def test_helper_that_knows_nothing_leaves_it_to_the_file(tmp_path: Path, helper: Path) -> None:
    path = write(tmp_path / "config.json", {"credsStore": "vault", "auths": {"quay.io": entry("file")}})
    assert ConfigFile(path).find("quay.io") == Credential("file", "pw")
    assert ConfigFile(path).find("ghcr.io") is None


@pytest.mark.parametrize("name", ["broken", "odd", "absent", "../../bin/sh", "-x", "a b"])
def test_helper_that_cannot_be_used_is_named_without_its_output(tmp_path: Path, helper: Path, name: str) -> None:
    path = write(tmp_path / "config.json", {"credsStore": name})
    with pytest.raises(InvalidError, match="credential helper") as caught:
        ConfigFile(path).find("quay.io")
    assert "secret-detail" not in str(caught.value)


def test_store_saves_for_its_owner_alone_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "home" / "credentials.json"
    store = CredentialStore(path)
    store.save("ghcr.io", Credential("me", "pw"))
    store.save("docker.io", Credential(identity_token="it"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    document = json.loads(path.read_text())
    assert document["auths"] == {"ghcr.io": entry("me"), HUB_ADDRESS: {"auth": "", "identitytoken": "it"}}
    assert ConfigFile(path).find("docker.io") == Credential(identity_token="it")
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_store_tightens_the_mode_of_a_file_that_others_could_read(tmp_path: Path) -> None:
    path = write(tmp_path / "credentials.json", {"auths": {}, "other": {"kept": True}})
    path.chmod(0o644)
    CredentialStore(path).save("ghcr.io", Credential("me", "pw"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["other"] == {"kept": True}


def test_store_erases_and_says_whether_there_was_anything(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path / "home" / "credentials.json")
    assert store.erase("ghcr.io") is False
    assert not (tmp_path / "home").exists()
    store.save("ghcr.io", Credential("me", "pw"))
    assert store.erase("quay.io") is False
    assert store.erase("ghcr.io") is True
    assert store.erase("ghcr.io") is False


def test_store_with_a_helper_leaves_no_secret_in_the_file(tmp_path: Path, helper: Path) -> None:
    path = write(tmp_path / "credentials.json", {"credsStore": "vault"})
    store = CredentialStore(path)
    store.save("docker.io", Credential(identity_token="it"))
    assert json.loads((helper / "entry").read_text()) == {
        "ServerURL": HUB_ADDRESS,
        "Username": "<token>",
        "Secret": "it",
    }
    assert json.loads(path.read_text()) == {"credsStore": "vault"}
    assert store.erase("docker.io") is True
    assert not (helper / "entry").exists()


def test_store_used_by_many_at_once_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    names = [f"registry{n}.io" for n in range(16)]
    threads = [
        threading.Thread(target=CredentialStore(path).save, args=(name, Credential(name, "pw"))) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(json.loads(path.read_text())["auths"]) == set(names)


def test_store_of_a_malformed_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text("{secret")
    with pytest.raises(InvalidError, match="not JSON"):
        CredentialStore(path).save("ghcr.io", Credential("me", "pw"))
    assert path.read_text() == "{secret"


def test_store_below_a_file_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidError, match="cannot use"):
        CredentialStore(tmp_path / "file" / "credentials.json").save("ghcr.io", Credential("me", "pw"))
    (tmp_path / "folder" / "config.json").mkdir(parents=True)
    with pytest.raises(InvalidError, match="cannot use"):
        CredentialStore(tmp_path / "folder" / "config.json").erase("ghcr.io")


def test_helper_that_babbles_is_an_error(tmp_path: Path, helper: Path) -> None:
    program = helper / "docker-credential-noise"
    program.write_text("#!/bin/sh\nprintf '\\377\\376'\n")
    program.chmod(0o755)
    path = write(tmp_path / "config.json", {"credsStore": "noise"})
    with pytest.raises(InvalidError, match="another form"):
        ConfigFile(path).find("quay.io")


def test_place_that_cannot_be_looked_at_is_a_clear_error(tmp_path: Path) -> None:
    hidden = tmp_path / ("x" * 300)
    with pytest.raises(InvalidError, match="cannot use"):
        ConfigFile(hidden).find("ghcr.io")
    with pytest.raises(InvalidError, match="cannot use"):
        CredentialStore(hidden).erase("ghcr.io")
