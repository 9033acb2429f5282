"""The configuration file of Docker clients, as far as it holds credentials: `auths`, `credHelpers`, `credsStore`.

kit keeps its own credentials in the same form; a Kubernetes secret is this file (`.dockerconfigjson`) or only its `auths`
(`.dockercfg`).
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kitcar.errors import InvalidError

HUB_ADDRESS = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_NAMELESS = "<token>"
_MEMBERS = frozenset({"auths", "credHelpers", "credsStore", "HttpHeaders", "psFormat"})


@dataclass(frozen=True, slots=True)
class Credential:
    """What a registry is told: a name and a password, a token to exchange for others, or a token to show as it is."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)

    @classmethod
    def of_pair(cls, username: str, secret: str) -> Credential:
        """What a name and a secret stand for: under the name `<token>`, and under none, the secret is an identity token."""
        if secret and username in {"", _NAMELESS}:
            return cls(identity_token=secret)
        return cls(username, secret)

    def pair(self) -> tuple[str, str]:
        """The inverse of `of_pair`."""
        return (_NAMELESS, self.identity_token) if self.identity_token else (self.username, self.password)


def server_address(registry: str) -> str:
    """The name under which Docker clients keep the credentials of a registry."""
    return HUB_ADDRESS if registry in _HUB_HOSTS else registry


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """A parsed file; members that are not about credentials are kept as they are."""

    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    where: str = "the configuration"

    @classmethod
    def parse(cls, raw: bytes, where: str) -> DockerConfig:
        """Reads the file's bytes; an empty file is an empty configuration.

        Raises:
            InvalidError: it is not of this form; the message names `where` and nothing that the file holds.
        """
        if not raw.strip():
            return cls(where=where)
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            raise _malformed(where, "is not JSON") from None
        if not isinstance(document, dict):
            raise _malformed(where, "is not a JSON object")
        if document and not _MEMBERS & document.keys() and all(isinstance(item, dict) for item in document.values()):
            document = {"auths": document}
        for name in ("auths", "credHelpers"):
            if not isinstance(document.get(name) or {}, dict):
                raise _malformed(where, f"has {name} that are no JSON object")
        return cls(document, where)

    def encode(self) -> bytes:
        """The file's bytes, as kit writes them."""
        return json.dumps(dict(sorted(self.document.items())), indent="\t", ensure_ascii=False).encode()

    def helper(self, registry: str) -> str:
        """The credential helper in charge of a registry, or the empty text."""
        helpers = self.document.get("credHelpers") or {}
        for name in (server_address(registry), registry):
            if isinstance(helpers.get(name), str) and helpers[name]:
                return str(helpers[name])
        store = self.document.get("credsStore")
        return store if isinstance(store, str) else ""

    def find(self, registry: str, repository: str = "") -> Credential | None:
        """The credential that `auths` holds for a repository: the entry with the longest path that matches, then by host.

        Raises:
            InvalidError: the entry is malformed.
        """
        auths = self.document.get("auths") or {}
        scored = [(score, key) for key in auths if (score := _score(key, registry, repository)) is not None]
        for _, key in sorted(scored, reverse=True):
            if credential := self._decode(auths[key], key):
                return credential
        return None

    def with_credential(self, registry: str, credential: Credential) -> DockerConfig:
        """A copy that holds `credential` for a registry, in place of any other."""
        entry: dict[str, str] = {"auth": ""}
        if credential.username or credential.password:
            entry["auth"] = base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()
        if credential.identity_token:
            entry["identitytoken"] = credential.identity_token
        if credential.registry_token:
            entry["registrytoken"] = credential.registry_token
        kept = self.without(registry).document
        auths = {**(kept.get("auths") or {}), server_address(registry): entry}
        return replace(self, document={**kept, "auths": dict(sorted(auths.items()))})

    def without(self, registry: str) -> DockerConfig:
        """A copy without the entries of a registry."""
        auths = {key: value for key, value in (self.document.get("auths") or {}).items() if not _is_for(key, registry)}
        return replace(self, document={**self.document, "auths": auths})

    def _decode(self, entry: Any, key: str) -> Credential | None:
        if not isinstance(entry, dict) or not all(
            isinstance(item, str) for name, item in entry.items() if name in _FIELDS
        ):
            raise _malformed(self.where, f"has a malformed entry for {key}")
        username, password = entry.get("username", ""), entry.get("password", "")
        if entry.get("auth"):
            try:
                username, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                colon = ""
            if not colon:
                raise _malformed(self.where, f"has an auth for {key} that is not base64 of NAME:PASSWORD") from None
        password = password.rstrip("\0")
        if username == _NAMELESS:
            return Credential(identity_token=password)
        found = Credential(username, password, entry.get("identitytoken", ""), entry.get("registrytoken", ""))
        return found or None


_FIELDS = frozenset({"auth", "username", "password", "identitytoken", "registrytoken"})


def _malformed(where: str, what: str) -> InvalidError:
    return InvalidError(f"{where} {what}", hint="mend or remove the file, then log in again")


def _split(key: str) -> tuple[str, str]:
    """Host and path of an entry's name, which may be a URL of the registry's API."""
    bare = key.split("://", 1)[-1]
    host, _, path = bare.partition("/")
    path = path.strip("/")
    if path in {"v1", "v2"}:
        path = ""
    return _canonical(host), path


def _canonical(host: str) -> str:
    host = host.lower()
    return "docker.io" if host in _HUB_HOSTS else host


def _is_for(key: str, registry: str) -> bool:
    return _split(key) == (_canonical(registry), "")


def _score(key: str, registry: str, repository: str) -> tuple[int, bool] | None:
    """How closely an entry fits: the length of its path, and whether it names the host itself; None if it does not fit."""
    host, path = _split(key)
    wanted = _canonical(registry)
    if path and not f"{repository}/".startswith(f"{path}/"):
        return None
    if host == wanted:
        return len(path), True
    labels, patterns = wanted.split("."), host.split(".")
    fits = "*" in host and len(labels) == len(patterns)
    if fits and all(fnmatch.fnmatchcase(label, pattern) for label, pattern in zip(labels, patterns, strict=True)):
        return len(path), False
    return None
