"""Logging in to AWS ECR and Google Artifact Registry: real STS and ECR requests to moto, a metadata server over HTTP.

The registries themselves are this suite's own, reached under their cloud names through a proxy, as a pod with a proxy would.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.processes import Server, server
from harness.stub import Asked, Reply, StubServer
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.pack import PackOptions, pack
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.server import RunningRegistry

ROLE = "arn:aws:iam::111111111111:role/reader"
ECR_HOST = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
CHINA_HOST = "222222222222.dkr.ecr.cn-north-1.amazonaws.com.cn"
GAR_HOST = "europe-west3-docker.pkg.dev"
ECR_TOKEN = "111111111111-auth-token"
"""What moto's ECR gives to the role's account, and to no other."""
TOKEN = "ya29.access-token"


class CloudProxy(StubServer):
    """An HTTP proxy that serves every host from one registry, and lets in only who shows the password that is right."""

    def __init__(self, registry: str, password: str = "") -> None:
        self.registry, self.password = registry, password
        self.seen: list[tuple[str, str, str]] = []
        super().__init__(self._pass_on)

    def _pass_on(self, asked: Asked) -> Reply:
        url = urlsplit(asked.path)
        user, _, password = _basic(asked.headers.get("authorization", "")).partition(":")
        self.seen.append((url.netloc, url.path, user))
        if self.password and password != self.password:
            return Reply(401, {"WWW-Authenticate": 'Basic realm="cloud"'}, b"{}")
        connection = http.client.HTTPConnection(self.registry, timeout=10)
        connection.request(asked.method, url.path, headers={"Accept": asked.headers.get("accept", "*/*")})
        answer = connection.getresponse()
        headers = {name: value for name, value in answer.getheaders() if name.lower().startswith(("content-t", "dock"))}
        reply = Reply(answer.status, headers, answer.read())
        connection.close()
        return reply


class MetadataServer(StubServer):
    """What answers at metadata.google.internal in a pod with workload identity."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.seen: list[str] = []
        super().__init__(self._reply)

    def _reply(self, asked: Asked) -> Reply:
        url = urlsplit(asked.path)
        self.seen.append(url.path)
        status, body = self.answer(url.path, parse_qs(url.query))
        if asked.headers.get("metadata-flavor") != "Google":
            status, body = 403, b"missing header"
        kind = "application/json" if body.startswith(b"{") else "application/text"
        return Reply(status, {"Metadata-Flavor": "Google", "Content-Type": kind}, body)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        if path.endswith("/token"):
            token = {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}
            return self.status, json.dumps(token).encode() if self.status == 200 else b"no such service account"
        if "/service-accounts/" in path:
            account = {"email": "reader@project.iam.gserviceaccount.com", "scopes": ["all"], "aliases": ["default"]}
            return 200, json.dumps(account).encode()
        return 200, b"project"


def _basic(header: str) -> str:
    return base64.b64decode(header.removeprefix("Basic ")).decode() if header.startswith("Basic ") else ""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with one ModelKit, `team/iris:v1`."""
    context = tmp_path_factory.mktemp("context")
    (context / "model.joblib").write_text("the model\n")
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        target = Repository(Reference.parse(f"{running.address}/team/iris"), connection=Connection(plain_http=True))
        kitfile = Kitfile.parse(b"manifestVersion: 1.0.0\npackage:\n  name: iris\nmodel:\n  path: model.joblib\n")
        pack(kitfile, context, target, PackOptions(tags=("v1",)))
        yield running.address


@pytest.fixture(scope="module")
def moto(moto_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("moto")
    command: list[str | Path] = [moto_environment / "bin" / "moto_server", "-H", "127.0.0.1", "-p", "0"]
    port = r"Running on http://127\.0\.0\.1:(\d+)"
    environ = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}
    with server(command, root=folder, log=folder / "log", port=port, environment=environ, seconds=60) as running:
        yield running


def initialize(host: str, proxy: CloudProxy, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the initializer for a kit at a cloud's registry, with the variables a pod has."""
    flags = f"--plain-http --proxy http://{proxy.address}"
    return subprocess.run(
        [sys.executable, "-m", "kitcar.initializer", f"kit://{host}/team/iris:v1", str(folder / "models")],
        env={"PATH": os.environ["PATH"], "KIT_UNPACK_FLAGS": flags, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def irsa(moto: Server, folder: Path) -> dict[str, str]:
    """What EKS puts into a pod whose service account has a role."""
    token = folder / "token"
    token.write_text("header.payload.signature")
    return {
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_REGION": "us-west-2",
        "AWS_ECR_REGION": "us-west-2",
        "AWS_ENDPOINT_URL": f"http://{moto.address}",
        "AWS_MAX_ATTEMPTS": "1",
    }


@pytest.mark.parametrize(("host", "region"), [(ECR_HOST, "us-west-2"), (CHINA_HOST, "cn-north-1"), (ECR_HOST, "")])
def test_ecr_of_another_account_and_region_is_logged_in_to_through_the_role(
    registry: str, moto: Server, tmp_path: Path, host: str, region: str
) -> None:
    with CloudProxy(registry, password=ECR_TOKEN) as proxy:
        done = initialize(host, proxy, tmp_path, **irsa(moto, tmp_path) | {"AWS_REGION": region})
    assert done.returncode == 0, done.stderr
    assert f"Logging into AWS ECR {host}\nLog in successful\n" in done.stdout
    assert (tmp_path / "models" / "model.joblib").read_text() == "the model\n"
    assert {(netloc, user) for netloc, _, user in proxy.seen if user} == {(host, "AWS")}


def test_ecr_name_and_password_win_over_the_role(registry: str, moto: Server, tmp_path: Path) -> None:
    with CloudProxy(registry, password="secret") as proxy:
        variables = irsa(moto, tmp_path) | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
        done = initialize(ECR_HOST, proxy, tmp_path, KIT_USER="ada", KIT_PASSWORD="secret", **variables)
    assert done.returncode == 0, done.stderr
    assert f"Logging in using repo url: {ECR_HOST}\n" in done.stdout


def test_ecr_role_beside_another_registry_is_passed_over(registry: str, moto: Server, tmp_path: Path) -> None:
    with CloudProxy(registry) as proxy:
        variables = irsa(moto, tmp_path) | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
        done = initialize("registry.example.com", proxy, tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert "Not logging into AWS ECR: registry.example.com is not an ECR registry" in done.stderr


def test_ecr_that_does_not_answer_is_transient(registry: str, moto: Server, tmp_path: Path) -> None:
    with CloudProxy(registry) as proxy:
        variables = irsa(moto, tmp_path) | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
        done = initialize(ECR_HOST, proxy, tmp_path, **variables)
    assert done.returncode == 75
    assert f"[ERROR] logging in to {ECR_HOST}: AWS did not answer" in done.stderr


def test_ecr_token_file_that_is_missing_is_permanent(registry: str, moto: Server, tmp_path: Path) -> None:
    with CloudProxy(registry) as proxy:
        variables = irsa(moto, tmp_path) | {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"}
        done = initialize(ECR_HOST, proxy, tmp_path, **variables)
    assert done.returncode == 1
    assert f"[ERROR] logging in to {ECR_HOST}" in done.stderr
    assert "Traceback" not in done.stderr


def test_ecr_registry_that_refuses_the_token_is_permanent(registry: str, moto: Server, tmp_path: Path) -> None:
    with CloudProxy(registry, password="another") as proxy:
        done = initialize(ECR_HOST, proxy, tmp_path, **irsa(moto, tmp_path))
    assert done.returncode == 1
    assert "Log in successful" not in done.stdout
    assert "401" in done.stderr


def google(metadata: MetadataServer) -> dict[str, str]:
    """What a pod with workload identity has; the host's name stands for metadata.google.internal."""
    return {
        "GCP_WIF": "true",
        "GCP_GAR_LOCATION": "europe-west3",
        "GCE_METADATA_HOST": metadata.address,
        "GCE_METADATA_IP": metadata.address,
    }


def test_gar_is_logged_in_to_with_the_metadata_servers_token(registry: str, tmp_path: Path) -> None:
    with MetadataServer() as metadata, CloudProxy(registry, password=TOKEN) as proxy:
        done = initialize(GAR_HOST, proxy, tmp_path, **google(metadata))
    assert done.returncode == 0, done.stderr
    assert "Logging into GCP Artifact Registry in location europe-west3\nLog in successful\n" in done.stdout
    assert (tmp_path / "models" / "model.joblib").read_text() == "the model\n"
    assert {(netloc, user) for netloc, _, user in proxy.seen if user} == {(GAR_HOST, "oauth2accesstoken")}
    assert any(path.endswith("/token") for path in metadata.seen)
    assert TOKEN not in done.stdout + done.stderr


def test_gar_service_account_that_may_nothing_is_permanent(registry: str, tmp_path: Path) -> None:
    with MetadataServer(status=404) as metadata, CloudProxy(registry, password=TOKEN) as proxy:
        done = initialize(GAR_HOST, proxy, tmp_path, **google(metadata))
    assert done.returncode in {1, 75}
    assert f"[ERROR] logging in to {GAR_HOST}" in done.stderr
    assert "Traceback" not in done.stderr


def test_gar_identity_beside_another_registry_gives_no_token_away(registry: str, tmp_path: Path) -> None:
    with MetadataServer() as metadata, CloudProxy(registry) as proxy:
        done = initialize("registry.example.com", proxy, tmp_path, **google(metadata))
    assert done.returncode == 0, done.stderr
    assert "Not logging into GCP Artifact Registry: registry.example.com is not one" in done.stderr
    assert not metadata.seen
    assert not [user for _, _, user in proxy.seen if user]
