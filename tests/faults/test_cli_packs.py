"""Many commands at once over one home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.kitcar import Kitcar

PACKS = 16


def test_packs_of_sixteen_processes_lose_no_tag_and_no_layer(tmp_path: Path) -> None:
    home, processes = tmp_path / "home", []
    for number in range(PACKS):
        context = tmp_path / str(number)
        context.mkdir()
        (context / "model.bin").write_bytes(b"%d" % number * 100_000)
        (context / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel:\n  path: model.bin\n")
        command = [sys.executable, "-m", "kitcar", "pack", str(context), "-t", f"team/iris:v{number},w{number}"]
        environment = {**os.environ, "KITOPS_HOME": str(home)}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    for process in processes:
        printed = process.communicate()[0].decode()
        assert process.returncode == 0, printed
    kitcar = Kitcar(home)
    shown = {line.split()[1] for line in kitcar("list").out.splitlines()[1:]}
    assert shown == {f"{letter}{number}" for letter in "vw" for number in range(PACKS)}
    for number in range(PACKS):
        kitcar("unpack", f"team/iris:w{number}", "-d", tmp_path / "out" / str(number))
        assert (tmp_path / "out" / str(number) / "model.bin").read_bytes() == b"%d" % number * 100_000
