from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.errors import InvalidError, TransportError
from kitcar.registry.settings import Connection
from kitcar.registry.transport import Request, Transport, resolved


def proxied(no_proxy: str = "", **variables: str) -> Connection:
    return Connection.from_environment({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": no_proxy, **variables})


def test_from_environment_reads_either_case_and_lets_overrides_win() -> None:
    found = Connection.from_environment(
        {"https_proxy": "http://low:1", "HTTP_PROXY": "up:2", "no_proxy": "a, .b ,", "SSL_CERT_FILE": "/ca.pem"},
        plain_http=True,
        proxy="http://own:3",
    )
    assert (found.https_proxy, found.http_proxy, found.no_proxy) == ("http://low:1", "up:2", ("a", ".b"))
    assert (found.ca_bundle, found.plain_http, found.scheme) == ("/ca.pem", True, "http")
    assert found.proxy_for("https://anything/") == "http://own:3"


def test_from_environment_takes_the_client_certificate_from_kits_variables() -> None:
    environ = {"KITOPS_CLIENT_CERT": "/c", "KITOPS_CLIENT_KEY": "/k"}
    found = Connection.from_environment(environ, client_key="/own")
    assert (found.client_cert, found.client_key) == ("/c", "/own")


def test_from_environment_without_variables_goes_directly() -> None:
    assert Connection.from_environment({}) == Connection()
    assert Connection().proxy_for("https://ghcr.io/v2/") is None


def test_from_environment_takes_patience_from_kitcars_own_variables() -> None:
    found = Connection.from_environment({"KITCAR_TIMEOUT": "2.5", "KITCAR_RETRIES": "0"})
    assert (found.timeouts.connect, found.timeouts.read, found.timeouts.idle) == (2.5, 2.5, 2.5)
    assert found.retry.attempts == 1
    assert Connection.from_environment({"KITCAR_TIMEOUT": "600"}).timeouts.connect == Connection().timeouts.connect


@pytest.mark.parametrize(
    ("name", "value"),
    [("KITCAR_TIMEOUT", value) for value in ("0", "-1", "nan", "inf", "soon")]
    + [("KITCAR_RETRIES", value) for value in ("-1", "1.5", "many", "1000")],
)
def test_from_environment_patience_without_meaning_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidError, match=name):
        Connection.from_environment({name: value})


def test_proxy_for_chooses_by_scheme_and_completes_the_address() -> None:
    connection = Connection(http_proxy="plain:8080", https_proxy="http://secure:8080")
    assert connection.proxy_for("http://host/") == "http://plain:8080"
    assert connection.proxy_for("https://host/") == "http://secure:8080"


@pytest.mark.parametrize(
    ("rule", "host", "direct"),
    [
        ("*", "ghcr.io", True),
        ("ghcr.io", "ghcr.io", True),
        ("ghcr.io", "sub.ghcr.io", True),
        ("ghcr.io", "notghcr.io", False),
        (".ghcr.io", "ghcr.io", False),
        (".ghcr.io", "sub.ghcr.io", True),
        ("*.ghcr.io", "sub.ghcr.io", True),
        ("*.ghcr.io", "ghcr.io", False),
        ("ghcr.io:443", "ghcr.io", True),
        ("ghcr.io:5000", "ghcr.io", False),
        ("ghcr.io:5000", "ghcr.io:5000", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "ghcr.io", False),
        ("10.1.2.3", "10.1.2.3:5000", True),
        ("10.1.2.3", "110.1.2.3", False),
        ("fd00::/8", "[fd00::1]", True),
        ("[fd00::1]:5000", "[fd00::1]:5000", True),
        ("nonsense/x", "10.1.2.3", False),
        ("GHCR.IO", "ghcr.io.", True),
    ],
)
def test_no_proxy_exempts_what_it_names(rule: str, host: str, direct: bool) -> None:
    assert (proxied(rule).proxy_for(f"https://{host}/v2/") is None) is direct


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"])
def test_proxy_of_the_environment_never_serves_this_machine(host: str) -> None:
    assert proxied().proxy_for(f"https://{host}/") is None
    assert Connection(proxy="http://own:1").proxy_for(f"https://{host}/") == "http://own:1"


@pytest.mark.parametrize("proxy", ["socks5://proxy:1080", "ftp://x"])
def test_proxy_of_another_kind_is_refused_without_its_secret(proxy: str) -> None:
    with pytest.raises(InvalidError, match="proxy with the scheme") as caught:
        Connection(proxy=proxy.replace("://", "://user:secret@")).proxy_for("https://x/")
    assert "secret" not in str(caught.value)


def test_repr_shows_no_proxy_secret() -> None:
    assert "secret" not in repr(Connection(proxy="http://u:secret@p", https_proxy="http://u:secret@p"))


@given(st.text(alphabet="abc.*:/0123456789[]-", max_size=20))
def test_no_proxy_of_any_text_gives_an_answer(rule: str) -> None:
    proxied(rule).proxy_for("https://10.1.2.3:5000/")


@pytest.mark.parametrize(
    "proxy", ["http://u:secret@h:99999", "http://u:secret@[h", "u:secret@h:x", "http://secret@a b:1"]
)
def test_proxy_with_a_malformed_address_is_refused_without_its_secret(proxy: str) -> None:
    with pytest.raises(InvalidError, match="proxy") as caught:
        Transport(Connection(proxy=proxy)).send(Request("GET", "http://127.0.0.1:1/"))
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("location", ["http://evil\\@host/", "http://[x", "http://h:99999/", "ftp://h/"])
def test_location_that_readers_of_urls_do_not_agree_about_is_refused(location: str) -> None:
    with pytest.raises(TransportError, match="address"):
        resolved("https://host/v2/", location)
