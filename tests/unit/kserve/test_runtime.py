"""Which server runs a model format, and how it is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitcar.errors import InvalidError, UnsupportedError
from kitcar.kserve.runtime import RUNTIMES, Ports, Runtime, find_runtime, parse_mapping, parse_runtime, plan

PORTS = Ports(8080, 9000)


def model(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("x")
    return folder


def test_plan_sklearn_writes_settings_for_a_name_mlserver_knows(tmp_path: Path) -> None:
    launch = plan(
        RUNTIMES["sklearn"], "iris", model(tmp_path, "model.joblib", "Kitfile"), Path("/elsewhere/iris"), PORTS
    )
    assert launch.command == ("mlserver", "start", "/elsewhere/iris")
    settings = json.loads(launch.files["model-settings.json"])
    assert settings == {
        "name": "iris",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(tmp_path)},
    }
    server = json.loads(launch.files["settings.json"])
    assert (server["host"], server["http_port"], server["grpc_port"]) == ("127.0.0.1", 8080, 9000)


def test_plan_one_file_of_another_name_is_pointed_out(tmp_path: Path) -> None:
    launch = plan(RUNTIMES["sklearn"], "iris", model(tmp_path, "iris.joblib", "README.md"), tmp_path, PORTS)
    assert json.loads(launch.files["model-settings.json"])["parameters"]["uri"] == str(tmp_path / "iris.joblib")


@pytest.mark.parametrize(
    ("names", "says"),
    [((), "no file .* empty"), (("a.txt",), "no file .* a.txt"), (("a.pkl", "b.pkl"), "2 files .* a.pkl, b.pkl")],
)
def test_plan_directory_without_exactly_one_model_is_invalid(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    with pytest.raises(InvalidError, match=says) as caught:
        plan(RUNTIMES["sklearn"], "iris", model(tmp_path, *names), tmp_path, PORTS)
    assert "model.joblib" in str(caught.value.hint)


def test_plan_custom_command_has_its_placeholders_filled(tmp_path: Path) -> None:
    runtime = parse_runtime("onnx=serve --dir={model_dir} --name {model_name} -p {port} {other} '{grpc_port} x'")
    launch = plan(runtime, "m", tmp_path, Path("/s"), PORTS)
    assert launch.command == ("serve", f"--dir={tmp_path}", "--name", "m", "-p", "8080", "{other}", "9000 x")
    assert launch.files == {}
    assert launch.environ["MODEL_NAME"] == "m"
    assert launch.environ["PORT"] == "8080"


def test_parse_runtime_known_format_keeps_its_implementation() -> None:
    runtime = parse_runtime("sklearn=/opt/mlserver start {settings_dir}")
    assert runtime.implementation == "mlserver_sklearn.SKLearnModel"
    assert runtime.command == ("/opt/mlserver", "start", "{settings_dir}")


@pytest.mark.parametrize("text", ["sklearn", "=x", "sklearn=", "sklearn='a"])
def test_parse_runtime_without_name_or_command_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError, match="--runtime"):
        parse_runtime(text)


def test_parse_mapping_takes_the_first_equals_sign() -> None:
    assert parse_mapping("img:1=run --a=b", "--image") == ("img:1", ("run", "--a=b"))


def test_find_runtime_unknown_format_says_what_is_known() -> None:
    with pytest.raises(UnsupportedError, match="'onnx'") as caught:
        find_runtime("onnx", RUNTIMES)
    assert "lightgbm, sklearn, xgboost" in str(caught.value.hint)
    assert find_runtime("onnx", {"onnx": Runtime("onnx", ("x",))}).command == ("x",)
