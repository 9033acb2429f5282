"""Completion: what is offered for a line, and that the shells' scripts ask and use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.kitcar import Kitcar
from kitcar.cli.app import VERBS
from kitcar.cli.completion import SCRIPTS


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


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_completion_script_is_read_by_its_shell_without_complaint(kitcar: Kitcar, shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    script = tmp_path / f"completion.{shell}"
    script.write_text(kitcar("completion", shell).out)
    done = subprocess.run([program, "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def program_on_path(kitcar: Kitcar, tmp_path: Path) -> dict[str, str]:
    """An environment whose `kitcar` is this one, over the same home."""
    program = tmp_path / "bin" / "kitcar"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kitcar "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "KITOPS_HOME": str(kitcar.home)}


def bash(kitcar: Kitcar, tmp_path: Path, line: str) -> list[str]:
    """What bash would offer at the end of `line`."""
    question = (
        f"{kitcar('completion', 'bash').out}\ncompopt() {{ :; }}\n"
        f'COMP_LINE="$1" COMP_POINT=${{#1}}\n_kitcar\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "-c", question, "bash", line],
        env=program_on_path(kitcar, tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed here")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kitcar pu", ["pull", "push"]),
        ("kitcar info iris:", ["v1", "v2"]),
        ("kitcar info iris:v2", ["v2"]),
        ("kitcar info reg.example:5000/te", ["5000/team/iris:v9"]),
        ("kitcar pack --compression=g", ["gzip", "gzip-fastest"]),
        ("kitcar unpack -o ir", ["iris:"]),
    ],
)
def test_bash_offers_what_follows_the_last_break(
    stocked: Kitcar, tmp_path: Path, line: str, expected: list[str]
) -> None:
    assert bash(stocked, tmp_path, line) == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kitcar pu", ["pull", "push"]),
        ("kitcar info iris:", ["iris:v1", "iris:v2"]),
        ("kitcar info reg.example:5000/te", ["reg.example:5000/team/iris:v9"]),
        ("kitcar pack --compression=g", ["--compression=gzip", "--compression=gzip-fastest"]),
    ],
)
def test_fish_offers_what_fits(stocked: Kitcar, tmp_path: Path, line: str, expected: list[str]) -> None:
    script = tmp_path / "kitcar.fish"
    script.write_text(stocked("completion", "fish").out)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"],
        env=program_on_path(stocked, tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [item.partition("\t")[0] for item in done.stdout.splitlines()] == expected
