"""What a session takes from environment and flags."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kitcar.cli.output import Level
from kitcar.cli.session import GlobalFlags, Session, Surroundings
from kitcar.cli.settings import Settings
from kitcar.errors import InvalidError


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def session(*, terminal: bool = False, typed: bytes = b"") -> Session:
    err = Terminal() if terminal else io.StringIO()
    return Session.start(Surroundings({"HOME": "/home/ada"}, io.BytesIO(typed), io.StringIO(), err))


@pytest.mark.parametrize(
    ("environ", "platform", "home"),
    [
        ({"KITOPS_HOME": "/kit", "HOME": "/home/ada"}, "linux", "/kit"),
        ({"XDG_DATA_HOME": "/data", "HOME": "/home/ada"}, "linux", "/data/kitops"),
        ({"HOME": "/home/ada"}, "linux", "/home/ada/.local/share/kitops"),
        ({"HOME": "/Users/ada", "XDG_DATA_HOME": "/data"}, "darwin", "/Users/ada/Library/Caches/kitops"),
    ],
)
def test_settings_home_is_where_kit_looks(environ: dict[str, str], platform: str, home: str) -> None:
    settings = Settings.from_environment(environ, platform)
    assert settings.root == Path(home)
    assert settings.storage == Path(home, "storage")
    assert settings.credentials == Path(home, "credentials.json")


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_settings_without_home_say_so_when_it_is_needed(platform: str) -> None:
    settings = Settings.from_environment({}, platform)
    with pytest.raises(InvalidError, match="failed to read base config directory"):
        _ = settings.root


def test_settings_do_not_follow_the_environment_afterwards() -> None:
    environ = {"HOME": "/home/ada"}
    settings = Settings.from_environment(environ)
    environ["HOME"] = "/other"
    assert settings.environ["HOME"] == "/home/ada"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        (GlobalFlags(), Level.INFO),
        (GlobalFlags(log_level="error"), Level.ERROR),
        (GlobalFlags(verbose=1), Level.DEBUG),
        (GlobalFlags(verbose=2, log_level="error"), Level.TRACE),
        (GlobalFlags(verbose=5), Level.TRACE),
    ],
)
def test_session_level_follows_flags(flags: GlobalFlags, level: Level) -> None:
    assert session().with_flags(flags).console.level is level


@pytest.mark.parametrize(
    ("flags", "terminal", "progress"),
    [
        (GlobalFlags(), False, "plain"),
        (GlobalFlags(), True, "fancy"),
        (GlobalFlags(progress="plain"), True, "plain"),
        (GlobalFlags(progress="fancy"), False, "plain"),
        (GlobalFlags(progress="none"), True, "none"),
        (GlobalFlags(verbose=3), True, "none"),
    ],
)
def test_session_progress_follows_flags_and_terminal(flags: GlobalFlags, terminal: bool, progress: str) -> None:
    assert session(terminal=terminal).with_flags(flags).progress == progress


def test_session_flags_given_later_win_and_counts_add_up() -> None:
    both = session().with_flags(GlobalFlags("/a", "warn", "none", 1)).with_flags(GlobalFlags("/b", "", "plain", 1))
    assert both.flags == GlobalFlags("/b", "warn", "plain", 2)
    assert both.settings.root == Path("/b")


def test_session_asks_and_reads_a_line() -> None:
    asking = session(typed=b" iris \nmore")
    assert asking.ask("Name: ") == "iris"
    assert isinstance(asking.console.err, io.StringIO)
    assert asking.console.err.getvalue() == "Name: "
