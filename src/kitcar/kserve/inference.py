"""A client of the Open Inference Protocol (v2) on this machine: is the model ready, and one request."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from urllib.parse import quote

from kitcar.errors import InvalidError, KitcarError, TransportError

LIMIT = 64 * 1024 * 1024
"""Bytes of an answer, at most."""

_QUICK = 2.0
_PATIENT = 300.0


class InferenceClient:
    """Asks one model of a server on 127.0.0.1."""

    def __init__(self, port: int, model: str, *, limit: int = LIMIT) -> None:
        self._port, self._limit = port, limit
        self._model = f"/v2/models/{quote(model, safe='')}"

    @property
    def url(self) -> str:
        """The model's address."""
        return f"http://127.0.0.1:{self._port}{self._model}"

    def ready(self) -> bool:
        """Whether the model answers requests now."""
        try:
            status, _ = self._ask("GET", "/ready", None, _QUICK)
        except KitcarError:
            return False
        return status == http.client.OK

    def infer(self, request: bytes) -> bytes:
        """Sends one request; gives the answer's JSON as it came.

        Raises:
            KitcarError: the server refused the request; the message is its own.
            TransportError: it did not answer.
        """
        status, body = self._ask("POST", "/infer", request, _PATIENT)
        if status != http.client.OK:
            raise KitcarError(f"the model server answered {status}: {_reason(body)}")
        return body

    def _ask(self, method: str, path: str, body: bytes | None, seconds: float) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        with self._connection(seconds) as connection:
            connection.request(method, self._model + path, body, headers)
            response = connection.getresponse()
            answer = response.read(self._limit + 1)
        if len(answer) > self._limit:
            raise KitcarError(f"the model server's answer is longer than {self._limit} bytes")
        return response.status, answer

    @contextlib.contextmanager
    def _connection(self, seconds: float) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=seconds)
        try:
            yield connection
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"the model server did not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()


def check_request(text: bytes, where: str) -> bytes:
    """`text` itself, if it is a JSON object as the protocol asks for.

    Raises:
        InvalidError: it is not; the message names `where`.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{where} is not JSON: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("inputs"), list):
        raise InvalidError(f"{where} is not a v2 inference request", hint='it needs a list "inputs"')
    return text


def _reason(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text)
        if isinstance(value, dict):
            return str(value.get("error") or value.get("detail") or text)
    return text[:1000] or "no reason given"
