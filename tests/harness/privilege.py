"""The rights of an ordinary user for a while, also where the tests run as root."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# linux/capability.h: the version with 64 capabilities, and the two that let root pass every file mode.
_VERSION = 0x20080522
_PAST_FILE_MODES = 1 << 1 | 1 << 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def file_modes_count() -> Iterator[None]:
    """Lets the modes of files bind this thread and those it starts; what was there before is restored at the end.

    Raises:
        OSError: the kernel refuses to take the capabilities away, or to give them back.
    """
    header, data = _Header(_VERSION, 0), (_Data * 2)()
    _call("capget", header, data)
    before = data[0].effective
    data[0].effective = before & ~_PAST_FILE_MODES
    _call("capset", header, data)
    try:
        yield
    finally:
        data[0].effective = before
        _call("capset", header, data)


def _call(name: str, header: _Header, data: ctypes.Array[_Data]) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(ctypes.byref(header), data):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
