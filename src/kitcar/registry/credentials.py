"""Where credentials come from and where `login` keeps them: kit's own file, Docker's, mounted secrets, helper programs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from kitcar.errors import InvalidError
from kitcar.registry.docker_config import Credential, DockerConfig, server_address

__all__ = ["ConfigFile", "Credential", "CredentialChain", "CredentialSource", "CredentialStore", "FixedCredential"]

KIT_FILE = "credentials.json"
"""Kit's own file, in its home."""

_NAMES = ("config.json", ".dockerconfigjson", ".dockercfg")
_HELPER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HELPER_SECONDS = 60
_SIZE_LIMIT = 16 * 1024 * 1024
_NOT_FOUND = "credentials not found"


class CredentialSource(Protocol):
    """Knows credentials."""

    def find(self, registry: str, repository: str = "") -> Credential | None:
        """What to tell a registry, or None.

        Raises:
            InvalidError: the place where they are kept is unusable.
        """
        ...


class FixedCredential:
    """One credential for one registry, or with an empty name for whichever is asked for."""

    def __init__(self, credential: Credential, registry: str = "") -> None:
        self._credential = credential
        self._registry = registry

    def find(self, registry: str, repository: str = "") -> Credential | None:  # noqa: ARG002
        """See `CredentialSource.find`."""
        return self._credential if not self._registry or registry == self._registry else None


class ConfigFile:
    """A file in Docker's form, or a folder that holds one under a usual name; absent ones know nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, registry: str, repository: str = "") -> Credential | None:
        """See `CredentialSource.find`."""
        for path in [self._path / name for name in _NAMES] if os.path.isdir(self._path) else [self._path]:  # noqa: PTH112 - asks without raising
            config = read_config(path)
            helper = config.helper(registry)
            found = _ask(helper, server_address(registry)) if helper else None
            if found := found or config.find(registry, repository):
                return found
        return None


class CredentialChain:
    """Several places, asked in turn."""

    def __init__(self, sources: Iterable[CredentialSource] = ()) -> None:
        self._sources = tuple(sources)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], kit_home: Path | None = None) -> CredentialChain:
        """kit's own file, then Docker's: in `DOCKER_CONFIG`, or in `.docker` of the home."""
        sources = [ConfigFile(kit_home / KIT_FILE)] if kit_home else []
        if folder := environ.get("DOCKER_CONFIG"):
            sources.append(ConfigFile(Path(folder)))
        elif home := environ.get("HOME"):
            sources.append(ConfigFile(Path(home) / ".docker"))
        return cls(sources)

    def before(self, *sources: CredentialSource) -> CredentialChain:
        """This chain after `sources`."""
        return CredentialChain((*sources, *self._sources))

    def find(self, registry: str, repository: str = "") -> Credential | None:
        """See `CredentialSource.find`; the first that is found."""
        for source in self._sources:
            if found := source.find(registry, repository):
                return found
        return None


class CredentialStore:
    """Keeps credentials in a file of Docker's form that only its owner reads, or with the helper that the file names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, registry: str, credential: Credential) -> None:
        """Keeps `credential` for a registry.

        Raises:
            InvalidError: the file or its helper is unusable.
        """
        with self._locked():
            config = read_config(self._path)
            if helper := config.helper(registry):
                username, secret = credential.pair()
                call = {"ServerURL": server_address(registry), "Username": username, "Secret": secret}
                _run(helper, "store", json.dumps(call))
                return
            self._write(config.with_credential(registry, credential))

    def erase(self, registry: str) -> bool:
        """Forgets what is kept for a registry; whether there was anything.

        Raises:
            InvalidError: the file or its helper is unusable.
        """
        try:
            self._path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _unusable(self._path, error) from error
        with self._locked():
            config = read_config(self._path)
            known = config.find(registry) is not None
            if helper := config.helper(registry):
                known = known or _ask(helper, server_address(registry)) is not None
                _run(helper, "erase", server_address(registry))
            rest = config.without(registry)
            if rest != config:
                self._write(rest)
            return known

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise _unusable(folder, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, config: DockerConfig) -> None:
        temporary = ""
        try:
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(config.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except OSError as error:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            raise _unusable(self._path, error) from error


def read_config(path: Path) -> DockerConfig:
    """The configuration in a file; an empty one if there is no such file.

    Raises:
        InvalidError: it cannot be read, or is malformed.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_SIZE_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return DockerConfig(where=str(path))
    except OSError as error:
        raise _unusable(path, error) from error
    return DockerConfig.parse(raw, str(path))


def _unusable(path: Path, error: OSError) -> InvalidError:
    return InvalidError(f"cannot use {path}: {error.strerror}", hint="check who owns it and its permissions")


def _ask(helper: str, address: str) -> Credential | None:
    """What a helper program knows (docker-credential-helpers, `get`)."""
    answer = _run(helper, "get", address)
    if answer is None:
        return None
    try:
        found: Any = json.loads(answer)
        return Credential.of_pair(str(found["Username"]), str(found["Secret"])) or None
    except (ValueError, KeyError, TypeError):
        raise InvalidError(f"the credential helper {helper} gives an answer of another form") from None


def _run(helper: str, action: str, said: str) -> str | None:
    """What a helper prints; None if it knows nothing of the address."""
    program = f"docker-credential-{helper}"
    if not _HELPER_NAME.fullmatch(helper):
        raise InvalidError(f"{helper!r} is not the name of a credential helper")
    try:
        done = subprocess.run(
            [program, action],
            input=said,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except OSError:
        hint = f"install {program}, or remove it from credsStore or credHelpers"
        raise InvalidError(f"the credential helper {program} cannot be run", hint=hint) from None
    except subprocess.TimeoutExpired:
        raise InvalidError(f"the credential helper {program} does not answer") from None
    if done.returncode == 0:
        return done.stdout
    if _NOT_FOUND in f"{done.stdout} {done.stderr}".lower():
        return None
    raise InvalidError(f"the credential helper {program} failed", hint=f"try it: {program} {action}")
