"""The doors to AWS and Google: what their servers say becomes a credential or an error of ours."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.stub import Asked, Reply, StubServer
from kitcar.errors import AuthError, KitcarError, TransportError, UnsupportedError
from kitcar.initializer.ecr import ecr_credential
from kitcar.initializer.entry import initialize
from kitcar.initializer.gar import gar_credential
from kitcar.initializer.login import EcrLogin, GarLogin
from kitcar.registry.credentials import Credential
from kitcar.registry.settings import Connection

ECR = EcrLogin("222222222222.dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1")
GAR = GarLogin("europe-west3-docker.pkg.dev", "europe-west3")
TOKEN = base64.b64encode(b"AWS:a:secret").decode()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment with an access key, no configuration files and no node to ask."""
    variables = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def ecr(aws: pytest.MonkeyPatch, status: int, body: Any) -> tuple[Credential, list[Asked]]:
    reply = Reply(status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode())
    with StubServer(lambda _: reply) as server:
        aws.setenv("AWS_ENDPOINT_URL_ECR", f"http://{server.address}")
        return ecr_credential(ECR), server.asked


def test_ecr_credential_is_the_token_of_the_registrys_region(aws: pytest.MonkeyPatch) -> None:
    credential, asked = ecr(aws, 200, {"authorizationData": [{"authorizationToken": TOKEN}]})
    assert credential == Credential("AWS", "a:secret")
    assert "/eu-west-1/ecr/aws4_request" in asked[0].headers["authorization"]


@pytest.mark.parametrize(
    ("status", "code", "transient"),
    [
        (400, "AccessDeniedException", False),
        (400, "ExpiredTokenException", False),
        (400, "ThrottlingException", True),
        (500, "ServerException", True),
        (503, "", True),
    ],
)
def test_ecr_credential_refused_is_an_error_that_tells_if_it_may_pass(
    aws: pytest.MonkeyPatch, status: int, code: str, transient: bool
) -> None:
    with pytest.raises(AuthError, match=f"logging in to {ECR.registry}: AWS answered {code}") as caught:
        ecr(aws, status, {"__type": code, "message": "no"})
    assert (caught.value.transient, caught.value.status) == (transient, status)


@pytest.mark.parametrize("body", [{}, {"authorizationData": []}, {"authorizationData": [{"authorizationToken": "ä"}]}])
def test_ecr_credential_answer_without_token_is_an_error(aws: pytest.MonkeyPatch, body: Any) -> None:
    with pytest.raises(KitcarError) as caught:
        ecr(aws, 200, body)
    assert not caught.value.transient


def test_ecr_credential_without_any_identity_says_what_to_annotate(aws: pytest.MonkeyPatch) -> None:
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AuthError) as caught:
        ecr(aws, 200, {})
    assert "service account" in str(caught.value.hint)


def test_ecr_credential_nobody_answers_is_transient(aws: pytest.MonkeyPatch) -> None:
    aws.setenv("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:1")
    with pytest.raises(TransportError, match="AWS did not answer"):
        ecr_credential(ECR)


def test_ecr_credential_without_botocore_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    with pytest.raises(UnsupportedError) as caught:
        ecr_credential(ECR)
    assert "kitcar[aws]" in str(caught.value.hint)


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    return monkeypatch


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def service_account(google: pytest.MonkeyPatch, folder: Path, key: str, token_address: str) -> None:
    """A file that names a credential, whose tokens come from an address of ours."""
    account = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": key,
        "client_email": "reader@project.iam.gserviceaccount.com",
        "token_uri": f"http://{token_address}/token",
    }
    (folder / "adc.json").write_text(json.dumps(account))
    google.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "adc.json"))


def gar(google: pytest.MonkeyPatch, folder: Path, key: str, reply: Reply) -> Credential:
    with StubServer(lambda _: reply) as server:
        service_account(google, folder, key, server.address)
        return gar_credential(GAR, Connection(proxy="http://127.0.0.1:1"))


JSON = {"Content-Type": "application/json"}


def test_gar_credential_is_the_access_token(google: pytest.MonkeyPatch, tmp_path: Path, private_key: str) -> None:
    answer = json.dumps({"access_token": "ya29.x", "expires_in": 3600}).encode()
    assert gar(google, tmp_path, private_key, Reply(200, JSON, answer)) == Credential("oauth2accesstoken", "ya29.x")


def test_gar_credential_refused_is_permanent(google: pytest.MonkeyPatch, tmp_path: Path, private_key: str) -> None:
    answer = json.dumps({"error": "invalid_grant", "error_description": "Bad Request"}).encode()
    with pytest.raises(AuthError, match=f"logging in to {GAR.registry}: invalid_grant"):
        gar(google, tmp_path, private_key, Reply(400, JSON, answer))


def test_gar_credential_without_any_identity_says_what_to_set_up(google: pytest.MonkeyPatch) -> None:
    with pytest.raises(AuthError) as caught:
        gar_credential(GAR, Connection())
    assert "workload identity" in str(caught.value.hint)


def test_gar_credential_nobody_answers_is_transient(
    google: pytest.MonkeyPatch, tmp_path: Path, private_key: str
) -> None:
    service_account(google, tmp_path, private_key, "127.0.0.1:1")
    with pytest.raises(TransportError, match="refuses connections"):
        gar_credential(GAR, Connection())


def test_gar_credential_without_google_auth_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(UnsupportedError) as caught:
        gar_credential(GAR, Connection())
    assert "kitcar[gcp]" in str(caught.value.hint)


def test_initializer_goes_through_the_door_its_variables_open(
    aws: pytest.MonkeyPatch, google: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aws.setenv("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:1")
    for login, environ, code in (
        (ECR, {"AWS_ROLE_ARN": "arn"}, 75),
        (GAR, {"GCP_WIF": "true", "GCP_GAR_LOCATION": "europe-west3"}, 1),
    ):
        out, err = io.StringIO(), io.StringIO()
        assert initialize([f"kit://{login.registry}/a/b:1", str(tmp_path / "models")], environ, out, err) == code
        assert out.getvalue().endswith(f"{login.line}\n")
        assert f"logging in to {login.registry}" in err.getvalue()
