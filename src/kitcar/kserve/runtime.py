"""How a model server is started for a model format: a table of values, and the plan made of one of them. Starts nothing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from kitcar.errors import InvalidError, UnsupportedError

_PLACEHOLDER = re.compile(r"\{(model_dir|model_name|settings_dir|port|grpc_port)\}")
_MLSERVER = ("mlserver", "start", "{settings_dir}")


@dataclass(frozen=True, slots=True)
class Runtime:
    """A model server for one model format.

    `command` may hold `{model_dir}`, `{model_name}`, `{settings_dir}`, `{port}` and `{grpc_port}`. With an `implementation`
    the server is MLServer and gets its settings files; `file_names` are those it finds by itself in a directory, and
    `endings` those of a single file that is pointed out to it.
    """

    model_format: str
    command: tuple[str, ...]
    implementation: str = ""
    file_names: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()
    packages: str = ""


RUNTIMES: Mapping[str, Runtime] = MappingProxyType(
    {
        runtime.model_format: runtime
        for runtime in (
            Runtime(
                "sklearn",
                _MLSERVER,
                "mlserver_sklearn.SKLearnModel",
                ("model.joblib", "model.pickle", "model.pkl"),
                (".joblib", ".pickle", ".pkl"),
                "mlserver mlserver-sklearn",
            ),
            Runtime(
                "xgboost",
                _MLSERVER,
                "mlserver_xgboost.XGBoostModel",
                ("model.bst", "model.json", "model.ubj"),
                (".bst", ".json", ".ubj"),
                "mlserver mlserver-xgboost",
            ),
            Runtime(
                "lightgbm",
                _MLSERVER,
                "mlserver_lightgbm.LightGBMModel",
                ("model.bst",),
                (".bst", ".txt"),
                "mlserver mlserver-lightgbm",
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server listens on this machine."""

    http: int
    grpc: int


@dataclass(frozen=True, slots=True)
class Launch:
    """A server that can be started: its command, what is added to its environment, and files for its settings directory."""

    command: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


def parse_runtime(text: str, known: Mapping[str, Runtime] = RUNTIMES) -> Runtime:
    """Reads `NAME=COMMAND`, the command in a shell's words; a known format keeps what else is known of it.

    Raises:
        InvalidError: the text has no command or an open quote.
    """
    name, command = parse_mapping(text, "--runtime")
    found = known.get(name)
    return replace(found, command=command) if found else Runtime(name, command)


def parse_mapping(text: str, flag: str) -> tuple[str, tuple[str, ...]]:
    """Reads `NAME=COMMAND` into the name and the command's words.

    Raises:
        InvalidError: the text has no name, no command or an open quote.
    """
    name, _, rest = text.partition("=")
    try:
        command = tuple(shlex.split(rest))
    except ValueError as error:
        raise InvalidError(f"{flag} {text!r}: {str(error).lower()}") from None
    if not name or not command:
        raise InvalidError(f"{flag} {text!r} has no command", hint=f"write {flag} NAME=COMMAND")
    return name, command


def find_runtime(model_format: str, runtimes: Mapping[str, Runtime]) -> Runtime:
    """The runtime of a model format.

    Raises:
        UnsupportedError: there is none.
    """
    if model_format in runtimes:
        return runtimes[model_format]
    raise UnsupportedError(
        f"no runtime is known for the model format {model_format!r}",
        hint=f"known: {', '.join(sorted(runtimes))}; name one with --runtime {model_format}=COMMAND",
    )


def plan(runtime: Runtime, name: str, model_dir: Path, settings_dir: Path, ports: Ports) -> Launch:
    """How to start `runtime` on the model in `model_dir`, which is only read.

    Raises:
        InvalidError: the directory holds no file that the runtime could serve, or several.
    """
    values = {
        "model_dir": str(model_dir),
        "model_name": name,
        "settings_dir": str(settings_dir),
        "port": str(ports.http),
        "grpc_port": str(ports.grpc),
    }
    command = tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in runtime.command)
    environ = {
        "MODEL_DIR": values["model_dir"],
        "MODEL_NAME": name,
        "HTTP_PORT": values["port"],
        "PORT": values["port"],
    }
    if not runtime.implementation:
        return Launch(command, environ)
    names = sorted(path.name for path in model_dir.iterdir() if path.is_file())
    return Launch(command, environ, _mlserver_files(runtime, name, _model_uri(runtime, model_dir, names), ports))


def _model_uri(runtime: Runtime, model_dir: Path, names: Iterable[str]) -> Path:
    """What MLServer is pointed at: the directory where it finds a name of its own, else the one file of a right ending."""
    present = list(names)
    if any(name in runtime.file_names for name in present):
        return model_dir
    found = [name for name in present if name.endswith(runtime.endings)]
    if len(found) == 1:
        return model_dir / found[0]
    what = f"{len(found)} files" if found else "no file"
    raise InvalidError(
        f"the model directory has {what} for the model format {runtime.model_format}: {', '.join(found or present) or 'empty'}",
        hint=f"name the model's file {runtime.file_names[0]}, or pack one file ending in {' or '.join(runtime.endings)}",
    )


def _mlserver_files(runtime: Runtime, name: str, uri: Path, ports: Ports) -> dict[str, bytes]:
    settings = {
        "host": "127.0.0.1",
        "http_port": ports.http,
        "grpc_port": ports.grpc,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {"name": name, "implementation": runtime.implementation, "parameters": {"uri": str(uri)}}
    return {
        "settings.json": json.dumps(settings, indent=2).encode(),
        "model-settings.json": json.dumps(model, indent=2).encode(),
    }
