"""Reads the documentation's Markdown: its links, and the examples that are marked to be run.

`<!-- run -->` before a fence runs its `$ ` lines, in one folder and one shell state a page; output lines below a command are
compared with what it prints, `...` standing for anything. `<!-- file: NAME -->` before a fence writes that file first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(
    r"^<!-- (?P<mark>run|file: (?P<name>\S+)) -->\n```\w*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Step:
    """A command with the output it shows, or a file to write."""

    command: str = ""
    output: tuple[str, ...] = ()
    name: str = ""
    content: str = ""


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


def links(page: Path) -> list[str]:
    """All links of a page, code left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", text))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are shown on the web."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def steps(page: Path) -> list[Step]:
    """The examples of a page, in order."""
    found: list[Step] = []
    for match in _FENCE.finditer(page.read_text()):
        if match["name"]:
            found.append(Step(name=match["name"], content=match["body"]))
        else:
            found += _commands(match["body"])
    return found


def matches(expected: tuple[str, ...], printed: str) -> bool:
    """Whether what was printed is what a page shows; no lines shown means that any output is right."""
    if not expected:
        return True
    pattern = "\n".join(
        ".*" if line.strip() == "..." else ".*".join(map(re.escape, line.rstrip().split("..."))) for line in expected
    )
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(pattern, lines, re.DOTALL if "..." in expected else 0) is not None


def _commands(body: str) -> list[Step]:
    found: list[Step] = []
    lines = body.splitlines()
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            if found and line.strip():
                found[-1] = Step(found[-1].command, (*found[-1].output, line))
            continue
        command = line[2:]
        while command.endswith("\\") and lines:
            command = command[:-1] + lines.pop(0).removeprefix("> ")
        found.append(Step(command))
    return found
