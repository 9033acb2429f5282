"""What the command line takes from its environment, read once into a frozen value."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from kitcar.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and who we are; `environ` is handed on to the doors that read more of it (proxies, AWS)."""

    home: Path | None
    environ: Mapping[str, str]
    client_cert: str = ""
    client_key: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], platform: str = sys.platform) -> Settings:
        """Reads kit's variables; `home` stays None where neither `KITOPS_HOME` nor a home directory is known."""
        return cls(
            home=_home(environ, platform),
            environ=MappingProxyType(dict(environ)),
            client_cert=environ.get("KITOPS_CLIENT_CERT", ""),
            client_key=environ.get("KITOPS_CLIENT_KEY", ""),
        )

    def with_home(self, directory: str) -> Settings:
        """These settings with another root directory, as `--config` names it."""
        return replace(self, home=Path(directory).absolute())

    @property
    def root(self) -> Path:
        """The directory that holds storage, credentials and caches, shared with kit.

        Raises:
            InvalidError: there is none.
        """
        if self.home is None:
            raise InvalidError(
                "failed to read base config directory", hint="use --config, or set KITOPS_HOME to a directory"
            )
        return self.home

    @property
    def storage(self) -> Path:
        """Local storage (kit's `storage/`)."""
        return self.root / "storage"

    @property
    def credentials(self) -> Path:
        """The credentials that `login` saves."""
        return self.root / "credentials.json"


def _home(environ: Mapping[str, str], platform: str) -> Path | None:
    if home := environ.get("KITOPS_HOME"):
        return Path(home).absolute()
    user = environ.get("HOME")
    if platform == "darwin":
        return Path(user, "Library", "Caches", "kitops") if user else None
    if data := environ.get("XDG_DATA_HOME"):
        return Path(data, "kitops").absolute()
    return Path(user, ".local", "share", "kitops") if user else None
