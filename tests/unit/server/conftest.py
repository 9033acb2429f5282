"""The registry called as a function: no socket."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kitcar.oci.digest import Digest
from kitcar.server.app import RegistryApp
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import Sample


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        (error,) = self.json["errors"]
        return str(error["code"])


class Client:
    def __init__(self, app: RegistryApp, store: LayoutStore) -> None:
        self.app, self.store = app, store
        self.credentials = ""

    def __call__(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        length: int | None = None,
        source: Any = None,
        **headers: str,
    ) -> Answer:
        path, _, query = url.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "wsgi.input": source or io.BytesIO(body or b""),
            "CONTENT_TYPE": headers.pop("content_type", ""),
        }
        if body is not None or length is not None:
            environ["CONTENT_LENGTH"] = str(length if length is not None else len(body or b""))
        elif source is not None:
            environ["wsgi.input_terminated"] = True
        if self.credentials:
            headers["authorization"] = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        started: list[Any] = []
        response = self.app(environ, lambda *given: started.extend(given))
        try:
            data = b"".join(response)
        finally:
            if hasattr(response, "close"):
                response.close()
        status, found = started
        answer = Answer(int(status.split()[0]), {name.lower(): value for name, value in found}, data)
        if method != "HEAD" and answer.status != 204:
            assert int(answer.headers["content-length"]) == len(data)
        return answer

    def blob(self, data: bytes, name: str = "team/iris") -> str:
        digest = str(Digest.of(data))
        assert self("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data).status == 201
        return digest

    def kit(self, kit: Sample, reference: str, name: str = "team/iris") -> Answer:
        for data in kit.blobs.values():
            self.blob(data, name)
        return self(
            "PUT", f"/v2/{name}/manifests/{reference}", kit.manifest.raw, content_type=kit.descriptor.media_type
        )


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Client]:
    def client(**options: Any) -> Client:
        store = LayoutStore(tmp_path / "registry")
        return Client(RegistryApp(store, **options), store)

    return client


@pytest.fixture
def client(make: Callable[..., Client]) -> Client:
    return make()
