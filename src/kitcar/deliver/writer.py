"""Turns a part's plain bytes into entries of a draft: a tar layer's, or a single file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kitcar.errors import IntegrityError, InvalidError
from kitcar.files.draft import Draft
from kitcar.files.paths import join, shown
from kitcar.modelkit.tarreader import BLOCK, Entry, TarReader
from kitcar.sources.source import Check, Layout, SingleFile, TarLayer

if TYPE_CHECKING:
    from hashlib import _Hash

_ZEROS = bytes(BLOCK)


class Writer(Protocol):
    """Takes the bytes in order; `position` is how many it has."""

    @property
    def position(self) -> int:
        """Bytes taken so far."""
        ...

    def replay(self, hasher: _Hash, check: Check) -> None:
        """Takes up what an earlier run left, hashing it again; only as the first call."""
        ...

    def feed(self, view: memoryview) -> None:
        """Takes the next bytes.

        Raises:
            InvalidError, UnsafePathError: they are not what the layout says.
            ExistsError: something else is at a file's place.
        """
        ...

    def reuse(self, hasher: _Hash, check: Check) -> None:
        """Takes the current file's next bytes from the disk, as far as they are there, hashing them."""
        ...

    def close(self) -> None:
        """Ends the bytes.

        Raises:
            InvalidError, IntegrityError: they ended too early, or too late.
        """
        ...


def writer_for(layout: Layout, draft: Draft, size: int | None) -> Writer:
    """The writer of a layout; `size` is the number of plain bytes, if known."""
    return TarWriter(layout, draft) if isinstance(layout, TarLayer) else FileWriter(layout, draft, size)


class TarWriter:
    """See `Writer`; also the reader's `TarSink`."""

    def __init__(self, layout: TarLayer, draft: Draft) -> None:
        self._scope, self._base, self._draft = layout.scope, layout.base, draft
        self._compressed = bool(layout.compression)
        self._reader = TarReader(self)
        self._journal = draft.journal
        self._journaling = not layout.compression
        self.data = draft.write
        self.end = draft.end

    @property
    def position(self) -> int:
        """See `Writer.position`."""
        return self._reader.position

    def directory(self, entry: Entry) -> None:
        """See `TarSink.directory`."""
        path = join(self._base, entry.path)
        self._scope.check_directory(path)
        self._draft.directory(path, entry.mode)
        if self._journaling:
            self._journal.append(entry.raw)

    def file(self, entry: Entry) -> None:
        """See `TarSink.file`."""
        path = join(self._base, entry.path)
        self._scope.check_file(path)
        self._draft.begin(path, entry.mode, entry.size)
        if self._journaling:
            self._journal.append(entry.raw)

    def feed(self, view: memoryview) -> None:
        """See `Writer.feed`."""
        self._reader.feed(view)
        self._journal.flush()

    def replay(self, hasher: _Hash, check: Check) -> None:
        """See `Writer.replay`: the journal's headers go through the reader again, the bodies are hashed where they lie."""
        self._journaling = False
        count = 0
        for record in self._draft.replaying():
            self._reader.feed(memoryview(record))
            hasher.update(record)
            count += 1
            self.reuse(hasher, check)
            if self._reader.body_left:
                break
            padding = self._reader.padding_left
            hasher.update(_ZEROS[:padding])
            self._reader.skip(padding)
        self._journal.truncate(count)
        self._journaling = True

    def reuse(self, hasher: _Hash, check: Check) -> None:
        """See `Writer.reuse`."""
        if not self._reader.body_left:
            return
        for view in self._draft.held():
            check()
            hasher.update(view)
            self._reader.skip(len(view))

    def close(self) -> None:
        """See `Writer.close`."""
        self._reader.close()
        # A damaged zstd stream may just end; where the archive says that it is whole, it is.
        if self._compressed and not self._reader.ended:
            raise InvalidError("the layer's tar has no end", hint="the layer is damaged where it was packed")


class FileWriter:
    """See `Writer`."""

    def __init__(self, layout: SingleFile, draft: Draft, size: int | None) -> None:
        self._layout, self._draft, self._size = layout, draft, size
        self._begun = False
        self.position = 0

    def feed(self, view: memoryview) -> None:
        """See `Writer.feed`."""
        self._begin()
        self._draft.write(view)
        self.position += len(view)

    def replay(self, hasher: _Hash, check: Check) -> None:
        """See `Writer.replay`."""
        self._begin()
        self.reuse(hasher, check)

    def reuse(self, hasher: _Hash, check: Check) -> None:
        """See `Writer.reuse`."""
        for view in self._draft.held():
            check()
            hasher.update(view)
            self.position += len(view)

    def close(self) -> None:
        """See `Writer.close`."""
        self._begin()
        self._draft.end()
        promised = self._layout.content_size
        if promised is not None and promised != self.position:
            raise IntegrityError(
                f"unpacked size of file {shown(self._layout.path)} does not match metadata annotation",
                expected=f"{promised} bytes",
                actual=f"{self.position} bytes",
                hint="the artifact was damaged or made by a faulty tool; have it packed again",
            )

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._draft.begin(self._layout.path, self._layout.mode & 0o777, -1 if self._size is None else self._size)
