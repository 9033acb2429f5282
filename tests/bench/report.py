"""Writes the results down: Markdown tables, between the markers of docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import Result
from bench.scenario import Scenario

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_BLOCK = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)
_MIB = 1024 * 1024


def table(scenario: Scenario, results: Sequence[Result]) -> str:
    """The table of one scenario."""
    by_tool = {result.tool: result for result in results if result.samples}
    floor, peer = by_tool.get(scenario.floor), by_tool.get(scenario.peer)
    # A command that ends in milliseconds is gone before its memory can be looked at.
    head = ["", "wall s", "fastest", *(["MiB/s"] if scenario.size else []), "CPU s"]
    head += ["memory MiB"] if scenario.size else []
    head += [f"x {scenario.floor}"] if scenario.floor else []
    head += [f"x {scenario.peer}"] if scenario.peer else []
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for result in results:
        if not result.samples:
            rows.append([result.tool, f"fails: {result.failure[:100]}", *[""] * (len(head) - 2)])
            continue
        cells = [result.tool, f"{result.wall:.3f}", f"{result.fastest:.3f}"]
        cells += [f"{scenario.size / _MIB / result.wall:.0f}"] if scenario.size else []
        cells += [f"{result.cpu:.2f}", *([f"{result.memory:.0f}"] if scenario.size else [])]
        cells += [_ratio(result, floor)] if scenario.floor else []
        cells += [_ratio(result, peer)] if scenario.peer else []
        rows.append(cells)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    size = f" ({scenario.size / _MIB:.0f} MiB)" if scenario.size else ""
    return f"### {scenario.title[0].upper()}{scenario.title[1:]}{size}\n\n" + "\n".join(lines) + "\n"


def heading(runs: int, folder: Path) -> str:
    """When and where the measurements were made."""
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    machine = f"{os.cpu_count()} processors, {memory:.0f} GiB of memory, files on {files}"
    software = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    peers = "kit 1.15.0, oras 1.3.3, crane 0.22.1, docker-registry of Debian"
    return f"{datetime.now(UTC):%d %B %Y}: {machine}; {software}; {peers}. {runs} runs each, medians.\n"


def record(text: str) -> None:
    """Replaces what stands between the markers of the page."""
    page = PAGE.read_text()
    PAGE.write_text(_BLOCK.sub(lambda match: f"{match[1]}{text.strip()}\n{match[2]}", page))


def _ratio(result: Result, other: Result | None) -> str:
    return f"{result.wall / other.wall:.2f}" if other else ""
