"""The project keeps its own rules: layers spelled alike everywhere, one door per library, sizes, words."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "kitcar"
MODULES = sorted(PACKAGE.rglob("*.py"))
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "core", "misc"}
LEFT_OPEN = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b|NotImplemented" r"Error")

# Libraries that more than one module may import: a stated exception each.
SHARED_DOORS = {"click": "each verb of the command line declares its own options with it"}


def _contract() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers: list[str] = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return layers


def _names(lines: list[str]) -> Iterator[tuple[str, bool]]:
    for line in lines:
        for name in line.split("|"):
            yield name.strip(" ()"), name.strip().startswith("(")


def _documented() -> list[str]:
    text = (ROOT / "docs" / "architecture.md").read_text()
    found = re.search(r"<!-- layers -->\n```\n(.*?)```", text, re.DOTALL)
    assert found, "docs/architecture.md has no block marked <!-- layers -->"
    return found[1].strip().splitlines()


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in MODULES:
        yield path.relative_to(PACKAGE), ast.parse(path.read_text())


def test_layers_are_spelled_alike_in_the_contract_and_the_architecture_page() -> None:
    assert _documented() == _contract()


def test_layers_name_exactly_the_packages_there_are() -> None:
    there = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    there |= {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    placed = dict(_names(_contract()))
    assert there == {name for name, planned in placed.items() if not planned}
    assert not there & {name for name, planned in placed.items() if planned}


def test_architecture_page_describes_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for name, _ in _names(_contract()):
        assert f"`{name}`" in text or f"`{name}/`" in text, name


def test_third_party_libraries_have_one_door_each() -> None:
    doors: dict[str, set[Path]] = defaultdict(set)
    for path, tree in _trees():
        if path.parts[0] == "testing":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            else:
                continue
            for module in modules:
                top = module.partition(".")[0]
                if top != "kitcar" and top not in sys.stdlib_module_names:
                    doors[top].add(path)
    several = {name: sorted(map(str, paths)) for name, paths in doors.items() if len(paths) > 1}
    assert {name: paths for name, paths in several.items() if name not in SHARED_DOORS} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_keeps_the_size_limits_and_the_words(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    assert path.stem not in BANNED_NAMES
    assert not LEFT_OPEN.search(text)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} is longer than 60 lines"
    assert ast.get_docstring(tree), "a module says what lives there"


def _raising(function: ast.FunctionDef) -> bool:
    """Whether a function itself raises an error of its own making."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))
    return False


def test_public_function_that_raises_says_what() -> None:
    silent = []
    for path, tree in _trees():
        for node in ast.walk(tree):
            # The docstring of a verb is its help.
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or node.name == "command":
                continue
            words = ast.get_docstring(node) or ""
            says = "Raises:" in words or "See `" in words or "or raises" in words
            if words and _raising(node) and not says:
                silent.append(f"{path}: {node.name}")
    assert silent == []


def test_changelog_has_the_version_of_the_package() -> None:
    version = re.search(r'__version__ = "([^"]+)"', (PACKAGE / "__init__.py").read_text())
    assert version
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changelog or f"## [{version[1]}]" in changelog


def test_requirements_name_no_index() -> None:
    for path in (ROOT / "requirements").iterdir():
        assert not re.search(r"https?://|--(?:extra-)?index-url|--find-links", path.read_text()), path.name
