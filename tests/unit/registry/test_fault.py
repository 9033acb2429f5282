from __future__ import annotations

import http.client
import json
import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, SSLError

from kitcar.errors import AuthError, KitcarError, NotFoundError, RegistryError, TransportError
from kitcar.registry.fault import Refusal, transport_error

URL = "https://user:secret@reg.io:5000/v2/a/blobs/x?token=secret"


def refusal(status: int, body: object = b"", **headers: str) -> Refusal:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(status, http.client.responses.get(status, ""), fields, raw, "reg.io")


def said(code: str, message: str = "") -> dict[str, object]:
    return {"errors": [{"code": code, "message": message, "detail": {}}]}


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def tls(reason: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, f"[SSL: {reason}] {reason.lower().replace('_', ' ')}")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "words", "hint", "transient"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name reg.io is not known", "name", False),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "name reg.io is not known", "network", True),
        (NewConnectionError(None, "x"), "broke", None, True),  # type: ignore[arg-type]
        (ConnectionRefusedError(111, "Connection refused"), "reg.io:5000 refuses connections", "port", True),
        (OSError(113, "No route to host"), "reg.io:5000 cannot be reached: no route to host", "address", True),
        (TimeoutError("timed out"), "did not answer in time", "network", True),
        (ConnectionResetError(104, "Connection reset by peer"), "broke: Connection reset by peer", None, True),
        (http.client.RemoteDisconnected("closed"), "broke: it was closed", None, True),
        (http.client.IncompleteRead(b""), "broke: it was closed", None, True),
        (ProtocolError("x", http.client.RemoteDisconnected("closed")), "broke: it was closed", None, True),
        (http.client.BadStatusLine("\x15\x03"), "does not answer with HTTP", "--plain-http", False),
        (
            OSError("Tunnel connection failed: 407 Proxy Authentication Required"),
            "does not connect to reg.io:5000: 407",
            "NO_PROXY",
            True,
        ),
        (certificate_error(), "cannot be verified: self-signed certificate", "--tls-cert", False),
        (SSLError(certificate_error()), "cannot be verified", "--tls-verify=false", False),
        (tls("WRONG_VERSION_NUMBER"), "does not speak TLS", "--plain-http", False),
        (tls("RECORD_LAYER_FAILURE"), "does not speak TLS", "--plain-http", False),
        (tls("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "refuses the TLS connection", "--cert", False),
        (tls("UNEXPECTED_EOF_WHILE_READING", ssl.SSLEOFError), "TLS connection to reg.io:5000 broke", None, True),
        (tls("NO_SHARED_CIPHER"), "broke: NO_SHARED_CIPHER", None, False),
    ],
)
def test_transport_error_says_what_happened_and_what_to_do(
    error: Exception, words: str, hint: str | None, transient: bool
) -> None:
    mapped = transport_error(error, URL)
    assert isinstance(mapped, TransportError)
    assert words in str(mapped)
    assert hint is None or hint in (mapped.hint or "")
    assert mapped.transient is transient
    assert "secret" not in f"{mapped} {mapped.hint}"


def test_transport_error_finds_the_cause_behind_others() -> None:
    outer = MaxRetryError(None, URL, NewConnectionError(None, "Failed"))  # type: ignore[arg-type]
    outer.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert "refuses connections" in str(transport_error(outer, URL))


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(111, "Connection refused"), socket.gaierror(socket.EAI_NONAME, "x"), OSError(113, "x")],
)
def test_transport_error_of_a_proxy_that_is_not_there_names_the_proxy(error: Exception) -> None:
    mapped = transport_error(error, URL, "http://ada:secret@proxy.example:3128")
    assert str(mapped) == "the proxy proxy.example:3128 cannot be reached"
    assert "--proxy" in (mapped.hint or "")


def test_transport_error_leaves_our_own_as_they_are() -> None:
    own = NotFoundError("x")
    assert transport_error(own, URL) is own


@pytest.mark.parametrize(
    ("status", "authenticated", "kind", "words", "hint"),
    [
        (401, False, AuthError, "wants credentials for", "kitcar login reg.io"),
        (401, True, AuthError, "does not accept the credentials", "log in again"),
        (403, True, AuthError, "denies access to", "account"),
        (404, False, NotFoundError, "not found in reg.io", "name"),
        (405, False, RegistryError, "refused", "does not allow"),
        (413, False, RegistryError, "refused", "limits the size"),
        (429, False, RegistryError, "asks to slow down", "try again"),
        (500, False, RegistryError, "failed", "later"),
        (503, False, RegistryError, "failed", "later"),
        (418, False, RegistryError, "refused", None),
    ],
)
def test_refusal_is_a_sentence_with_a_hint(
    status: int, authenticated: bool, kind: type[KitcarError], words: str, hint: str | None
) -> None:
    error = refusal(status).error("a/b:v1", authenticated=authenticated)
    assert type(error) is kind
    assert words in str(error)
    assert "a/b:v1" in str(error)
    assert (hint or "") in (error.hint or "")
    assert error.transient is (status in {429, 500, 503})
    if isinstance(error, RegistryError):
        assert error.status == status
        assert str(status) in str(error)


def test_refusal_over_plain_http_says_how_to_log_in_over_it() -> None:
    error = Refusal(401, "Unauthorized", {}, b"", "reg.io:5000", plain_http=True).error("a/b:v1")
    assert error.hint == "log in first: kitcar login reg.io:5000 --plain-http"


def test_refusal_passes_on_what_the_registry_says() -> None:
    error = refusal(400, said("MANIFEST_INVALID", "bad\nmedia  type\x1b[31m")).error("x")
    assert isinstance(error, RegistryError)
    assert error.code == "MANIFEST_INVALID"
    assert "(MANIFEST_INVALID: bad media type?[31m)" in str(error)
    several = refusal(404, {"errors": [{"code": "A"}, {"code": "B", "message": "c"}]}).error("x")
    assert "(A; B: c)" in str(several)
    assert "(no such thing)" in str(
        refusal(400, b"no such thing\n", content_type="text/plain; charset=utf-8").error("x")
    )
    assert "<html>" not in str(refusal(502, b"<html>", content_type="text/html").error("x"))
    assert len(str(refusal(400, said("A", "x" * 10_000)).error("x"))) < 500


def test_refusal_keeps_retry_after_of_a_passing_fault_only() -> None:
    busy = refusal(429, retry_after="7").error("x")
    assert isinstance(busy, RegistryError)
    assert busy.retry_after == 7
    assert busy.hint == "try again in 7 seconds"
    refused = refusal(400, retry_after="7").error("x")
    assert isinstance(refused, RegistryError)
    assert refused.retry_after is None


def test_refusal_of_plain_http_by_a_tls_server_says_to_leave_it_out() -> None:
    body = b"Client sent an HTTP request to an HTTPS server.\n"
    error = Refusal(400, "Bad Request", {}, body, "reg.io", plain_http=True).error("x")
    assert error.hint == "the registry uses TLS: leave out --plain-http"


@given(
    st.binary()
    | st.builds(
        json.dumps, st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
    ).map(str.encode)
)
def test_refusal_with_any_body_gives_an_error(body: bytes) -> None:
    assert isinstance(refusal(500, body).error("x"), RegistryError)
    assert isinstance(refusal(500, b'{"errors": ' + body + b"}").error("x"), RegistryError)
