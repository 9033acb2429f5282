"""Verbs over local storage: pack, list, info, inspect, tag, remove, init."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.kitcar import Kitcar
from kitcar import __version__

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
HINT = "Hint: `kitcar list` shows what is in local storage\n"


def digest_of(text: str) -> str:
    found = DIGEST.findall(text)
    assert found
    return found[-1]


def test_pack_prints_each_layer_config_and_manifest(kitcar: Kitcar, context: Path) -> None:
    result = kitcar("pack", context, "-t", "iris:v1")
    assert [DIGEST.sub("D", line) for line in result.out.splitlines()] == [
        "Saved model layer: D",
        "Saved code layer: D",
        "Saved configuration: D",
        "Saved manifest to storage: D",
        "Model saved: D",
    ]
    assert result.err == ""


def test_pack_again_says_what_is_there_already(kitcar: Kitcar, context: Path) -> None:
    first = kitcar("pack", context, "-t", "iris:v1")
    second = kitcar("pack", context, "-t", "iris:v1")
    assert [DIGEST.sub("D", line) for line in second.out.splitlines()] == [
        "Already saved model layer: D",
        "Already saved code layer: D",
        "Configuration already exists in storage: D",
        "Manifest already exists in storage: D",
        "Model saved: D",
    ]
    assert digest_of(first.out) == digest_of(second.out)


def test_pack_without_tag_is_listed_as_none(kitcar: Kitcar, context: Path) -> None:
    kitcar("pack", context)
    assert kitcar("list").out.splitlines()[1].split()[:4] == ["<none>", "<none>", "Ada", "iris"]


def test_pack_repository_without_tag_takes_latest_and_says_so(kitcar: Kitcar, context: Path) -> None:
    result = kitcar("pack", context, "-t", "team/iris")
    assert result.out.startswith(
        "No tag or digest specified with --tag flag. Using 'latest' as default ('team/iris:latest')\n"
    )
    assert kitcar("list", "--format", "{{.Tags}}").out == "[latest]\n"


def test_pack_tags_of_every_flag_name_the_modelkit(kitcar: Kitcar, context: Path) -> None:
    kitcar("pack", context, "-t", "iris:v1,v2", "--tag", "iris:v3")
    assert kitcar("list", "--format", "{{.Tags}}").out == "[v1 v2 v3]\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-t", "iris:v1", "-t", "other:v1"), "all --tag flags must name the same repository"),
        (("-t", "iris:v1,!bad"), "failed to parse reference: invalid tag '!bad'"),
        (("-t", f"iris@sha256:{'0' * 64}"), "a modelkit cannot be tagged with a digest"),
        (("-t", "UP:v1"), "failed to parse reference: repository (UP) name must be lowercase"),
        (
            ("--compression", "best"),
            "invalid compression type: must be one of 'none', 'gzip', 'gzip-fastest', or 'zstd'",
        ),
        (("--layer-format", "zip"), "invalid layer format: must be either 'tar' or 'raw'"),
        (("--layer-format", "raw"), "raw layers are read, but not written"),
        (("--use-model-pack",), "ModelPacks are read, but not written"),
        (("--push",), "registry is required when pushing"),
        (("--push", "-t", "iris:v1"), "registry is required when pushing"),
        (("--concurrency", "0"), "invalid argument for concurrency (0): must be at least 1"),
    ],
)
def test_pack_with_meaningless_arguments_is_refused(
    kitcar: Kitcar, context: Path, words: tuple[str, ...], message: str
) -> None:
    result = kitcar("pack", context, *words, check=False)
    assert result.code == 1
    assert f"[ERROR] Invalid arguments: {message}" in result.err
    assert "Kitfile" not in kitcar("list").out


def test_pack_directory_without_kitfile_is_refused(kitcar: Kitcar, tmp_path: Path) -> None:
    result = kitcar("pack", tmp_path / "nothing", check=False)
    assert result.code == 1
    assert result.err.startswith(
        f"[ERROR] Invalid arguments: No Kitfile found in {tmp_path / 'nothing'}. "
        "Consider using the -f flag to specify its path\n"
    )


def test_pack_kitfile_of_the_flag_is_looked_for_in_the_directory_first(kitcar: Kitcar, context: Path) -> None:
    (context / "other.yaml").write_text("manifestVersion: 1.0.0\npackage: {name: small}\ncode: [{path: src}]\n")
    kitcar("pack", context, "-f", "other.yaml", "-t", "iris:small")
    assert kitcar("list", "--format", "{{.ModelName}}").out == "small\n"


def test_pack_kitfile_from_standard_input(kitcar: Kitcar, context: Path) -> None:
    kitcar("pack", context, "-f", "-", "-t", "iris:in", stdin=b"manifestVersion: 1.0.0\ndocs: [{path: src}]\n")
    assert kitcar("info", "iris:in").out == "manifestVersion: 1.0.0\ndocs:\n  - path: src\n"


def test_pack_kitfile_that_is_not_there_is_named(kitcar: Kitcar, context: Path) -> None:
    result = kitcar("pack", context, "-f", "none.yaml", check=False)
    assert result.code == 1
    assert f"no Kitfile at {context / 'none.yaml'}" in result.err


def test_pack_wrong_kitfile_lists_every_fault_with_its_place(kitcar: Kitcar, context: Path) -> None:
    (context / "Kitfile").write_text(
        "manifestVersion: 1.0.0\nmodle:\n  path: x\ncode:\n  - path: /abs\n    licence: MIT\n"
    )
    result = kitcar("pack", context, check=False)
    assert result.code == 1
    assert result.err.startswith("[ERROR] Failed to pack model kit: ")
    assert "line 2" in result.err
    assert "line 6" in result.err


def test_pack_unknown_manifest_version_warns_as_kit_does(kitcar: Kitcar, context: Path) -> None:
    text = (context / "Kitfile").read_text().replace("1.0.0", "9.0.0")
    (context / "Kitfile").write_text(text)
    result = kitcar("pack", context)
    assert result.err == "[WARN ] Unrecognized manifestVersion 9.0.0: treating Kitfile as 1.0.0\n"


def test_pack_missing_path_is_named(kitcar: Kitcar, context: Path) -> None:
    (context / "model.bin").unlink()
    result = kitcar("pack", context, check=False)
    assert result.code == 1
    assert result.err.startswith("[ERROR] Failed to pack model kit: error processing model: path model.bin")


def test_pack_model_of_another_modelkit_is_refused(kitcar: Kitcar, context: Path) -> None:
    (context / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: 'iris:v1'}\n")
    result = kitcar("pack", context, check=False)
    assert result.code == 1
    assert "refers to another ModelKit" in result.err


def test_pack_records_time_and_version(kitcar: Kitcar, context: Path, tmp_path: Path) -> None:
    fixed = Kitcar(tmp_path / "home", {"SOURCE_DATE_EPOCH": "1700000000"})
    fixed("pack", context, "-t", "iris:v1")
    shown = json.loads(kitcar("inspect", "iris:v1").out)
    assert shown["manifest"]["annotations"]["org.opencontainers.image.created"] == "2023-11-14T22:13:20Z"
    assert shown["cliVersion"] == f"{__version__}+kitcar"


def test_pack_wrong_time_is_refused(tmp_path: Path, context: Path) -> None:
    result = Kitcar(tmp_path, {"SOURCE_DATE_EPOCH": "yesterday"})("pack", context, check=False)
    assert result.code == 1
    assert "invalid SOURCE_DATE_EPOCH 'yesterday'" in result.err


def test_list_of_nothing_is_a_header_and_an_empty_list(kitcar: Kitcar) -> None:
    assert kitcar("list").out == "REPOSITORY   TAG   MAINTAINER   NAME   SIZE   DIGEST\n"
    assert kitcar("list", "--format", "json").out == "[]\n"
    assert kitcar("list", "--format", "{{.Repo}}").out == ""


def test_list_json_of_untagged_modelkit_has_null_tags(kitcar: Kitcar, context: Path) -> None:
    kitcar("pack", context)
    assert json.loads(kitcar("list", "--format", "json").out)[0]["tags"] is None


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        (("model",), True),
        (("datasets",), False),
        (("datasets", "code"), True),
        (("model:iris",), True),
        (("model:other",), False),
        (("code:src",), True),
        (("docs,code",), True),
        (("kitfile",), True),
    ],
)
def test_list_filter_shows_modelkits_that_have_such_an_entry(
    kitcar: Kitcar, context: Path, filters: tuple[str, ...], shown: bool
) -> None:
    kitcar("pack", context, "-t", "iris:v1")
    words = [word for text in filters for word in ("-f", text)]
    assert ("iris" in kitcar("list", *words).out) is shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-f", "bogus"), 'invalid filter "bogus": invalid filter type bogus (must be one of kitfile, model,'),
        (("--format", "{{ .Nope "), "template: unclosed action"),
        (("a/b:1,2",), "repository cannot reference multiple tags"),
        (("UP",), "invalid reference: repository (UP) name must be lowercase"),
        (("iris",), "registry is required when listing a repository (iris)"),
    ],
)
def test_list_with_meaningless_arguments_is_refused(kitcar: Kitcar, words: tuple[str, ...], message: str) -> None:
    result = kitcar("list", *words, check=False)
    assert (result.code, result.out) == (1, "")
    assert f"[ERROR] Invalid arguments: {message}" in result.err


def test_list_skips_modelkits_whose_content_is_missing(kitcar: Kitcar, context: Path) -> None:
    kitcar("pack", context, "-t", "iris:v1")
    config = json.loads(kitcar("inspect", "iris:v1").out)["manifest"]["config"]["digest"]
    (kitcar.home / "storage" / "blobs" / "sha256" / config.removeprefix("sha256:")).unlink()
    result = kitcar("list")
    assert result.out.count("\n") == 1
    assert "content is missing from local storage; run 'kitcar remove' to clean it up" in result.err


def blob_of(kitcar: Kitcar, digest: str) -> Path:
    return kitcar.home / "storage" / "blobs" / "sha256" / digest.removeprefix("sha256:")


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_list_skips_a_damaged_modelkit_and_shows_the_others(kitcar: Kitcar, context: Path) -> None:
    bad = digest_of(kitcar("pack", context, "-t", "iris:v1").out)
    (context / "model.bin").write_bytes(b"another")
    good = digest_of(kitcar("pack", context, "-t", "iris:v2").out)
    spoil(blob_of(kitcar, bad))
    result = kitcar("list")
    assert [digest_of(line) for line in result.out.splitlines()[1:]] == [good]
    assert f"[WARN ] Skipping iris@{bad}: content of {bad} has the digest" in result.err


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("iris:v1", "remove it and pack it again"),
        ("r.example.com/iris:v1", "`kitcar pull r.example.com/iris:v1` repairs it"),
    ],
)
@pytest.mark.parametrize("damage", [spoil, Path.unlink])
def test_damaged_modelkit_in_storage_hints_how_to_repair_it(
    kitcar: Kitcar, context: Path, part: str, name: str, way: str, damage: Callable[[Path], None]
) -> None:
    kitcar("pack", context, "-t", name)
    shown = json.loads(kitcar("inspect", name).out)
    parts = {"manifest": shown["digest"], "config": shown["manifest"]["config"]["digest"]}
    parts["layer"] = shown["manifest"]["layers"][0]["digest"]
    damage(blob_of(kitcar, parts[part]))
    verbs = [("unpack", name, "-d", context.parent / "out")]
    verbs += [("info", name), ("inspect", name)] if part != "layer" else []
    for words in verbs:
        result = kitcar(*words, check=False)
        assert result.code == 1
        assert result.err.endswith(f"Hint: the modelkit is damaged in local storage: {way}\n")


def test_yaml_fault_is_said_once(kitcar: Kitcar, context: Path) -> None:
    (context / "Kitfile").write_text("a: [1\n")
    assert kitcar("pack", context, check=False).err.count("did not find expected") == 1


def test_list_of_damaged_storage_says_which_file(kitcar: Kitcar, context: Path) -> None:
    kitcar("pack", context, "-t", "iris:v1")
    index = next((kitcar.home / "storage").glob("*-index.json"))
    index.write_text("{")
    result = kitcar("list", check=False)
    assert result.code == 1
    assert index.name in result.err


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ("model.name", "iris\n"),
        (".model.path", "model.bin\n"),
        ("package.authors", "- Ada\n- Grace\n"),
        ("package", "name: iris\nauthors: [Ada, Grace]\n"),
        ("model.parameters.lr", "0.1\n"),
        ("model.parameters.steps", "- 1\n- 2\n"),
        ("code", "- path: src\n"),
        ("datasets", "[]\n"),
        ("dataSets", "[]\n"),
        ("model.framework", '""\n'),
        ("manifestVersion", "1.0.0\n"),
    ],
)
def test_info_filter_prints_the_node(kitcar: Kitcar, context: Path, selector: str, text: str) -> None:
    kitcar("pack", context, "-t", "iris:v1")
    assert kitcar("info", "iris:v1", "-f", selector).out == text


def test_info_filter_prints_a_layers_digest(kitcar: Kitcar, context: Path) -> None:
    packed = kitcar("pack", context, "-t", "iris:v1").out
    assert kitcar("info", "iris:v1", "-f", "model.digest").out.strip() in packed


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("bogus", "[ERROR] Error filtering output: cannot find required node\n"),
        ("model.bogus", "[ERROR] Error filtering output: cannot find required node\n"),
        ("code.path", "[ERROR] Error filtering output: cannot find required node\n"),
        ("code[0]", "[ERROR] Invalid filter: array access using '[]' is not currently supported\n"),
        ("a b", "[ERROR] Invalid filter: invalid filter: a b\n"),
    ],
)
def test_info_filter_without_node_is_refused(kitcar: Kitcar, context: Path, selector: str, message: str) -> None:
    kitcar("pack", context, "-t", "iris:v1")
    result = kitcar("info", "iris:v1", "-f", selector, check=False)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(message)


@pytest.mark.parametrize("verb", ["info", "inspect"])
@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("iris:none", "[ERROR] Could not find modelkit iris:none\n"),
        ("reg.example/iris:none", "[ERROR] Could not find modelkit reg.example/iris:none\n"),
        ("iris", "[ERROR] Invalid arguments: missing tag or digest from ModelKit reference 'iris'\n"),
        ("iris:a,b", "[ERROR] Invalid arguments: invalid reference format: extra tags are not supported: b\n"),
        ("UP:a", "[ERROR] Invalid arguments: repository (UP) name must be lowercase\n"),
    ],
)
def test_looking_at_what_is_not_there_is_refused(kitcar: Kitcar, verb: str, reference: str, message: str) -> None:
    result = kitcar(verb, reference, check=False)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(message)


@pytest.mark.parametrize("verb", ["info", "inspect"])
def test_looking_at_a_registry_without_naming_one_is_refused(kitcar: Kitcar, verb: str) -> None:
    result = kitcar(verb, "-r", "iris:v1", check=False)
    assert result.err == "[ERROR] Invalid arguments: can not check remote: iris:v1 does not contain registry\n"


def test_inspect_by_digest_finds_the_modelkit(kitcar: Kitcar, context: Path) -> None:
    digest = digest_of(kitcar("pack", context, "-t", "iris:v1").out)
    assert json.loads(kitcar("inspect", f"iris@{digest}").out)["digest"] == digest


def test_tag_lets_both_names_mean_the_same(kitcar: Kitcar, context: Path) -> None:
    digest = digest_of(kitcar("pack", context, "-t", "iris:v1").out)
    result = kitcar("tag", "iris:v1", "reg.example:5000/team/iris:v2")
    assert result.out == "Modelkit localhost/iris:v1 tagged as reg.example:5000/team/iris:v2\n"
    kitcar("tag", f"iris@{digest}", "iris:same")
    rows = kitcar("list", "--format", "{{.Repo}} {{.Tags}} {{.Digest}}").out
    assert rows == f"iris [same v1] {digest}\nreg.example:5000/team/iris [v2] {digest}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("iris:none", "a:b"), "[ERROR] Failed to tag modelkit: model localhost/iris:none not found\n" + HINT),
        (
            ("iris:v1", "a/b"),
            "[ERROR] Invalid arguments: target ModelKit reference requires a tag or digest (a/b:<tag>)\n",
        ),
        (
            ("iris", "a:b"),
            "[ERROR] Invalid arguments: source ModelKit reference requires a tag or digest (iris:<tag>)\n",
        ),
        (("iris:v1", "a:-x"), "[ERROR] Invalid arguments: failed to parse reference: invalid tag '-x'\n"),
        (
            ("iris:v1", f"a@sha256:{'0' * 64}"),
            "[ERROR] Invalid arguments: target ModelKit reference requires a tag, not a digest\n",
        ),
    ],
)
def test_tag_that_cannot_be_is_refused(kitcar: Kitcar, words: tuple[str, ...], message: str) -> None:
    result = kitcar("tag", *words, check=False)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(message)


def test_remove_tag_of_several_only_untags(kitcar: Kitcar, context: Path) -> None:
    digest = digest_of(kitcar("pack", context, "-t", "iris:v1,v2").out)
    assert kitcar("remove", "iris:v1").out == f"Removed iris:v1 (digest {digest})\n"
    assert kitcar("list", "--format", "{{.Tags}}").out == "[v2]\n"
    assert kitcar("remove", "iris:v2").out == f"Removed iris:v2 (digest {digest})\n"
    assert kitcar("list", "--format", "{{.Tags}}").out == ""


def test_remove_list_of_tags_removes_each_and_fails_for_those_that_are_not_there(kitcar: Kitcar, context: Path) -> None:
    digest = digest_of(kitcar("pack", context, "-t", "iris:v1,v2,v3").out)
    result = kitcar("remove", "iris:v1,none,v2", check=False)
    assert result.out == f"Removed iris:v1 (digest {digest})\nRemoved iris:v2 (digest {digest})\n"
    assert "[ERROR] Failed to remove tag none: model iris:none not found\n" in result.err
    assert result.code == 1
    assert kitcar("list", "--format", "{{.Tags}}").out == "[v3]\n"


@pytest.mark.parametrize("forced", [True, False])
def test_remove_by_force_or_digest_removes_all_tags(kitcar: Kitcar, context: Path, forced: bool) -> None:
    digest = digest_of(kitcar("pack", context, "-t", "iris:v1,v2").out)
    words = ("-f", "iris:v1") if forced else (f"iris@{digest}",)
    kitcar("remove", *words)
    assert kitcar("list", "--format", "{{.Tags}}").out == ""
    assert not list((kitcar.home / "storage" / "blobs" / "sha256").iterdir())


def test_remove_all_takes_the_untagged_and_with_force_everything(kitcar: Kitcar, context: Path) -> None:
    untagged = digest_of(kitcar("pack", context).out)
    (context / "model.bin").write_bytes(b"other")
    tagged = digest_of(kitcar("pack", context, "-t", "iris:v1").out)
    assert kitcar("remove", "--all").out == f"Removed @{untagged}\n"
    assert kitcar("remove", "-a", "-f").out == f"Untagged iris:v1\nRemoved iris@{tagged}\n"
    assert kitcar("remove", "--all").out == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("iris:none",), "[ERROR] Failed to remove: model iris:none not found\n" + HINT),
        (("iris",), "[ERROR] Invalid arguments: tag or digest is required when removing (iris:<tag>)\n"),
        (("--all", "--remote"), "[ERROR] Invalid arguments: cannot use --all with --remote\n"),
        (("--remote", "iris:v1"), "[ERROR] Invalid arguments: registry is required when removing from one (iris:v1)\n"),
        ((), "Error: modelkit is required for remove unless --all is specified\n"),
        (("--all", "iris:v1"), "Error: modelkit should not be specified when --all flag is used\n"),
        (("a:1", "b:2"), "Error: accepts at most 1 arg(s), received 2\n"),
    ],
)
def test_remove_that_cannot_be_is_refused(kitcar: Kitcar, words: tuple[str, ...], message: str) -> None:
    result = kitcar("remove", *words, check=False)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(message)


def test_init_writes_a_kitfile_and_shows_it(kitcar: Kitcar, context: Path) -> None:
    (context / "Kitfile").unlink()
    result = kitcar("init", context, "--name", "iris", "--desc", "flowers", "--author", "Ada")
    text = (context / "Kitfile").read_text()
    assert "name: iris" in text
    assert result.out == f"Generated Kitfile:\n\n{text}Saved to path '{context / 'Kitfile'}'\n"
    assert kitcar("pack", context).code == 0


def test_init_over_a_kitfile_needs_force(kitcar: Kitcar, context: Path) -> None:
    before = (context / "Kitfile").read_text()
    result = kitcar("init", context, check=False)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"[ERROR] Kitfile already exists at {context / 'Kitfile'}. Use '--force' to overwrite\n"
    assert (context / "Kitfile").read_text() == before
    kitcar("init", context, "--force")
    assert (context / "Kitfile").read_text() != before


def test_init_to_standard_output_writes_nothing_else(kitcar: Kitcar, context: Path) -> None:
    shutil.rmtree(context / "src")
    result = kitcar("init", context, "-o", "-")
    assert result.out.startswith("manifestVersion: 1.0.0\n")
    assert "Generated" not in result.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ref", "v1"), "Invalid arguments: --ref requires --remote"),
        (("--token", "x"), "Invalid arguments: --token requires --remote"),
        (("--remote",), "Invalid arguments: remote repositories are not supported"),
        (("-o", "{context}/no/such/Kitfile"), "Failed to write Kitfile: "),
    ],
)
def test_init_that_cannot_be_is_refused(kitcar: Kitcar, context: Path, words: tuple[str, ...], message: str) -> None:
    result = kitcar("init", context, *(word.format(context=context) for word in words), check=False)
    assert result.code == 1
    assert f"[ERROR] {message}" in result.err


def test_init_of_no_directory_is_refused(kitcar: Kitcar, tmp_path: Path) -> None:
    result = kitcar("init", tmp_path / "none", check=False)
    assert result.code == 1
    assert result.err.startswith("[ERROR] Error processing directory: failed to read directory")


@pytest.mark.parametrize("words", [("other:v1",), ("iris:v1", "--filter=docs"), ("iris:v1", "--filter=nonsense")])
def test_unpack_that_fails_leaves_no_directory_that_it_made(
    kitcar: Kitcar, context: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    kitcar("pack", context, "-t", "iris:v1")
    assert kitcar("unpack", *words, "-d", tmp_path / "new" / "deep", check=False).code == 1
    assert not (tmp_path / "new").exists()


def test_unpack_that_fails_leaves_a_directory_that_was_there(kitcar: Kitcar, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    kitcar("unpack", "other:v1", "-d", tmp_path / "there" / "new", check=False)
    assert [path.name for path in (tmp_path / "there").parent.iterdir()] == ["there"]
    assert not any((tmp_path / "there").iterdir())


def test_home_that_is_a_file_is_an_error_for_list_too(kitcar: Kitcar, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = kitcar("--config", tmp_path / "file", "list", check=False)
    assert result.code == 1
    assert "Not a directory\nHint: choose a directory with --config or KITOPS_HOME" in result.err
