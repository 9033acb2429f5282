"""The corpus is whole: a checkout that changed its bytes would make every other test of it worthless."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.corpus import Case


def test_corpus_blobs_have_the_digests_they_are_named_by(corpus_case: Case) -> None:
    blobs = [path for path in (corpus_case.storage / "blobs" / "sha256").iterdir() if path.is_file()]
    assert blobs
    for path in blobs:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_corpus_context_extracts_to_the_files_that_were_packed(corpus_case: Case, tmp_path: Path) -> None:
    context = corpus_case.extract(tmp_path / "context")
    assert corpus_case.commands[0].argv[0] == "pack"
    assert corpus_case.unpacked
    assert any(context.rglob("*"))


def test_corpus_has_every_case_it_had(corpus: dict[str, Case]) -> None:
    known = {"catch-all", "full", "gzip", "ignore", "mcp", "minimal", "minimal-kit-1.7", "modelpack", "modelpack-raw"}
    assert known | {"raw", "zstd"} <= set(corpus)
