"""Arguments and environment of the container, read into frozen values."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitcar.errors import InvalidError
from kitcar.initializer.login import LoginSettings
from kitcar.initializer.settings import Job, Logging, Settings, is_pairs, kit_home


@pytest.mark.parametrize(("count", "right"), [(0, False), (1, False), (2, True), (3, False), (4, True), (5, False)])
def test_is_pairs_wants_sources_with_destinations(count: int, right: bool) -> None:
    assert is_pairs(["x"] * count) is right


def test_read_takes_one_leading_scheme_away_and_leaves_the_rest() -> None:
    words = ["kit://host/a:1", "/mnt/a", "host/b@sha256:0", "/mnt/kit://b"]
    assert Settings.read(words, {}).jobs == (Job("host/a:1", "/mnt/a"), Job("host/b@sha256:0", "/mnt/kit://b"))


def test_read_variables_of_the_container() -> None:
    environ = {
        "KIT_UNPACK_FLAGS": "--plain-http --cert /flag",
        "KIT_USER": "ada",
        "KIT_PASSWORD": "secret",
        "AWS_ROLE_ARN": "arn",
        "AWS_ECR_REGION": "eu-west-1",
        "GCP_WIF": "true",
        "GCP_GAR_LOCATION": "europe",
        "KITOPS_HOME": "/home/kit",
        "KITOPS_CLIENT_CERT": "/variable",
    }
    settings = Settings.read(["a", "b"], environ)
    assert settings.login == LoginSettings("ada", "secret", "arn", workload_identity=True, gar_location="europe")
    assert (settings.flags.plain_http, settings.flags_text) == (True, "--plain-http --cert /flag")
    assert (settings.around.kit_home, settings.around.client_cert) == (Path("/home/kit"), "/variable")
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("value", ["", "false", "True", "1"])
def test_read_workload_identity_is_on_for_the_word_true_alone(value: str) -> None:
    assert Settings.read(["a", "b"], {"GCP_WIF": value}).login.workload_identity is False


def test_read_dir_flag_with_several_models_is_invalid() -> None:
    environ = {"KIT_UNPACK_FLAGS": "-d /x"}
    assert Settings.read(["a", "b"], environ).flags.dir == "/x"
    with pytest.raises(InvalidError, match="--dir cannot be used with several models"):
        Settings.read(["a", "b", "c", "d"], environ)


def test_kit_home_follows_kits_order_and_may_be_nowhere() -> None:
    environ = {"KITOPS_HOME": "/k", "XDG_DATA_HOME": "/x", "HOME": "/h"}
    assert kit_home(environ, "/flag") == Path("/flag")
    assert kit_home(environ) == Path("/k")
    assert kit_home({"XDG_DATA_HOME": "/x", "HOME": "/h"}) == Path("/x/kitops")
    assert kit_home({"HOME": "/h"}) == Path("/h/.local/share/kitops")
    assert kit_home({}) is None


def test_logging_options_win_over_variables() -> None:
    environ = {"KITCAR_LOG_FORMAT": "json", "KITCAR_TERMINATION_LOG": "/t"}
    assert Logging.read(["a", "b"], environ) == (Logging("json", Path("/t")), ("a", "b"))
    words = ["--log-format=text", "--termination-log", "/u", "a", "--b"]
    assert Logging.read(words, environ) == (Logging("text", Path("/u")), ("a", "--b"))
    assert Logging.read(["a"], {}) == (Logging("text", Path("/dev/termination-log")), ("a",))


@pytest.mark.parametrize("words", [["--log-format", "xml"], ["--log-format"], ["--what", "x"]])
def test_logging_options_that_mean_nothing_are_invalid(words: list[str]) -> None:
    with pytest.raises(InvalidError):
        Logging.read(words, {})
