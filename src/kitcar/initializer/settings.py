"""What a storage initializer is asked for: arguments and environment, read once into frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from kitcar.errors import InvalidError
from kitcar.flags.flag import Call
from kitcar.initializer.flags import parse_flags, shown_flags
from kitcar.initializer.login import LoginSettings
from kitcar.stores.home import kit_home

LOG_FORMATS = ("text", "json")
TERMINATION_LOG = "/dev/termination-log"
USAGE = "Usage: entrypoint.sh <src-uri> <dest-path>"
"""The line scripts look for; it is the one the KitOps container prints."""
MORE_USAGE = "       kitcar initializer [--log-format text|json] SRC DEST [SRC DEST ...]"

UNPACK_PATH = "/home/user/modelkit/"
UNPACK_FILTER = "model"

_SCHEME = "kit://"


@dataclass(frozen=True, slots=True)
class Job:
    """One model to fetch: its reference without `kit://`, and the directory, both as they were given."""

    reference: str
    destination: str


@dataclass(frozen=True, slots=True)
class Logging:
    """How the initializer speaks: the form of its lines, and the file of the pod's termination message."""

    format: str = "text"
    termination_log: Path = Path(TERMINATION_LOG)

    @classmethod
    def read(cls, words: Sequence[str], environ: Mapping[str, str]) -> tuple[Logging, tuple[str, ...]]:
        """The options at the head of `words` (else `KITCAR_LOG_FORMAT`, `KITCAR_TERMINATION_LOG`), and the words behind.

        Raises:
            InvalidError: an option is unknown, lacks its value or has a wrong one.
        """
        given = {"--log-format": environ.get("KITCAR_LOG_FORMAT") or "text"}
        given["--termination-log"] = environ.get("KITCAR_TERMINATION_LOG") or TERMINATION_LOG
        rest = list(words)
        while rest and rest[0].startswith("--"):
            name, equals, value = rest.pop(0).partition("=")
            if name not in given:
                raise InvalidError(f"unknown flag: {name}", hint=f"known: {', '.join(sorted(given))}")
            if not equals:
                if not rest:
                    raise InvalidError(f"flag needs an argument: {name}")
                value = rest.pop(0)
            given[name] = value
        if given["--log-format"] not in LOG_FORMATS:
            raise InvalidError(f"unknown log format {given['--log-format']!r}", hint="text and json are known")
        return cls(given["--log-format"], Path(given["--termination-log"])), tuple(rest)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every run finds around it; `environ` is for the doors that read variables of their own (proxies, AWS, Google)."""

    kit_home: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str], config: str = "") -> Surroundings:
        """What the variables say; `config` is the flag that names kit's directory."""
        return cls(Path(config) if config else kit_home(environ), MappingProxyType(dict(environ)))


@dataclass(frozen=True, slots=True)
class Settings:
    """What the storage container is asked for (the KitOps container for KServe)."""

    jobs: tuple[Job, ...]
    flags: Call
    flags_text: str
    login: LoginSettings
    around: Surroundings

    @classmethod
    def read(cls, words: Sequence[str], environ: Mapping[str, str]) -> Settings:
        """Reads the pairs of source and destination, and the container's variables.

        Raises:
            InvalidError: the words are not pairs, or `KIT_UNPACK_FLAGS` is malformed.
        """
        text = environ.get("KIT_UNPACK_FLAGS", "")
        flags = parse_flags(text)
        pairs = zip(words[::2], words[1::2], strict=True)
        jobs = tuple(Job(source.removeprefix(_SCHEME), destination) for source, destination in pairs)
        if flags.text("dir") and len(jobs) > 1:
            raise InvalidError("KIT_UNPACK_FLAGS: --dir cannot be used with several models", hint="leave --dir out")
        login = LoginSettings(
            user=environ.get("KIT_USER", ""),
            password=environ.get("KIT_PASSWORD", ""),
            role_arn=environ.get("AWS_ROLE_ARN", ""),
            workload_identity=environ.get("GCP_WIF") == "true",
            gar_location=environ.get("GCP_GAR_LOCATION", ""),
        )
        return cls(jobs, flags, shown_flags(text), login, Surroundings.read(environ, flags.text("config")))


@dataclass(frozen=True, slots=True)
class InitSettings:
    """What the init container is asked for (the KitOps init container, configured by variables alone).

    `filter` is that of its own variable, and stands among the `flags` too.
    """

    reference: str
    directory: str
    filter: str
    flags: Call
    flags_text: str
    around: Surroundings

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> InitSettings:
        """Reads the container's variables.

        Raises:
            InvalidError: `EXTRA_FLAGS` is malformed.
        """
        text = environ.get("EXTRA_FLAGS", "").strip() or "--ignore-existing"
        flags = parse_flags(text, "EXTRA_FLAGS")
        wanted = environ.get("UNPACK_FILTER") or UNPACK_FILTER
        return cls(
            reference=environ["MODELKIT_REF"].removeprefix(_SCHEME),
            directory=environ.get("UNPACK_PATH") or UNPACK_PATH,
            filter=wanted,
            flags=replace(flags, values={**flags.values, "filter": (wanted, *flags.texts("filter"))}),
            flags_text=shown_flags(text),
            around=Surroundings.read(environ, flags.text("config")),
        )


def is_pairs(words: Sequence[str]) -> bool:
    """Whether `words` are sources and destinations, at least one of each."""
    return len(words) >= 2 and len(words) % 2 == 0
