"""The embedded registry as a process and as a context: settings in, an address out."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from kitcar.errors import KitcarError
from kitcar.server.app import RegistryApp
from kitcar.server.htpasswd import Passwords
from kitcar.server.listen import Listener
from kitcar.stores.layout import LayoutStore

DEFAULT_PORT = 5000


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the registry runs.

    Args:
        root: the layout's folder; `KITOPS_HOME/storage` serves the local ModelKits that name no registry.
        host: the address to listen on.
        port: 0 takes a free one.
        htpasswd: a file of names and passwords; None lets everybody in.
        read_only: whether every change is refused.
        sync: whether blobs are on the disk before they are acknowledged.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    htpasswd: Path | None = None
    read_only: bool = False
    sync: bool = False

    def at(self, address: str) -> ServerSettings:
        """The same on `HOST:PORT`, `HOST` or `:PORT`; an IPv6 address stands in brackets.

        Raises:
            KitcarError: the port is no number.
        """
        host, colon, port = address.rpartition(":") if not address.endswith("]") else (address, "", "")
        if not colon:
            host, port = address, str(self.port)
        if not port.isdecimal() or int(port) > 65535:
            raise KitcarError(f"{address!r} is no address", hint="an address looks like 127.0.0.1:5000")
        return replace(self, host=host.strip("[]") or "0.0.0.0", port=int(port))  # noqa: S104 - asked for by `:PORT`


class RunningRegistry:
    """A registry that answers while the context is entered, in threads of this process.

    `address` is `HOST:PORT`; the port is free unless one is named.
    """

    def __init__(
        self,
        root: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        htpasswd: Path | None = None,
        read_only: bool = False,
        sync: bool = False,
    ) -> None:
        self._settings = ServerSettings(root, host, port, htpasswd, read_only, sync)
        self._app: RegistryApp | None = None
        self._listener: Listener | None = None
        self.address = ""

    @classmethod
    def of(cls, settings: ServerSettings) -> RunningRegistry:
        """The registry that `settings` describe."""
        return cls(
            settings.root,
            host=settings.host,
            port=settings.port,
            htpasswd=settings.htpasswd,
            read_only=settings.read_only,
            sync=settings.sync,
        )

    @property
    def root(self) -> Path:
        """The layout's folder."""
        return self._settings.root

    @property
    def stopped(self) -> threading.Event:
        """Set when the server has ended by itself; whoever waits for it may set it too.

        Raises:
            KitcarError: the registry was not started.
        """
        if self._listener is None:
            raise KitcarError("the registry was not started")
        return self._listener.stopped

    def __enter__(self) -> Self:
        """Starts the registry.

        Raises:
            KitcarError: the address cannot be had, the folder not be written, or the htpasswd file not be read.
        """
        settings = self._settings
        store = LayoutStore(settings.root, sync=settings.sync)
        if not settings.read_only:
            # Who cannot write there shall hear of it now, not each client at its first push.
            _prepare(store)
        self._app = RegistryApp(
            store,
            passwords=_passwords(settings.htpasswd),
            read_only=settings.read_only,
        )
        self._listener = Listener(self._app, settings.host, settings.port).__enter__()
        self.address = self._listener.address
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops it; requests that run may end first."""
        if self._listener and self._app:
            try:
                self._listener.__exit__(kind, error, traceback)
            finally:
                self._app.close()


def serve(settings: ServerSettings, announce: Callable[[str], None] = print) -> None:
    """Serves until SIGTERM or SIGINT; announces its address in one line first. For the main thread.

    Raises:
        KitcarError: the address cannot be had, or the htpasswd file not be read.
    """
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(RunningRegistry.of(settings))

        def stop(_number: int, _frame: FrameType | None) -> None:
            running.stopped.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, stop))
        announce(f"Registry at {running.address}, content in {settings.root}")
        running.stopped.wait()


def _prepare(store: LayoutStore) -> None:
    try:
        store.prepare()
    except KitcarError as error:
        raise KitcarError(f"cannot keep content in {store.root}: {error}", hint="choose another --root") from error


def _passwords(path: Path | None) -> Passwords | None:
    if path is None:
        return None
    try:
        return Passwords.parse(path.read_text(encoding="utf-8", errors="replace"), str(path))
    except OSError as error:
        raise KitcarError(f"cannot read {path}: {error.strerror}", hint="name a file made by htpasswd -B") from error
