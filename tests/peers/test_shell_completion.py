"""Completion in real shells: each reads its script, asks kitcar and offers what it answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.kitcar import Kitcar
from kitcar.cli.completion import SCRIPTS

pytestmark = pytest.mark.peer


@pytest.fixture
def stocked(tmp_path: Path) -> Kitcar:
    """A home with a modelkit of two tags, and one of a registry with one."""
    context = tmp_path / "iris"
    context.mkdir()
    (context / "model.bin").write_bytes(b"weights")
    (context / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel:\n  path: model.bin\n")
    kitcar = Kitcar(tmp_path / "home")
    kitcar("pack", context, "-t", "iris:v1,v2")
    kitcar("tag", "iris:v1", "reg.example:5000/team/iris:v9")
    return kitcar


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_completion_script_is_read_by_its_shell_without_complaint(
    stocked: Kitcar, shells: dict[str, Path], shell: str, tmp_path: Path
) -> None:
    script = tmp_path / f"completion.{shell}"
    script.write_text(stocked("completion", shell).out)
    done = subprocess.run([shells[shell], "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def program_on_path(kitcar: Kitcar, tmp_path: Path) -> dict[str, str]:
    """An environment whose `kitcar` is this one, over the same home."""
    program = tmp_path / "bin" / "kitcar"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kitcar "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "KITOPS_HOME": str(kitcar.home)}


def bash(program: Path, kitcar: Kitcar, tmp_path: Path, line: str) -> list[str]:
    """What bash would offer at the end of `line`."""
    question = (
        f"{kitcar('completion', 'bash').out}\ncompopt() {{ :; }}\n"
        f'COMP_LINE="$1" COMP_POINT=${{#1}}\n_kitcar\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        [program, "-c", question, "bash", line],
        env=program_on_path(kitcar, tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


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
    stocked: Kitcar, shells: dict[str, Path], tmp_path: Path, line: str, expected: list[str]
) -> None:
    assert bash(shells["bash"], stocked, tmp_path, line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kitcar pu", ["pull", "push"]),
        ("kitcar info iris:", ["iris:v1", "iris:v2"]),
        ("kitcar info reg.example:5000/te", ["reg.example:5000/team/iris:v9"]),
        ("kitcar pack --compression=g", ["--compression=gzip", "--compression=gzip-fastest"]),
    ],
)
def test_fish_offers_what_fits(
    stocked: Kitcar, shells: dict[str, Path], tmp_path: Path, line: str, expected: list[str]
) -> None:
    script = tmp_path / "kitcar.fish"
    script.write_text(stocked("completion", "fish").out)
    done = subprocess.run(
        [shells["fish"], "--no-config", "-c", f"source {script}; complete -C '{line}'"],
        env=program_on_path(stocked, tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [item.partition("\t")[0] for item in done.stdout.splitlines()] == expected
