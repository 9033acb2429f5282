"""Apache's htpasswd files: who may use a registry. Entries of `htpasswd -B` (bcrypt), `-m` (apr1) and `-s` ({SHA})."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading

from kitcar.errors import Fault, InvalidError, UnsupportedError

_ITOA64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_APR1_ROUNDS = 1000
_APR1_ORDER = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
_NOBODY = "$apr1$nobody00$0000000000000000000000"
_REMEMBERED = 1024


class Passwords:
    """The users of a file.

    What bcrypt has accepted is remembered under a key of this object, as every request brings the password again and
    bcrypt is made to be slow.
    """

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users
        self._decoy = next(iter(users.values()), _NOBODY)
        self._key = secrets.token_bytes(32)
        self._accepted: set[bytes] = set()
        self._lock = threading.Lock()

    @classmethod
    def parse(cls, text: str, where: str) -> Passwords:
        """Reads a file's text.

        Raises:
            InvalidError: lines that are no entries, or of a form that is not supported.
            UnsupportedError: a bcrypt entry, and the package bcrypt is not installed.
        """
        users: dict[str, str] = {}
        faults = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, entry = line.strip().partition(":")
            if not colon or not name or not entry.startswith(("$2", "$apr1$", "{SHA}")):
                faults.append(Fault("no entry of a supported form", line=number, hint="write it with htpasswd -B"))
            users[name] = entry
        if faults:
            raise InvalidError(f"the file {where} is not an htpasswd file: {faults[0]}", faults=tuple(faults))
        if any(entry.startswith("$2") for entry in users.values()):
            _bcrypt(b"", b"$2b$04$abcdefghijklmnopqrstuu5Y5jC0FDoH2ZqjH3N8VmYQ1l1Hr3nJe")
        return cls(users)

    def accept(self, authorization: str) -> bool:
        """Whether the value of an `Authorization` header is a known name with its password."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            name, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
        except ValueError:
            return False
        if not colon:
            return False
        known = hmac.digest(self._key, name + b"\0" + password, "sha256")
        with self._lock:
            if known in self._accepted:
                return True
        # An unknown name takes a comparison of the file's own form too, so that names cannot be told apart by time alone.
        entry = self._users.get(name.decode(errors="replace"))
        if not _matches(password, entry or self._decoy) or entry is None:
            return False
        with self._lock:
            if len(self._accepted) < _REMEMBERED:
                self._accepted.add(known)
        return True


def _matches(password: bytes, entry: str) -> bool:
    if entry.startswith("$2"):
        return _bcrypt(password, entry.encode())
    if entry.startswith("{SHA}"):
        # The form of the file, not our choice.
        digest = base64.b64encode(hashlib.sha1(password, usedforsecurity=False).digest()).decode()
        return hmac.compare_digest(f"{{SHA}}{digest}".encode(), entry.encode())
    salt = entry.split("$")[2]
    return hmac.compare_digest(apr1(password, salt.encode()).encode(), entry.encode())


def _bcrypt(password: bytes, entry: bytes) -> bool:
    try:
        import bcrypt
    except ImportError as error:
        raise UnsupportedError(
            "the htpasswd file has bcrypt entries, and the package bcrypt is not installed",
            hint="pip install 'kitcar[server]'",
        ) from error
    try:
        return bcrypt.checkpw(password[:72], entry)
    except ValueError:
        return False


def apr1(password: bytes, salt: bytes) -> str:
    """Apache's variant of the MD5 crypt, as `htpasswd -m` writes it."""
    salt = salt[:8]
    final = _md5(password + salt + password)
    text = password + b"$apr1$" + salt + b"".join(final[: min(16, left)] for left in range(len(password), 0, -16))
    bits = len(password)
    while bits:
        text += b"\0" if bits & 1 else password[:1]
        bits >>= 1
    digest = _md5(text)
    for turn in range(_APR1_ROUNDS):
        digest = _md5(
            (password if turn & 1 else digest)
            + (salt if turn % 3 else b"")
            + (password if turn % 7 else b"")
            + (digest if turn & 1 else password)
        )
    groups = [(digest[a] << 16) | (digest[b] << 8) | digest[c] for a, b, c in _APR1_ORDER]
    encoded = "".join(_base64(group, 4) for group in groups) + _base64(digest[11], 2)
    return f"$apr1${salt.decode(errors='replace')}${encoded}"


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _base64(value: int, length: int) -> str:
    return "".join(_ITOA64[(value >> (6 * place)) & 0x3F] for place in range(length))
