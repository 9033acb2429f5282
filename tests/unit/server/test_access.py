"""htpasswd files, and who is let in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitcar.errors import InvalidError, KitcarError
from kitcar.server import RunningRegistry, ServerSettings
from kitcar.server.htpasswd import Passwords, apr1

BCRYPT = "ann:" + bcrypt.hashpw(b"correct: horse", bcrypt.gensalt(4)).decode()
SHA = "bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
APR1 = "cleo:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/"
"""`bob` and `cleo` have the passwords of Apache's documentation: password, myPassword."""


def basic(words: str) -> str:
    import base64

    return "Basic " + base64.b64encode(words.encode()).decode()


@pytest.mark.parametrize("words", ["ann:correct: horse", "bob:password", "cleo:myPassword"])
def test_right_password_of_each_form_is_accepted(words: str) -> None:
    passwords = Passwords.parse(f"# users\n\n{BCRYPT}\n{SHA}\n{APR1}", "users")
    assert passwords.accept(basic(words))
    assert passwords.accept(basic(words))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic \u00e9\u00e9\u00e9\u00e9",
        "Bearer abc",
        basic("ann"),
        basic("ann:"),
        basic("ann:wrong"),
        basic("bob:Password"),
        basic("cleo:password"),
        basic("nobody:password"),
        basic(":"),
        basic("ann:" + "x" * 100),
    ],
)
def test_anything_else_is_not(authorization: str) -> None:
    passwords = Passwords.parse(f"{BCRYPT}\n{SHA}\n{APR1}", "users")
    assert not passwords.accept(authorization)
    assert not passwords.accept(authorization)


@settings(max_examples=25)
@given(st.text("abcXYZ 0ü:", min_size=1, max_size=20), st.text("abcXYZ09./", min_size=1, max_size=8))
def test_apr1_is_that_of_openssl(password: str, salt: str) -> None:
    done = subprocess.run(
        ["openssl", "passwd", "-apr1", "-salt", salt, "-stdin"],
        input=password,
        capture_output=True,
        text=True,
        check=True,
    )
    assert apr1(password.encode(), salt.encode()) == done.stdout.strip()


@pytest.mark.parametrize("line", ["no colon", ":empty", "dave:plain", "eve:$1$salt$hash", "fay:"])
def test_line_of_another_form_is_named(line: str) -> None:
    with pytest.raises(InvalidError, match=r"users\.htpasswd") as caught:
        Passwords.parse(f"{SHA}\n{line}\n", "users.htpasswd")
    assert [fault.line for fault in caught.value.faults] == [2]
    assert "plain" not in str(caught.value)


def test_registry_with_passwords_lets_only_users_in(make: Callable[..., Any]) -> None:
    client = make(passwords=Passwords.parse(BCRYPT, "users"))
    answer = client("GET", "/v2/")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == 'Basic realm="kitcar"'
    assert client("GET", "/v2/no-such-thing").status == 401
    client.credentials = "ann:wrong"
    assert client("GET", "/v2/").status == 401
    client.credentials = "ann:correct: horse"
    assert client("GET", "/v2/").status == 200


def test_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(b"\xa1\xff:\x00")
    with (
        pytest.raises(InvalidError, match="users is not an htpasswd file"),
        RunningRegistry(tmp_path, htpasswd=tmp_path / "users"),
    ):
        pass


def test_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(KitcarError, match="no-such-file"),
        RunningRegistry(tmp_path, htpasswd=tmp_path / "no-such-file"),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5000", "127.0.0.1", 5000),
        ("127.0.0.1:0", "127.0.0.1", 0),
        (":8080", "0.0.0.0", 8080),
        ("localhost", "localhost", 5000),
        ("[::1]:5001", "::1", 5001),
        ("[::1]", "::1", 5000),
    ],
)
def test_address_is_host_and_port(text: str, host: str, port: int) -> None:
    found = ServerSettings(Path("layout")).at(text)
    assert (found.host, found.port, found.root) == (host, port, Path("layout"))


@pytest.mark.parametrize("text", ["127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000", "127.0.0.1:-1"])
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(KitcarError, match="no address"):
        ServerSettings(Path("layout")).at(text)


def test_unknown_name_is_compared_as_a_known_one_and_not_let_in() -> None:
    users = {"ann": BCRYPT.partition(":")[2]}
    assert Passwords(users).accept(basic("ann:correct: horse"))
    assert not Passwords(users).accept(basic("nobody:correct: horse"))


@pytest.mark.parametrize("entry", ["{SHA}\u00e9", "$apr1$\u00e9$x"])
def test_entry_that_is_no_hash_lets_nobody_in(entry: str) -> None:
    assert not Passwords.parse(f"ann:{entry}", "users").accept(basic("ann:x"))
