"""What a program imports from `kitcar` itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kitcar

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "library.md"


@pytest.mark.parametrize("name", kitcar.__all__)
def test_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(kitcar, name).__name__ == name
    assert getattr(kitcar, name).__doc__
    assert f"`{name}`" in PAGE.read_text()


def test_public_names_are_listed() -> None:
    assert dir(kitcar) == sorted([*kitcar.__all__, "__version__"])


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kitcar' has no attribute 'nothing'"):
        _ = kitcar.nothing


def test_import_of_the_package_imports_nothing_of_it() -> None:
    code = "import kitcar, sys; print([name for name in sys.modules if name.startswith('kitcar.')])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(PAGE.parents[2] / "src")},
    )
    assert done.stdout == "[]\n"
