"""Runs an InferenceService on this machine: its storage initializer, then its model server, as KServe would on a node."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kitcar.errors import KitcarError, NotFoundError, TransportError
from kitcar.kserve.environment import environment, expand_all
from kitcar.kserve.inference import InferenceClient
from kitcar.kserve.process import Process, started
from kitcar.kserve.runtime import RUNTIMES, Ports, Runtime, find_runtime, plan
from kitcar.kserve.values import Container, EnvVar, InferenceService, Objects, StorageContainer, UriFormat

BUILT_IN = StorageContainer("kitcar", Container("storage-initializer"), (UriFormat(prefix="kit://"),), where="built in")
"""What serves `kit://` where no ClusterStorageContainer is given: kitcar's own initializer."""

INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "DOCKER_CONFIG", "KITOPS_HOME", "XDG_DATA_HOME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""What of this process's environment a container sees here: where programs, credentials and proxies are, no settings."""

TERMINATION_LOG = "KITCAR_TERMINATION_LOG"
_TEMPORARY_FAILURE = 75
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run.

    `images` says which command stands for an image's entrypoint on this machine; an image that is not in it is taken for
    kitcar's own initializer. `output` is where the programs write: a file descriptor, or None for files that are shown
    only when something fails. Times are in seconds; `initializer_seconds` None waits for ever.
    """

    environ: Mapping[str, str]
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    runtimes: Mapping[str, Runtime] = field(default_factory=lambda: RUNTIMES)
    env: tuple[EnvVar, ...] = ()
    port: int = 0
    output: int | None = None
    ready_seconds: float = 120.0
    initializer_seconds: float | None = None
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Running:
    """A model server that answers."""

    client: InferenceClient
    server: Process
    model_dir: Path


@contextlib.contextmanager
def running(
    service: InferenceService, storage: StorageContainer, objects: Objects, options: RunOptions
) -> Iterator[Running]:
    """Fetches the model into a fresh directory and serves it until the block ends; then nothing of it is left.

    Raises:
        NotFoundError: a program, a Secret or a ConfigMap is missing.
        UnsupportedError: no runtime serves the model format.
        KitcarError: the storage initializer or the server failed; the message has its reason.
        TransportError: the server did not get ready in time.
    """
    runtime = find_runtime(service.model_format, options.runtimes)
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kitcar-run-", ignore_cleanup_errors=True)))
        model_dir = work / "mnt" / "models"
        model_dir.mkdir(parents=True)
        since = time.monotonic()
        initialize(service, storage, objects, options, model_dir=model_dir, work=work)
        options.say(f"Model fetched into {model_dir} in {time.monotonic() - since:.1f} s")
        ports = _ports(options.port)
        since = time.monotonic()
        server = stack.enter_context(_served(service, runtime, objects, options, (model_dir, work, ports)))
        client = InferenceClient(ports.http, service.name)
        _wait_ready(client, server, runtime, options.ready_seconds)
        options.say(f"Model server ready at {client.url} in {time.monotonic() - since:.1f} s")
        yield Running(client, server, model_dir)


def initialize(
    service: InferenceService,
    storage: StorageContainer,
    objects: Objects,
    options: RunOptions,
    *,
    model_dir: Path,
    work: Path,
) -> None:
    """Runs the storage container with the two arguments KServe passes, the model's URI and the directory for it.

    Raises:
        KitcarError: it failed; the message is its termination message, transient where it said so.
    """
    container = storage.container
    given = {item.name: item.value for item in options.env}
    values = environment(container, objects, service.namespace, given)
    command = _entrypoint(container, options) + (container.args or (service.storage_uri, str(model_dir)))
    reason = work / "termination-log"
    reason.touch()
    environ = _inherited(options.environ) | {TERMINATION_LOG: str(reason)} | values
    options.say(f"Storage container {storage.name}: {service.storage_uri}")
    log = work / "storage-initializer.log"
    output: Path | int = log if options.output is None else options.output
    with started(expand_all(command, values), environ=environ, directory=work, output=output) as process:
        code = process.wait(options.initializer_seconds)
        tail = process.tail
    if code == 0:
        return
    if code is None:
        raise TransportError(f"the storage initializer did not end in {options.initializer_seconds:g} s")
    told, _, hint = reason.read_text(errors="replace").strip().partition("\n")
    raise KitcarError(
        f"the storage initializer ended with exit code {code}: {told or tail or 'it gave no reason'}",
        hint=hint.removeprefix("Hint: ") or None,
        transient=code == _TEMPORARY_FAILURE,
    )


def _entrypoint(container: Container, options: RunOptions) -> tuple[str, ...]:
    own = (sys.executable, "-m", "kitcar.initializer")
    return container.command or options.images.get(container.image, own)


@contextlib.contextmanager
def _served(
    service: InferenceService,
    runtime: Runtime,
    objects: Objects,
    options: RunOptions,
    places: tuple[Path, Path, Ports],
) -> Iterator[Process]:
    model_dir, work, ports = places
    settings_dir = work / "server" / service.name
    settings_dir.mkdir(parents=True)
    launch = plan(runtime, service.name, model_dir, settings_dir, ports)
    for name, content in launch.files.items():
        (settings_dir / name).write_bytes(content)
    values = environment(Container(env=service.env), objects, service.namespace)
    environ = _inherited(options.environ) | dict(launch.environ) | values
    output: Path | int = work / "server.log" if options.output is None else options.output
    command = _located(launch.command, environ)
    if shutil.which(command[0], path=environ.get("PATH")) is None:
        hint = f"install {runtime.packages}, or " if runtime.packages else ""
        hint += f"name the server with --runtime {service.model_format}=COMMAND"
        raise NotFoundError(f"there is no program {command[0]!r} here", hint=hint)
    with started(command, environ=environ, directory=settings_dir, output=output) as process:
        yield process


def _located(command: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The command, its program taken from beside this interpreter where the search path has none."""
    beside = Path(sys.executable).parent / command[0]
    if shutil.which(command[0], path=environ.get("PATH")) is None and os.access(beside, os.X_OK):
        return (str(beside), *command[1:])
    return command


def _wait_ready(client: InferenceClient, server: Process, runtime: Runtime, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not client.ready():
        if not server.running:
            code = server.wait()
            raise KitcarError(
                f"the model server for {runtime.model_format} ended with exit code {code}: {server.tail or 'see above'}",
                hint="the last lines it wrote are shown",
            )
        if time.monotonic() >= end:
            raise TransportError(
                f"the model server for {runtime.model_format} was not ready in {seconds:g} s: {server.tail or 'see above'}",
                hint="give it longer with --timeout",
            )
        time.sleep(_POLL)


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in INHERITED if name in environ}


def _ports(wanted: int) -> Ports:
    """Free ports of 127.0.0.1; both are held until both are known, so that they differ."""
    with contextlib.ExitStack() as stack:
        numbers = []
        for number in (wanted, 0):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", number))
            except OSError as error:
                raise KitcarError(f"port {number} cannot be had: {error.strerror}", hint="name another") from error
            numbers.append(int(sock.getsockname()[1]))
    return Ports(numbers[0], numbers[1])
