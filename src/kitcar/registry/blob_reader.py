"""A stream of stored content that goes on where it broke: from the received prefix, by `Range` (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from kitcar.errors import IntegrityError, KitcarError, RegistryError, TransportError, UnsupportedError
from kitcar.registry.retry import Pauser

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_PARTIAL = 206
_UNSATISFIABLE = 416
_SKIP = 1024 * 1024
_PROGRESS = 64 * 1024
"""Bytes between two breaks that make the second count as a first one."""


class Answer(Protocol):
    """As much of a `Response` as is needed here."""

    @property
    def status(self) -> int:
        """See `Response`."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """See `Response`."""
        ...

    def readinto(self, buffer: memoryview, /) -> int:
        """See `Response.readinto`."""
        ...

    def drain(self) -> None:
        """See `Response.drain`."""
        ...

    def close(self) -> None:
        """See `Response.close`."""
        ...


Open = Callable[[int], Answer]
"""Asks for the content from an offset on; 200, 206 and 416 come back as answers."""


class BlobReader:
    """See `Reader`. The stream is opened at once, so that what is missing is known at once.

    Args:
        ask: opens the content at an offset.
        size: its bytes in all.
        offset: where to start.
        pauser: waits between attempts, whose count starts again when something has arrived in between.
    """

    def __init__(self, ask: Open, size: int, pauser: Pauser, *, offset: int = 0) -> None:
        self._ask = ask
        self._size = size
        self._pauser = pauser
        self._position = offset
        self._failures = 0
        self._mark = offset
        self._response: Answer | None = None
        if offset < size or not offset:
            self._response = self._open(may_skip=False)

    def readinto(self, buffer: memoryview, /) -> int:
        """See `Reader.readinto`."""
        while self._response is not None:
            try:
                count = self._response.readinto(buffer)
            except TransportError as error:
                self._resume(error)
                continue
            if not count and self._position < self._size and len(buffer):
                cut = TransportError(
                    f"an answer ended after {self._position} of {self._size} bytes",
                    hint="the content is truncated where it is stored, or the transfer was cut: try again later",
                )
                self._resume(cut, ended=True)
                continue
            self._position += count
            return count
        return 0

    def close(self) -> None:
        """See `Reader.close`."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _resume(self, error: TransportError, *, ended: bool = False) -> None:
        """Opens the stream again where it broke.

        An answer that ended too early without a fault may be all there is: then the stream ends, and who verifies it says so.
        """
        self.close()
        progress = self._position - self._mark
        self._failures = 1 if progress >= _PROGRESS else self._failures + 1
        self._mark = self._position
        if ended and not progress:
            return
        try:
            self._pauser.pause(self._failures, error)
            self._response = self._open(may_skip=True)
        except (RegistryError, UnsupportedError):
            if not ended:
                raise

    def _open(self, *, may_skip: bool) -> Answer | None:
        response = self._ask(self._position)
        if not self._position:
            return response
        if response.status == _UNSATISFIABLE and may_skip:
            response.drain()
            return None
        if response.status == _PARTIAL:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            if match is None or int(match[1]) != self._position:
                response.close()
                raise UnsupportedError("the registry answers another range than it was asked for")
            return response
        if not may_skip:
            response.close()
            raise UnsupportedError("the registry cannot send content from the middle")
        self._skip(response)
        return response

    def _skip(self, response: Answer) -> None:
        """Passes over what was received before; it is not looked at again, the digest of the whole covers it."""
        left, scratch = self._position, memoryview(bytearray(min(self._position, _SKIP)))
        try:
            while left:
                count = response.readinto(scratch[: min(left, len(scratch))])
                if not count:
                    raise IntegrityError(
                        "the registry sends less than before", expected=f"{self._size} bytes", actual="fewer"
                    )
                left -= count
        except KitcarError:
            response.close()
            raise
