"""A journal gives back what was written whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitcar.files.journal import NAME, Journal


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.binary(max_size=700)), torn=st.integers(0, 40), keep=st.integers(0, 5))
def test_journal_torn_anywhere_gives_the_whole_records(
    folder: int, tmp_path: Path, records: list[bytes], torn: int, keep: int
) -> None:
    (tmp_path / NAME).unlink(missing_ok=True)
    journal = Journal(folder)
    for record in records:
        journal.append(record)
    journal.flush()
    journal.close()
    size = (tmp_path / NAME).stat().st_size
    os.truncate(tmp_path / NAME, max(0, size - torn))
    journal = Journal(folder)
    try:
        found = list(journal.records())
        assert found == records[: len(found)]
        assert torn or found == records
        assert len(found) >= len(records) - torn
        journal.truncate(keep)
        journal.append(b"more")
        journal.flush()
        assert list(journal.records()) == [*found[:keep], b"more"]
    finally:
        journal.close()


def test_journal_unflushed_records_are_not_there(folder: int) -> None:
    journal = Journal(folder)
    journal.append(b"waits")
    assert list(journal.records()) == []
    journal.close()


def test_journal_absurd_length_ends_it(folder: int, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"\xff\xff\xff\xff" + bytes(100))
    journal = Journal(folder)
    assert list(journal.records()) == []
    journal.close()


def test_journal_longer_than_a_read_gives_all(folder: int) -> None:
    journal = Journal(folder)
    records = [bytes([n % 256]) * 5000 for n in range(500)]
    for record in records:
        journal.append(record)
    journal.flush()
    assert list(journal.records()) == records
    journal.close()
