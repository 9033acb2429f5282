"""`kitcar run`: an InferenceService on this machine, from its storage URI to its answers."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kitcar.cli.session import Session
from kitcar.cli.verb import Arity, Usage, verb
from kitcar.errors import InvalidError, KitcarError, NotFoundError
from kitcar.flags.flag import Call, Flag, Kind

if TYPE_CHECKING:
    from kitcar.kserve.run import RunOptions
    from kitcar.kserve.values import EnvVar, InferenceService, Objects, StorageContainer

_LAST_PORT = 65535
_FLAGS = (
    Flag("storage-container", "File with a ClusterStorageContainer (flag can be repeated)", Kind.TEXTS),
    Flag("objects", "File with Secrets and ConfigMaps that containers name (flag can be repeated)", Kind.TEXTS),
    Flag("name", "The InferenceService to run, where the files hold several"),
    Flag("runtime", "NAME=COMMAND: how to start a model server for a model format (flag can be repeated)", Kind.TEXTS),
    Flag("image", "IMAGE=COMMAND: what to run for a storage container's image (flag can be repeated)", Kind.TEXTS),
    Flag("env", "NAME=VALUE for the storage container (flag can be repeated)", Kind.TEXTS, short="e"),
    Flag("once", "File with a v2 inference request: send it, print the answer, and stop"),
    Flag("port", "Port to serve on; 0 takes a free one", Kind.NUMBER, default=0),
    Flag("timeout", "Seconds to wait for the model server to get ready", Kind.NUMBER, default=120),
)


@verb(
    "run",
    Usage(
        "[flags] FILE...",
        "Run an InferenceService on this machine",
        """
        Does for one InferenceService what KServe does on a node: finds the ClusterStorageContainer that claims its
        storageUri, runs that storage initializer with the URI and a fresh directory, starts the model server for its
        modelFormat on the directory, and serves until it is stopped (Ctrl-C).

        Without a ClusterStorageContainer, kit:// is fetched by kitcar's own initializer. A storage container's image
        stands for that initializer too, unless --image names a command for it.

        A runtime's command may hold {model_dir}, {model_name}, {settings_dir}, {port} and {grpc_port}.
        """,
        """
        # Serve until Ctrl-C
        kitcar run isvc.yaml --storage-container csc.yaml

        # Ask once and stop
        kitcar run isvc.yaml --once request.json

        # A registry without TLS
        kitcar run isvc.yaml --env KIT_UNPACK_FLAGS=--plain-http
        """,
    ),
    flags=_FLAGS,
    takes=Arity(1),
    patient=True,
)
def command(session: Session, call: Call) -> None:
    """Runs the service and prints the answer, or serves."""
    from kitcar.kserve.inference import check_request
    from kitcar.kserve.run import running

    request = check_request(_read(call.text("once")), call.text("once")) if call.text("once") else None
    objects = _objects((*call.arguments, *call.texts("storage-container"), *call.texts("objects")))
    service = _service(objects, call.text("name"))
    storage = _storage(session, service, objects)
    options = _options(session, call, quiet=request is not None)
    with _interruptible(), running(service, storage, objects, options) as served:
        if request is not None:
            session.console.write(served.client.infer(request).decode(errors="replace") + "\n")
            return
        session.console.note(f"Serving {service.name} at {served.client.url}; Ctrl-C stops it")
        code = served.server.wait()
    raise KitcarError(f"the model server ended with exit code {code}")


def _objects(files: Iterable[str]) -> Objects:
    from kitcar.kserve.documents import read_documents
    from kitcar.kserve.values import decode

    return decode([document for file in dict.fromkeys(files) for document in read_documents(_read(file), file)])


def _service(objects: Objects, name: str) -> InferenceService:
    found = [service for service in objects.services if name in ("", service.name)]
    if not found:
        raise NotFoundError(f"the files hold no InferenceService{f' called {name}' if name else ''}")
    if len(found) > 1:
        names = ", ".join(service.name for service in found)
        raise InvalidError(f"the files hold {len(found)} InferenceServices: {names}", hint="choose one with --name")
    return found[0]


def _storage(session: Session, service: InferenceService, objects: Objects) -> StorageContainer:
    from kitcar.kserve.match import match
    from kitcar.kserve.run import BUILT_IN

    found = match(service.storage_uri, objects.containers or (BUILT_IN,), name=service.storage_container)
    storage = found.claim.container
    for finding in found.findings:
        session.console.warn(f"{finding}; here {storage.name} is taken")
    if storage.container.args is not None:
        session.console.warn(
            f"ClusterStorageContainer {storage.name} sets args, which take the place of the URI and the directory: "
            + " ".join(storage.container.args)
        )
    return storage


def _options(session: Session, call: Call, *, quiet: bool) -> RunOptions:
    from kitcar.kserve.run import RunOptions
    from kitcar.kserve.runtime import RUNTIMES, parse_mapping, parse_runtime

    if not 0 <= call.number("port") <= _LAST_PORT:
        raise InvalidError(
            f"--port {call.number('port')} is no port", hint=f"0 takes a free one, {_LAST_PORT} is the last"
        )
    runtimes = {runtime.model_format: runtime for runtime in map(parse_runtime, call.texts("runtime"))}
    return RunOptions(
        environ=session.settings.environ,
        images=dict(parse_mapping(text, "--image") for text in call.texts("image")),
        runtimes={**RUNTIMES, **runtimes},
        env=tuple(_env(text) for text in call.texts("env")),
        port=call.number("port"),
        output=None if quiet else 2,
        ready_seconds=float(call.number("timeout")),
        say=session.console.note,
    )


def _env(text: str) -> EnvVar:
    from kitcar.kserve.values import EnvVar

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidError(f"--env {text!r} has no value", hint="write --env NAME=VALUE")
    return EnvVar(name, value)


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise NotFoundError(f"the file {file} cannot be read: {(error.strerror or str(error)).lower()}") from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets Ctrl-C, a closed terminal and a supervisor stop what runs, and leaves it the time to end; a second one kills it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
