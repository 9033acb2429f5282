"""Completion: what is offered for a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.kitcar import Kitcar
from kitcar.cli.app import VERBS


@pytest.fixture
def stocked(kitcar: Kitcar, context: Path) -> Kitcar:
    """A home with a modelkit of two tags, one of a registry with one, and one without any."""
    kitcar("pack", context, "-t", "iris:v1,v2")
    kitcar("tag", "iris:v1", "reg.example:5000/team/iris:v9")
    return kitcar


def offered(kitcar: Kitcar, *words: str) -> list[str]:
    """The candidates for the last word, without descriptions."""
    return [line.partition("\t")[0] for line in kitcar("__complete", "--", *words).out.splitlines()]


def test_complete_nothing_offers_every_verb(kitcar: Kitcar) -> None:
    assert offered(kitcar, "") == sorted(VERBS)
    assert offered(kitcar) == sorted(VERBS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("pu",), ["pull", "push"]),
        (("-v", "--config", "/x", "pu"), ["pull", "push"]),
        (("registry", ""), ["serve"]),
        (("help", "ver"), ["version"]),
        (("completion", ""), ["bash", "fish", "zsh"]),
        (("pack", "--comp"), ["--compression"]),
        (("pack", "--compression", ""), ["none", "gzip", "gzip-fastest", "zstd"]),
        (("pack", "--compression="), [f"--compression={name}" for name in ("none", "gzip", "gzip-fastest", "zstd")]),
        (("list", "--progress", ""), ["none", "plain", "fancy"]),
        (("pack", ""), [":directories"]),
        (("pack", ".", "-f", ""), [":files"]),
        (("unpack", "a:b", "-d", ""), [":directories"]),
        (("push", "./"), [":directories"]),
        (("bogus", ""), []),
        (("unpack", "a:b", ""), []),
        (("version", ""), []),
    ],
)
def test_complete_offers_what_fits(kitcar: Kitcar, words: tuple[str, ...], expected: list[str]) -> None:
    assert offered(kitcar, *words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("info", ""), [":nospace", "iris:", "reg.example:5000/team/iris:v9"]),
        (("info", "ir"), [":nospace", "iris:"]),
        (("info", "iris:"), ["iris:v1", "iris:v2"]),
        (("info", "iris:v2"), ["iris:v2"]),
        (("unpack", "reg"), ["reg.example:5000/team/iris:v9"]),
        (("unpack", "-o", "reg.example:5000/team/iris:"), ["reg.example:5000/team/iris:v9"]),
        (("tag", "iris:v1", "ir"), [":nospace", "iris:"]),
        (("info", "-r", ""), []),
        (("remove", "--all", ""), []),
    ],
)
def test_complete_offers_local_modelkits(stocked: Kitcar, words: tuple[str, ...], expected: list[str]) -> None:
    assert offered(stocked, *words) == expected


def test_complete_behind_an_at_sign_offers_digests(stocked: Kitcar) -> None:
    digests = set(stocked("list", "--format", "{{.Digest}}").out.split())
    assert offered(stocked, "info", "iris@") == [f"iris@{digest}" for digest in digests]


def test_complete_looks_into_the_directory_of_the_line(stocked: Kitcar, tmp_path: Path) -> None:
    elsewhere = Kitcar(tmp_path / "elsewhere")
    assert offered(elsewhere, "info", "") == []
    assert offered(elsewhere, f"--config={stocked.home}", "info", "reg") == ["reg.example:5000/team/iris:v9"]
    assert offered(elsewhere, "info", "--config", str(stocked.home), "reg") == ["reg.example:5000/team/iris:v9"]


def test_complete_over_damaged_storage_offers_nothing(stocked: Kitcar) -> None:
    for index in (stocked.home / "storage").glob("*-index.json"):
        index.write_text("{")
    assert offered(stocked, "info", "") == []


def test_completion_of_unknown_shell_is_refused(kitcar: Kitcar) -> None:
    result = kitcar("completion", "tcsh", check=False)
    assert (result.code, result.out) == (1, "")
    assert "there is for bash, fish, zsh" in result.err


def test_completion_without_shell_shows_help(kitcar: Kitcar) -> None:
    assert "Usage:\n  kitcar completion bash|zsh|fish" in kitcar("completion").out
