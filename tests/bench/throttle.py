"""A proxy that caps what each of its connections receives, as clouds and long ways do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

_PIECE = 64 * 1024


class Throttle:
    """Forwards TCP connections to `upstream` ("HOST:PORT") and lets `rate` bytes a second come back on each."""

    def __init__(self, upstream: str, rate: int) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream, self._rate = (host, int(port)), rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
                threading.Thread(target=self._forward, args=(client, server, 0), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, self._rate), daemon=True).start()

    @staticmethod
    def _forward(source: socket.socket, target: socket.socket, rate: int) -> None:
        free = time.monotonic()
        with contextlib.suppress(OSError):
            while data := source.recv(_PIECE):
                target.sendall(data)
                if rate:
                    # A pause earns no more than what the buffers on the way hold.
                    free = max(free, time.monotonic() - 0.05) + len(data) / rate
                    time.sleep(max(0.0, free - time.monotonic()))
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
