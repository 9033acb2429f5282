"""The command line over kit's own storage and contexts prints what kit printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.corpus import Case
from harness.kitcar import Kitcar

MANIFEST_LINES = re.compile(r"^(Saved manifest to storage|Model saved): .*$", re.MULTILINE)
LAYER_LINES = re.compile(r"^(Saved \w+ layer|Saved configuration): .*$", re.MULTILINE)


@pytest.fixture
def stored(corpus_case: Case, tmp_path: Path) -> Kitcar:
    """kitcar over a copy of the storage that kit left."""
    return Kitcar(corpus_case.home(tmp_path / "home"))


@pytest.mark.parametrize("words", [("list",), ("list", "--format", "json"), ("inspect",), ("info",)])
def test_reading_command_over_kits_storage_prints_what_kit_printed(
    corpus_case: Case, stored: Kitcar, words: tuple[str, ...]
) -> None:
    command = corpus_case.command(*words)
    if words == ("list",):
        command = next(item for item in corpus_case.commands if item.argv == words)
    result = stored(*command.argv, check=False)
    assert (result.code, result.out) == (command.code, command.stdout)
    assert result.err == command.stderr


def test_unpack_from_kits_storage_prints_what_kit_printed(corpus_case: Case, stored: Kitcar, tmp_path: Path) -> None:
    command = corpus_case.command("unpack")
    words = [str(tmp_path / word) if word == "out" else word for word in command.argv]
    result = stored(*words, check=False)
    assert result.code == command.code
    # kit 1.7 left two blanks where a model has no name.
    assert result.out == command.stdout.replace("$BASE", str(tmp_path)).replace("  ", " ")


def test_pack_of_kits_context_prints_what_kit_printed(corpus_case: Case, tmp_path: Path) -> None:
    command = corpus_case.command("pack")
    context = corpus_case.extract(tmp_path / "ctx")
    kitcar = Kitcar(tmp_path / "home")
    words = [str(context) if word == "ctx" else word for word in command.argv]
    result = kitcar(*words, check=False)
    if {"--use-model-pack", "--layer-format"} & set(command.argv):
        assert result.code == 1
        assert "not written by this version" in result.err
        return
    compressed = "--compression" in command.argv
    assert result.code == command.code
    assert shape(result.out, layers=compressed) == shape(command.stdout, layers=compressed)


@pytest.mark.parametrize("name", ["catch-all", "full", "ignore", "mcp", "minimal", "minimal-kit-1.7"])
def test_list_after_pack_of_kits_context_shows_the_same_row(corpus: dict[str, Case], name: str, tmp_path: Path) -> None:
    corpus_case = corpus[name]
    context = corpus_case.extract(tmp_path / "ctx")
    kitcar = Kitcar(tmp_path / "home")
    kitcar("pack", context, "-t", corpus_case.reference)
    mine = kitcar("list", "--format", "{{.Repo}} {{.ModelName}} {{.Author}} {{.Size}}").out
    theirs = Kitcar(corpus_case.home(tmp_path / "kits"))(
        "list", "--format", "{{.Repo}} {{.ModelName}} {{.Author}} {{.Size}}"
    )
    assert mine == theirs.out


def shape(text: str, *, layers: bool) -> str:
    """The lines without digests that must differ: of the manifest, and of compressed layers."""
    text = MANIFEST_LINES.sub(r"\1", text)
    return LAYER_LINES.sub(r"\1", text) if layers else text
