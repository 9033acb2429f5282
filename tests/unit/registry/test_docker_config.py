from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError
from kitcar.registry.docker_config import HUB_ADDRESS, Credential, DockerConfig, server_address


def auth(name: str, password: str = "p") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:{password}".encode()).decode()}


def config(**auths: object) -> DockerConfig:
    return DockerConfig.parse(json.dumps({"auths": auths}).encode(), "config.json")


def found(name: str, registry: str, repository: str = "", **auths: object) -> bool:
    credential = config(**auths).find(registry, repository)
    return credential is not None and credential.username == name


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (auth("me", "a:b"), Credential("me", "a:b")),
        ({"username": "me", "password": "pw"}, Credential("me", "pw")),
        ({**auth("me", "new"), "username": "old", "password": "old"}, Credential("me", "new")),
        ({"auth": "", "identitytoken": "it"}, Credential(identity_token="it")),
        ({**auth("me", ""), "identitytoken": "it"}, Credential("me", "", "it")),
        ({"registrytoken": "rt"}, Credential(registry_token="rt")),
        (auth("<token>", "it"), Credential(identity_token="it")),
        ({}, None),
        ({"auth": ""}, None),
    ],
)
def test_find_reads_every_form_of_entry(entry: dict[str, str], expected: Credential | None) -> None:
    assert config(**{"ghcr.io": entry}).find("ghcr.io") == expected


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("http://ghcr.io/", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("GHCR.io", "ghcr.io"),
        ("localhost:5000", "localhost:5000"),
        (HUB_ADDRESS, "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "registry-1.docker.io"),
        ("*.pkg.dev", "eu.pkg.dev"),
        ("reg*.example.com:5000", "reg2.example.com:5000"),
    ],
)
def test_find_knows_a_registry_under_all_its_names(key: str, registry: str) -> None:
    assert found("me", registry, **{key: auth("me")})


@pytest.mark.parametrize(
    ("key", "registry", "repository"),
    [
        ("ghcr.io", "evil-ghcr.io", ""),
        ("ghcr.io", "ghcr.io.evil.com", ""),
        ("ghcr.io", "ghcr.io:5000", ""),
        ("localhost:5000", "localhost:5001", ""),
        ("*.pkg.dev", "a.b.pkg.dev", ""),
        ("*", "ghcr.io", ""),
        ("ghcr.io/team", "ghcr.io", ""),
        ("ghcr.io/team", "ghcr.io", "teams/model"),
        (HUB_ADDRESS, "quay.io", ""),
    ],
)
def test_find_gives_no_credential_to_another_registry(key: str, registry: str, repository: str) -> None:
    assert config(**{key: auth("me")}).find(registry, repository) is None


def test_find_prefers_the_longest_path_then_the_host_itself() -> None:
    auths = {
        "quay.io": auth("host"),
        "*.io": auth("glob"),
        "quay.io/team": auth("team"),
        "quay.io/team/model": auth("model"),
        "quay.io/team/empty": {},
    }
    assert found("host", "quay.io", "other/x", **auths)
    assert found("team", "quay.io", "team/x", **auths)
    assert found("model", "quay.io", "team/model", **auths)
    assert found("model", "quay.io", "team/model/sub", **auths)
    assert found("team", "quay.io", "team/empty", **auths)
    assert found("glob", "ghcr.io", **auths)


def test_parse_of_a_dockercfg_takes_it_for_auths() -> None:
    assert DockerConfig.parse(json.dumps({"quay.io": auth("me")}).encode(), "x").find("quay.io") == Credential(
        "me", "p"
    )


@pytest.mark.parametrize("raw", [b"", b" \n", b"{}", b'{"auths": null}', b'{"auths": {}, "other": 1}'])
def test_parse_of_nothing_knows_nothing(raw: bytes) -> None:
    assert DockerConfig.parse(raw, "x").find("ghcr.io") is None


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b'"secret"', b'{"auths": ["secret"]}', b'{"auths": {}, "credHelpers": "secret"}', b"\xff\xfe"]
)
def test_parse_of_something_else_names_the_file_and_nothing_in_it(raw: bytes) -> None:
    with pytest.raises(InvalidError, match=r"where\.json") as caught:
        DockerConfig.parse(raw, "where.json")
    assert "secret" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "entry", ["secret", {"auth": 5}, {"auth": "%%%secret"}, {"auth": base64.b64encode(b"secret").decode()}]
)
def test_find_of_a_malformed_entry_says_which_without_its_value(entry: object) -> None:
    with pytest.raises(InvalidError, match=r"ghcr\.io") as caught:
        config(**{"ghcr.io": entry}).find("ghcr.io")
    assert "secret" not in str(caught.value)
    assert config(**{"ghcr.io": entry}).find("quay.io") is None


def test_helper_prefers_the_registrys_own() -> None:
    read = DockerConfig({"credHelpers": {"gcr.io": "gcloud", HUB_ADDRESS: "hub", "bad": 5}, "credsStore": "desktop"})
    assert [read.helper(name) for name in ("gcr.io", "docker.io", "quay.io", "bad")] == [
        "gcloud",
        "hub",
        "desktop",
        "desktop",
    ]
    assert DockerConfig().helper("gcr.io") == ""


_TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters=":\0"), max_size=20)


@given(
    st.sampled_from(["ghcr.io", "docker.io", "localhost:5000"]),
    _TEXT.filter(lambda name: name != "<token>"),
    _TEXT,
    _TEXT,
)
def test_find_gives_back_what_with_credential_took(registry: str, name: str, password: str, token: str) -> None:
    credential = Credential(name, password, token)
    written = DockerConfig({"other": 1, "auths": {f"https://{registry}/v2/": auth("old")}}).with_credential(
        registry, credential
    )
    again = DockerConfig.parse(written.encode(), "x")
    assert again.find(registry) == (credential or None)
    assert again.document["other"] == 1
    assert list(again.document["auths"]) == [server_address(registry)]
    assert again.without(registry).find(registry) is None


def test_without_keeps_entries_of_paths_and_others() -> None:
    left = config(**{"quay.io": auth("a"), "quay.io/team": auth("b"), "ghcr.io": auth("c")}).without("quay.io")
    assert set(left.document["auths"]) == {"quay.io/team", "ghcr.io"}


def test_encode_is_the_form_that_kit_writes() -> None:
    written = DockerConfig().with_credential("localhost:5000", Credential("me", "pw")).encode()
    assert written == b'{\n\t"auths": {\n\t\t"localhost:5000": {\n\t\t\t"auth": "bWU6cHc="\n\t\t}\n\t}\n}'


@pytest.mark.parametrize("credential", [Credential("me", "pw"), Credential(identity_token="it"), Credential()])
def test_pair_and_of_pair_are_inverse(credential: Credential) -> None:
    assert Credential.of_pair(*credential.pair()) == credential


def test_repr_shows_no_secret() -> None:
    shown = repr(Credential("me", "secret1", "secret2", "secret3")) + repr(config(**{"a.b": auth("me", "secret4")}))
    assert "secret" not in shown
    assert "me" in shown


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_parse_of_any_json_finds_or_refuses(value: object) -> None:
    with contextlib.suppress(InvalidError):
        DockerConfig.parse(json.dumps({"auths": value, "x": 1}).encode(), "x").find("ghcr.io")
