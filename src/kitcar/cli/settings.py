"""What the command line takes from its environment, read once into a frozen value."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from kitcar.errors import InvalidError
from kitcar.stores.home import kit_home


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are and who we are; `environ` is handed on to the doors that read more of it (proxies, AWS)."""

    home: Path | None
    environ: Mapping[str, str]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], platform: str = sys.platform) -> Settings:
        """Reads kit's variables; `home` stays None where neither `KITOPS_HOME` nor a home directory is known."""
        return cls(kit_home(environ, platform), MappingProxyType(dict(environ)))

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
