"""kit's home, where kit looks for it."""

from __future__ import annotations

from pathlib import Path

from kitcar.stores.home import kit_home


def test_kit_home_follows_kits_order_and_may_be_nowhere() -> None:
    environ = {"KITOPS_HOME": "/k", "XDG_DATA_HOME": "/x", "HOME": "/h"}
    assert kit_home(environ, "linux") == Path("/k")
    assert kit_home({"XDG_DATA_HOME": "/x", "HOME": "/h"}, "linux") == Path("/x/kitops")
    assert kit_home({"HOME": "/h"}, "linux") == Path("/h/.local/share/kitops")
    assert kit_home({"HOME": "/h"}, "darwin") == Path("/h/Library/Caches/kitops")
    assert kit_home({}, "linux") is kit_home({}, "darwin") is None


def test_kit_home_of_a_relative_variable_is_absolute() -> None:
    assert kit_home({"KITOPS_HOME": "here"}) == Path.cwd() / "here"
