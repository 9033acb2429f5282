"""Arguments and environment of the container, read into frozen values."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitcar.errors import InvalidError
from kitcar.flags.network import connection_of
from kitcar.initializer.flags import parse_flags
from kitcar.initializer.login import LoginSettings
from kitcar.initializer.settings import InitSettings, Job, Logging, Settings, Surroundings, is_pairs


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
    assert (settings.flags.on("plain-http"), settings.flags_text) == (True, "--plain-http --cert /flag")
    assert settings.around.kit_home == Path("/home/kit")
    assert connection_of(settings.flags, environ, print).client_cert == "/flag"
    assert connection_of(parse_flags(""), environ, print).client_cert == "/variable"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "flags", ["--proxy=http://ada:secret@proxy:3128 -v", "-v --proxy 'http://ada:secret@proxy:3128'"]
)
def test_read_flags_to_be_shown_lack_the_password_of_a_proxy(flags: str) -> None:
    settings = Settings.read(["a", "b"], {"KIT_UNPACK_FLAGS": flags})
    assert "http://***@proxy:3128" in settings.flags_text
    assert settings.flags.text("proxy") == "http://ada:secret@proxy:3128"
    again = InitSettings.read({"EXTRA_FLAGS": flags, "MODELKIT_REF": "r"})
    assert again.flags_text == settings.flags_text


@pytest.mark.parametrize("rest", [" --nonsense=http://ada:secret@proxy", " 'open", " http://ada:secret@proxy"])
def test_read_malformed_flags_are_told_without_the_password_of_a_proxy(rest: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Settings.read(["a", "b"], {"KIT_UNPACK_FLAGS": "--proxy=http://ada:secret@proxy" + rest})
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("value", ["", "false", "True", "1"])
def test_read_workload_identity_is_on_for_the_word_true_alone(value: str) -> None:
    assert Settings.read(["a", "b"], {"GCP_WIF": value}).login.workload_identity is False


def test_read_dir_flag_with_several_models_is_invalid() -> None:
    environ = {"KIT_UNPACK_FLAGS": "-d /x"}
    assert Settings.read(["a", "b"], environ).flags.text("dir") == "/x"
    with pytest.raises(InvalidError, match="--dir cannot be used with several models"):
        Settings.read(["a", "b", "c", "d"], environ)


def test_surroundings_flag_for_kits_home_wins_over_the_variable() -> None:
    assert Surroundings.read({"KITOPS_HOME": "/k"}, "/flag").kit_home == Path("/flag")
    assert Surroundings.read({}).kit_home is None


def test_init_settings_filter_comes_before_those_of_the_extra_flags() -> None:
    settings = InitSettings.read({"MODELKIT_REF": "kit://a.b/c:1", "UNPACK_FILTER": "docs", "EXTRA_FLAGS": "-f code"})
    assert settings.flags.texts("filter") == ("docs", "code")
    usual = InitSettings.read({"MODELKIT_REF": "a.b/c:1"})
    assert usual.flags.texts("filter") == ("model",)
    assert usual.flags.on("ignore-existing")


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
