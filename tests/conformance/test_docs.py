"""What the documentation says holds: its links lead somewhere, and its examples run as shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import docs

if TYPE_CHECKING:
    from kitcar.server import RunningRegistry

PAGES = docs.pages()
EXAMPLES = [page for page in PAGES if any(step.command for step in docs.steps(page))]
REGISTRY = "localhost:5000"


def _name(page: Path) -> str:
    return str(page.relative_to(docs.ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in docs.links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor and target.suffix == ".md":
            assert anchor in docs.anchors(target), f"{link} names no heading"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page_is_reached_from_the_readme_or_the_index(page: Path) -> None:
    starts = [docs.ROOT / "README.md", docs.ROOT / "docs" / "index.md"]
    reached: set[Path] = set()
    waiting = list(starts)
    while waiting:
        here = waiting.pop()
        if here in reached or here.suffix != ".md" or not here.is_file():
            continue
        reached.add(here)
        waiting += [(here.parent / link.partition("#")[0]).resolve() for link in docs.links(here) if "://" not in link]
    assert page in reached


@pytest.mark.parametrize("page", EXAMPLES, ids=_name)
def test_page_examples_run_and_print_what_is_shown(
    page: Path, tmp_path: Path, embedded_registry: RunningRegistry
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KITOPS_HOME": str(tmp_path / "home"),
        "COLUMNS": "200",
    }
    for step in docs.steps(page):
        if step.name:
            (work / step.name).parent.mkdir(parents=True, exist_ok=True)
            (work / step.name).write_text(step.content.replace(REGISTRY, embedded_registry.address))
        else:
            work = _run(step, work, environment, embedded_registry.address)


def _run(step: docs.Step, folder: Path, environment: Mapping[str, str], registry: str) -> Path:
    """Runs one command; gives the folder it ended in."""
    where = folder.parent / ".where"
    command = step.command.replace(REGISTRY, registry)
    done = subprocess.run(
        ["bash", "-c", f'set -eo pipefail\n{command}\npwd >"$0"', str(where)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    printed = done.stdout.replace(registry, REGISTRY)
    assert docs.matches(step.output, printed), f"{command}\nshown:\n{os.linesep.join(step.output)}\nprinted:\n{printed}"
    return Path(where.read_text().strip())


@pytest.mark.parametrize(
    ("shown", "printed", "right"),
    [
        ((), "anything", True),
        (("a",), "a\n", True),
        (("a",), "b\n", False),
        (("a ...",), "a b c\n", True),
        (("a ...",), "a\nb\n", False),
        (("a", "...", "z"), "a\nb\nc\nz\n", True),
    ],
)
def test_shown_output_is_compared_with_what_is_printed(shown: tuple[str, ...], printed: str, *, right: bool) -> None:
    assert docs.matches(shown, printed) is right
