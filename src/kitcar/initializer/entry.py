"""The entrypoints of the containers: arguments and environment in, an exit code out, the reason where the kubelet reads it."""

from __future__ import annotations

import datetime as dt
import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from kitcar.errors import AuthError, InvalidError, KitcarError
from kitcar.initializer.console import Console, exit_code, leave_message
from kitcar.initializer.settings import MORE_USAGE, USAGE, InitSettings, Logging, Settings, is_pairs

_STOP_SECONDS = 1.0
_STOPPED = "Stopped; run again to go on where this ended"
_VERIFICATION = ("COSIGN_KEY", "COSIGN_CERT_IDENTITY", "COSIGN_CERT_OIDC_ISSUER")


Entry = Callable[[Sequence[str], Mapping[str, str], TextIO, TextIO], int]


class StoppedError(BaseException):
    """The container is told to end; not an error that anything on the way may catch."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def initialize(words: Sequence[str], environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """The storage initializer: `SRC DEST [SRC DEST …]`; gives 0, 1 for a lasting fault or 75 for a passing one."""

    def work(console: Console, rest: tuple[str, ...]) -> int:
        console.version()
        if not is_pairs(rest):
            console.line(f"{USAGE}\n{MORE_USAGE}")
            return 1
        _fetch_all(Settings.read(rest, environ), console)
        return 0

    return _contained(work, words, environ, out, err)


def initialize_from_environment(words: Sequence[str], environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
    """The init container, which takes no arguments; gives the same exit codes as `initialize`."""

    def work(console: Console, rest: tuple[str, ...]) -> int:
        if rest:
            raise InvalidError(f"unexpected argument {rest[0]!r}", hint="the init container is told by variables alone")
        if not environ.get("MODELKIT_REF"):
            console.line("Environment variable $MODELKIT_REF is required")
            return 1
        _refuse_unverified(environ)
        console.line("Signature verification is disabled")
        console.version()
        _fetch_one(InitSettings.read(environ), console)
        return 0

    return _contained(work, words, environ, out, err)


def main(entry: Entry) -> int:
    """Runs an entrypoint as this process: its arguments, environment, streams and signals."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return stoppable(lambda: entry(sys.argv[1:], os.environ, sys.stdout, sys.stderr), sys.stderr)


def stoppable(run: Callable[[], int], err: TextIO) -> int:
    """Runs until it ends or the container is told to stop; gives the exit code, 128 and the signal's number if stopped.

    Where a thread stands still in the network, the process ends a second later anyway: what is shown is always whole.
    """
    limits: list[threading.Timer] = []

    def stop(number: int, _: object) -> None:
        limit = threading.Timer(_STOP_SECONDS, _end, (128 + number,))
        limit.daemon = True
        limits.append(limit)
        limit.start()
        raise StoppedError(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return run()
    except StoppedError as stopped:
        err.write(f"{_STOPPED}\n")
        return 128 + stopped.number
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for limit in limits:
            limit.cancel()


def _fetch_all(settings: Settings, console: Console) -> None:
    from kitcar.flags.network import connection_of
    from kitcar.initializer.fetch import fetch, log_in, parse_reference
    from kitcar.initializer.login import choose
    from kitcar.modelkit.kitfile import KITFILE_NAME
    from kitcar.registry.repository import Repository

    flags = settings.flags
    console.verbose = flags.number("verbose") > 0
    connection = connection_of(flags, settings.around.environ, console.warn)
    for job in settings.jobs:
        reference = parse_reference(job.reference)
        try:
            login = choose(settings.login, reference)
        except InvalidError as error:
            console.line(error.message)
            raise
        credentials = log_in(login, connection, settings.around, console)
        console.line(f"Unpacking {job.reference} to {job.destination}")
        console.line(f"Unpack options: {settings.flags_text}")
        repository = Repository(reference, connection=connection, credentials=credentials)
        fetch(reference, Path(flags.text("dir") or job.destination), flags, repository, settings.around, console)
        _show_kitfile(Path(job.destination, KITFILE_NAME), console)


def _fetch_one(settings: InitSettings, console: Console) -> None:
    from kitcar.flags.network import connection_of
    from kitcar.initializer.fetch import fetch, log_in, parse_reference
    from kitcar.initializer.login import NoLogin
    from kitcar.registry.repository import Repository

    flags = settings.flags
    console.verbose = flags.number("verbose") > 0
    if flags.text("dir"):
        console.line(
            f"Unpacking modelkit {settings.reference} with flags '--filter={settings.filter} {settings.flags_text}'"
        )
    else:
        console.line(
            f"Unpacking modelkit {settings.reference} to {settings.directory} with filter '{settings.filter}'. "
            f"Additional flags: {settings.flags_text}"
        )
    reference = parse_reference(settings.reference)
    connection = connection_of(flags, settings.around.environ, console.warn)
    credentials = log_in(NoLogin(), connection, settings.around, console)
    repository = Repository(reference, connection=connection, credentials=credentials)
    fetch(reference, Path(flags.text("dir") or settings.directory), flags, repository, settings.around, console)


def _refuse_unverified(environ: Mapping[str, str]) -> None:
    """Whoever asks for a signature to be verified must not get a model that was not."""
    asked = [name for name in _VERIFICATION if environ.get(name)]
    if asked:
        raise InvalidError(
            f"{asked[0]} asks for the signature to be verified, and this version of kitcar cannot verify it",
            hint=f"nothing was fetched; unset {' and '.join(asked)} to go without, or verify with cosign before",
        )


def _show_kitfile(path: Path, console: Console) -> None:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    console.line("Unpacked modelkit:\n" + text.removesuffix("\n"))


def _contained(
    work: Callable[[Console, tuple[str, ...]], int],
    words: Sequence[str],
    environ: Mapping[str, str],
    out: TextIO,
    err: TextIO,
) -> int:
    """The one place that catches everything: what fails is told to people, to the kubelet, and in the exit code."""
    logging = Logging()
    console = Console(out, err, json_lines=False, now=_now)
    try:
        logging, rest = Logging.read(words, environ)
        console = Console(out, err, json_lines=logging.format == "json", now=_now)
        return work(console, rest)
    except KitcarError as error:
        failure = _in_a_container(error)
        trace = traceback.format_exc() if console.verbose else ""
    except OSError as error:
        failure = KitcarError(f"{error.filename or 'the system'}: {error.strerror or error}", transient=_passing(error))
        trace = traceback.format_exc()
    except Exception as error:  # noqa: BLE001  the edge: the pod must end with a reason, whatever it is
        failure = KitcarError(f"unexpected {type(error).__name__}: {error}", hint="this is a fault of kitcar")
        trace = traceback.format_exc()
    if trace:
        console.trace(trace)
    console.error(failure)
    leave_message(logging.termination_log, failure)
    return exit_code(failure)


def _in_a_container(error: KitcarError) -> KitcarError:
    """Who runs in a pod cannot log in by hand."""
    if isinstance(error, AuthError) and error.hint and "kitcar login" in error.hint:
        error.hint = (
            "give KIT_USER and KIT_PASSWORD, or mount a Docker configuration and name its folder in DOCKER_CONFIG"
        )
    return error


def _passing(error: OSError) -> bool:
    return error.errno in {errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE}


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _end(code: int) -> None:
    os.write(2, f"{_STOPPED}\n".encode())
    os._exit(code)
