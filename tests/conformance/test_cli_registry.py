"""Verbs that talk to a registry, over the embedded one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.kitcar import Kitcar
from harness.registries import PASSWORD, USERNAME, htpasswd
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.reference import Reference
from kitcar.oci.storage import BytesContent
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.testing.proxy import FaultProxy

if TYPE_CHECKING:
    from kitcar.server import RunningRegistry

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@pytest.fixture
def kitcar(tmp_path: Path) -> Kitcar:
    """The command line over an empty home."""
    return Kitcar(tmp_path / "home")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory to pack."""
    return make_context(tmp_path / "iris")


def make_context(folder: Path, *, weights: bytes = b"weights", more: str = "") -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "model.bin").write_bytes(weights)
    (folder / "src" / "train.py").write_text("print('train')\n")
    (folder / "Kitfile").write_text(
        "manifestVersion: 1.0.0\npackage:\n  name: iris\n  authors: [Ada]\n"
        f"model:\n  name: iris\n  path: model.bin\ncode:\n  - path: src\n{more}"
    )
    return folder


@pytest.fixture
def proxy(embedded_registry: RunningRegistry) -> Iterator[FaultProxy]:
    """Sees every request."""
    host, port = embedded_registry.address.rsplit(":", 1)
    with FaultProxy(host, int(port)) as running:
        yield running


def plain(text: str) -> str:
    return DIGEST.sub("D", text)


def test_push_and_pull_carry_a_modelkit(
    kitcar: Kitcar, context: Path, embedded_registry: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{embedded_registry.address}/team/iris:v1"
    digest = DIGEST.findall(kitcar("pack", context, "-t", name).out)[-1]
    pushed = kitcar("push", name, "--plain-http")
    assert pushed.out == f"Pushing {name}\nPushed {digest}\n"
    assert pushed.err.count("  done in ") == 2
    assert "model model.bin  2.0 KiB  done in " in pushed.err
    other = Kitcar(tmp_path / "other")
    assert other("pull", name, "--plain-http").out == f"Pulling {name}\nPulled {digest}\n"
    assert other("list").out == kitcar("list").out
    assert kitcar("push", name, "--plain-http").err.count("already there") == 2


def test_push_without_tag_takes_latest_on_both_sides(
    kitcar: Kitcar, context: Path, embedded_registry: RunningRegistry
) -> None:
    kitcar("pack", context, "-t", "iris")
    name = f"{embedded_registry.address}/team/iris"
    result = kitcar("push", "iris", name, "--plain-http")
    assert plain(result.out) == (
        "No tag specified for push. Using 'latest' as default ('iris:latest')\n"
        f"No tag specified for push target. Using 'latest' as default ('{name}:latest')\n"
        f"Pushing localhost/iris:latest to {name}:latest\nPushed D\n"
    )
    assert "No tag specified for pull." in kitcar("pull", name, "--plain-http").out


def test_push_by_digest_needs_the_right_one(kitcar: Kitcar, context: Path, embedded_registry: RunningRegistry) -> None:
    digest = DIGEST.findall(kitcar("pack", context, "-t", "iris:v1").out)[-1]
    name = f"{embedded_registry.address}/team/iris"
    kitcar("push", "iris:v1", f"{name}@{digest}", "--plain-http")
    assert kitcar("pull", f"{name}@{digest}", "--plain-http").out.endswith(f"Pulled {digest}\n")
    assert kitcar("list", "--format", "{{.Tags}}").out.splitlines() == ["[]", "[v1]"]
    wrong = f"{name}@sha256:{'0' * 64}"
    result = kitcar("push", "iris:v1", wrong, "--plain-http", check=False)
    assert result.code == 1
    assert f"the modelkit has the digest {digest}" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((".", "iris:v1"), "registry is required when pushing"),
        ((".",), "a destination is required when pushing a directory"),
        (("iris:v1",), "registry is required when pushing"),
        (("iris:v1", "reg.example/iris:a,b"), "target reference cannot include multiple tags"),
        (("iris:v1", "reg.example/UP:a"), "failed to parse target reference reg.example/UP:a: repository (UP) name"),
        (("UP:v1",), "failed to parse reference UP:v1: repository (UP) name must be lowercase"),
        ((".", f"reg.example/iris@sha256:{'0' * 64}"), "a directory cannot be pushed to a digest"),
    ],
)
def test_push_with_meaningless_arguments_is_refused(kitcar: Kitcar, words: tuple[str, ...], message: str) -> None:
    result = kitcar("push", *words, check=False)
    assert (result.code, result.out) == (1, "")
    assert f"[ERROR] Invalid arguments: {message}" in result.err


def test_push_source_that_is_both_modelkit_and_directory_means_the_modelkit(
    kitcar: Kitcar, context: Path, embedded_registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(context.parent)
    name = f"{embedded_registry.address}/team/iris:v1"
    directory = kitcar("push", "iris", name, "--plain-http").out
    assert directory.startswith(f"Pushing {context} to {name}\nPushed model layer: ")
    kitcar("pack", context, "-t", "iris")
    assert "Pushing localhost/iris:latest to " in kitcar("push", "iris", name, "--plain-http").out
    assert f"Pushing {context} to " in kitcar("push", "./iris", name, "--plain-http").out


def test_list_of_a_repository_fetches_each_manifest_once(kitcar: Kitcar, context: Path, proxy: FaultProxy) -> None:
    name = f"{proxy.address}/team/iris"
    kitcar("pack", context, "--push", "-t", f"{name}:v1,v2,v3", "--plain-http")
    digest = kitcar("inspect", "-r", f"{name}:v1", "--plain-http").out
    proxy.requests.clear()
    rows = kitcar("list", name, "--plain-http", "--format", "{{.Repo}} {{.Tags}} {{.ModelName}}").out
    assert rows == "team/iris [v1] iris\nteam/iris [v2] iris\nteam/iris [v3] iris\n"
    assert len(proxy.seen("GET .*/blobs/")) == 1
    assert kitcar("list", f"{name}:v2", "--plain-http").out.count("\n") == 2
    assert json.loads(digest)["digest"] in kitcar("list", name, "--plain-http", "--format", "json").out
    assert kitcar("list", name, "--plain-http", "-f", "datasets").out.count("\n") == 1
    assert kitcar("list", f"{name}:v1", "--plain-http", "-f", "datasets").out.count("\n") == 1


def test_list_of_a_repository_passes_over_what_is_no_modelkit(
    kitcar: Kitcar, context: Path, embedded_registry: RunningRegistry
) -> None:
    name = f"{embedded_registry.address}/team/iris"
    kitcar("push", context, f"{name}:kit", "--plain-http")
    repository = Repository(Reference.parse(name), connection=Connection(plain_http=True))
    config = Descriptor.of("application/vnd.oci.image.config.v1+json", b"{}")
    manifest = Manifest.build(config, ())
    repository.push(config, BytesContent(b"{}"))
    repository.push(manifest.descriptor, BytesContent(manifest.raw))
    repository.tag(manifest.descriptor, "image")
    assert kitcar("list", name, "--plain-http", "--format", "{{.Tags}}").out == "[kit]\n"
    for words, message in (
        (("list", f"{name}:image"), "Failed to read modelkit: reference exists but is not a modelkit"),
        (("pull", f"{name}:image"), f"Reference {name}:image does not refer to a model"),
        (("info", "-r", f"{name}:image"), "Error resolving modelkit: manifest is not a Model manifest"),
    ):
        result = kitcar(*words, "--plain-http", check=False)
        assert result.code == 1
        assert f"[ERROR] {message}" in result.err


def test_remove_in_a_registry_untags_or_deletes(
    kitcar: Kitcar, context: Path, embedded_registry: RunningRegistry
) -> None:
    name = f"{embedded_registry.address}/team/iris"
    kitcar("pack", context, "--push", "-t", f"{name}:v1,v2,v3", "--plain-http")
    assert kitcar("remove", "-r", f"{name}:v1", "--plain-http").out == f"Untagging remote ModelKit {name}:v1\n"
    assert kitcar("list", name, "--plain-http", "--format", "{{.Tags}}").out == "[v2]\n[v3]\n"
    gone = kitcar("remove", "-r", f"{name}:v1", "--plain-http", check=False)
    assert (gone.code, gone.err) == (1, f"[ERROR] Model {name}:v1 not found\n")
    assert (
        plain(kitcar("remove", "-r", "-f", f"{name}:v2", "--plain-http").out) == f"Deleting remote ModelKit {name}@D\n"
    )
    result = kitcar("list", f"{name}:v3", "--plain-http", check=False)
    assert result.code == 1


def test_remove_in_a_registry_that_deletes_nothing_says_so(kitcar: Kitcar, context: Path, tmp_path: Path) -> None:
    from kitcar.server import RunningRegistry

    with RunningRegistry(tmp_path / "store") as writable:
        kitcar("push", context, f"{writable.address}/team/iris:v1", "--plain-http")
    with RunningRegistry(tmp_path / "store", read_only=True) as fixed:
        name = f"{fixed.address}/team/iris:v1"
        result = kitcar("remove", "-r", "-f", name, "--plain-http", check=False)
        assert result.code == 1
        assert f"[ERROR] Removing models is unsupported by registry {fixed.address}" in result.err
        untagged = kitcar("remove", "-r", name, "--plain-http", check=False)
        assert "[ERROR] Failed to untag ModelKit in remote: " in untagged.err
        pushed = kitcar("push", context, name, "--plain-http", check=False)
        assert pushed.code == 1
        assert kitcar("unpack", name, "--plain-http", "-d", tmp_path / "out").code == 0


def test_login_is_kept_only_when_the_registry_accepts_it(kitcar: Kitcar, context: Path, tmp_path: Path) -> None:
    from kitcar.server import RunningRegistry

    users = tmp_path / "users"
    users.write_text(htpasswd(USERNAME, PASSWORD))
    with RunningRegistry(tmp_path / "store", htpasswd=users) as registry:
        name = f"{registry.address}/team/iris:v1"
        refused = kitcar("push", context, name, "--plain-http", check=False)
        assert (
            "Failed to push: got response 401 (Unauthorized) from remote. Ensure the repository exists" in refused.err
        )
        wrong = kitcar("login", registry.address, "-u", USERNAME, "-p", "wrong", "--plain-http", check=False)
        assert wrong.code == 1
        assert wrong.out == ("Warning: Using --password via CLI is insecure. Consider using --password-stdin instead\n")
        assert wrong.err.startswith(f"[ERROR] Failed to validate the credentials for {registry.address}: ")
        assert "Hint: check the name and the password" in wrong.err
        nameless = kitcar("login", registry.address, "-p", PASSWORD, "--plain-http", check=False)
        assert "give the name with -u" in nameless.err
        assert not (kitcar.home / "credentials.json").exists()
        words = ("login", registry.address, "-u", USERNAME, "--password-stdin", "--plain-http")
        assert kitcar(*words, stdin=f"{PASSWORD}\n".encode()).out == "Log in successful\n"
        assert (kitcar.home / "credentials.json").stat().st_mode & 0o777 == 0o600
        kitcar("push", context, name, "--plain-http")
        assert kitcar("logout", registry.address).out == f"Successfully logged out from {registry.address}\n"
        assert kitcar("pull", name, "--plain-http", check=False).code == 1


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        (("reg.example", "-p", "x", "--password-stdin"), b"y", "cannot use both --password and --password-stdin"),
        (("reg.example", "--password-stdin"), b" \n", "failed to read password from stdin: got empty string"),
        (("reg.example",), b"", "attempting to read input from non-terminal"),
        (("https://reg.example", "-u", "u", "-p", "p"), b"", "invalid registry 'https://reg.example'"),
        (("reg.example/team", "-u", "u", "-p", "p"), b"", "invalid registry 'reg.example/team'"),
        (("reg.example:99999", "-u", "u", "-p", "p"), b"", "invalid registry 'reg.example:99999'"),
    ],
)
def test_login_with_meaningless_arguments_is_refused(
    kitcar: Kitcar, words: tuple[str, ...], stdin: bytes, message: str
) -> None:
    result = kitcar("login", *words, stdin=stdin, check=False)
    assert result.code == 1
    assert f"[ERROR] Invalid arguments: {message}" in result.err


def test_pull_follows_references_and_keeps_each_under_its_name(
    kitcar: Kitcar, embedded_registry: RunningRegistry, tmp_path: Path
) -> None:
    base, name = make_context(tmp_path / "base"), f"{embedded_registry.address}/team"
    kitcar("push", base, f"{name}/base:v1", "--plain-http")
    push_kitfile(name, "tuned:v1", f"model:\n  path: {name}/base:v1\n")
    result = kitcar("pull", f"{name}/tuned:v1", "--plain-http")
    assert f"Pulling referenced image {name}/base:v1\n" in result.out
    rows = kitcar("list", "--format", "{{.Repo}} {{.Tags}}").out
    assert rows == f"{name}/base [v1]\n{name}/tuned [v1]\n"
    assert kitcar("info", f"{name}/tuned:v1", "-f", "model.path").out == f"{name}/base:v1\n"


def test_pull_of_modelkits_that_refer_to_each_other_ends(kitcar: Kitcar, embedded_registry: RunningRegistry) -> None:
    name = f"{embedded_registry.address}/team"
    push_kitfile(name, "a:v1", f"model:\n  path: {name}/b:v1\n")
    push_kitfile(name, "b:v1", f"model:\n  path: {name}/a:v1\n")
    result = kitcar("pull", f"{name}/a:v1", "--plain-http", check=False)
    assert result.code == 1
    assert f"found cycle in modelkit references: [{name}/a:v1=>{name}/b:v1=>{name}/a:v1]" in result.err


def push_kitfile(name: str, tag: str, sections: str) -> Digest:
    """Puts a modelkit without layers into a registry."""
    from kitcar.modelkit.dialect import Dialect
    from kitcar.modelkit.kitfile import Kitfile

    kitfile = Kitfile.parse(f"manifestVersion: 1.0.0\n{sections}".encode())
    reference = Reference.parse(f"{name}/{tag}")
    repository = Repository(reference, connection=Connection(plain_http=True))
    raw = kitfile.to_json()
    config = Descriptor.of(Dialect.MODELKIT.config_type, raw)
    manifest = Manifest.build(config, (), artifact_type=Dialect.MODELKIT.artifact_type)
    repository.push(config, BytesContent(raw))
    repository.push(manifest.descriptor, BytesContent(manifest.raw))
    repository.tag(manifest.descriptor, reference.target)
    return manifest.descriptor.digest


def test_unpack_of_a_model_that_lies_elsewhere_says_what_to_do(
    kitcar: Kitcar, embedded_registry: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{embedded_registry.address}/team"
    push_kitfile(name, "tuned:v1", f"model:\n  path: {name}/base:v1\n")
    result = kitcar("unpack", f"{name}/tuned:v1", "--plain-http", "-d", tmp_path / "out", check=False)
    assert result.code == 1
    assert f"Hint: unpack it first: kitcar unpack {name}/base:v1 --filter=model\n" in result.err
    assert kitcar("unpack", f"{name}/tuned:v1", "--plain-http", "-d", tmp_path / "out", "-f", "kitfile").code == 0


def test_unpack_of_remote_datasets_leaves_them_out_with_a_warning(
    kitcar: Kitcar, embedded_registry: RunningRegistry, tmp_path: Path
) -> None:
    name = f"{embedded_registry.address}/team"
    push_kitfile(name, "data:v1", "datasets:\n  - path: d.csv\n    remotePath: s3://b/k\n    remoteHash: e\n")
    result = kitcar("unpack", f"{name}/data:v1", "--plain-http", "-d", tmp_path / "out")
    assert result.err == "[WARN ] ModelKit contains remote datasets. To unpack, specify the --include-remote flag\n"
    wanted = kitcar(
        "unpack", f"{name}/data:v1", "--plain-http", "-d", tmp_path / "out", "--include-remote", check=False
    )
    assert wanted.code == 1
    assert "is not fetched by this version" in wanted.err


def test_unpack_over_other_content_fails_replaces_or_keeps(kitcar: Kitcar, context: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    kitcar("pack", context, "-t", "iris:v1")
    kitcar("unpack", "iris:v1", "-d", out)
    (out / "model.bin").write_bytes(b"mine")
    refused = kitcar("unpack", "iris:v1", "-d", out, check=False)
    assert refused.code == 1
    assert "[ERROR] Failed to unpack: path 'model.bin' already exists" in refused.err
    assert (out / "model.bin").read_bytes() == b"mine"
    kitcar("unpack", "iris:v1", "-d", out, "--ignore-existing")
    assert (out / "model.bin").read_bytes() == b"mine"
    kitcar("unpack", "iris:v1", "-d", out, "--overwrite")
    assert (out / "model.bin").read_bytes() == b"weights"


def test_unpack_filters_and_older_flags_add_up(kitcar: Kitcar, context: Path, tmp_path: Path) -> None:
    kitcar("pack", context, "-t", "iris:v1")
    kitcar("unpack", "iris:v1", "-d", tmp_path / "both", "--model", "--filter=code")
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["model.bin", "src"]
    partly = kitcar("unpack", "iris:v1", "-d", tmp_path / "part", "-f", "model,datasets", "-f", "code:none")
    assert partly.err == (
        "[WARN ] Filter 'datasets' takes nothing of this modelkit\n"
        "[WARN ] Filter 'code:none' takes nothing of this modelkit\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("iris:none",), "Failed to find reference iris:none: not found"),
        (("iris:a,b",), "Invalid arguments: can not unpack multiple tags"),
        (("UP:v1",), "Invalid arguments: failed to parse reference: repository (UP) name must be lowercase"),
        (("iris:v1", "-o", "-i"), "Invalid arguments: --overwrite and --ignore-existing exclude each other"),
        (("iris:v1", "--as-skill"), "Skills are not installed by this version"),
        (("iris:v1", "-f", "bogus"), "Invalid filter 'bogus': invalid filter type bogus"),
        (("iris:v1", "-f", "datasets"), "Failed to unpack: the filters take nothing of this modelkit"),
        (("iris:v1", "-d", "{file}"), "Failed to create directory {file}: "),
    ],
)
def test_unpack_that_cannot_be_is_refused(
    kitcar: Kitcar, context: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    kitcar("pack", context, "-t", "iris:v1")
    file = tmp_path / "file"
    file.write_text("")
    out = ("-d", tmp_path / "out") if "-d" not in words else ()
    result = kitcar("unpack", *(word.format(file=file) for word in words), *out, check=False)
    assert result.code == 1
    assert f"[ERROR] {message.format(file=file)}" in result.err


def test_unpack_of_a_foreign_modelpack_warns_and_writes_no_kitfile(
    kitcar: Kitcar, corpus: dict[str, object], embedded_registry: RunningRegistry, tmp_path: Path
) -> None:
    from kitcar.modelkit.dialect import FILEPATH, Dialect

    repository = Repository(
        Reference.parse(f"{embedded_registry.address}/team/foreign"), connection=Connection(plain_http=True)
    )
    weights = Descriptor.of("application/vnd.cncf.model.weight.v1.raw", b"w", {FILEPATH: "w.bin"})
    document = {"descriptor": {}, "modelfs": {"type": "layers", "diffIds": [str(weights.digest)]}, "config": {}}
    raw = json.dumps(document).encode()
    config = Descriptor.of(Dialect.MODELPACK.config_type, raw)
    manifest = Manifest.build(config, (weights,), artifact_type=Dialect.MODELPACK.artifact_type)
    for descriptor, content in ((weights, b"w"), (config, raw), (manifest.descriptor, manifest.raw)):
        repository.push(descriptor, BytesContent(content))
    repository.tag(manifest.descriptor, "v1")
    name = f"{embedded_registry.address}/team/foreign:v1"
    result = kitcar("unpack", name, "--plain-http", "-d", tmp_path / "out")
    assert result.err == "[WARN ] Artifact does not include Kitfile: functionality may be impacted\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["w.bin"]
    assert "w.bin" in kitcar("info", "-r", name, "--plain-http").out
    assert "kitfile" not in json.loads(kitcar("inspect", "-r", name, "--plain-http").out)
    assert "<none>" in kitcar("list", name, "--plain-http").out


def test_registry_serve_answers_until_it_is_told_to_stop(kitcar: Kitcar, context: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kitcar", "registry", "serve", "--address", "127.0.0.1:0"]
    environment = {**os.environ, "KITOPS_HOME": str(kitcar.home)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.match(r"Registry at (\S+), content in (.*)\n", process.stdout.readline())
        assert found
        assert found[2] == str(kitcar.home / "registry")
        kitcar("push", context, f"{found[1]}/team/iris:v1", "--plain-http")
        kitcar("unpack", f"{found[1]}/team/iris:v1", "--plain-http", "-d", tmp_path / "out")
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert (tmp_path / "out" / "model.bin").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--address", "127.0.0.1:none"), "is no address"),
        (("--htpasswd", "/does/not/exist"), "cannot read /does/not/exist"),
    ],
)
def test_registry_serve_with_meaningless_settings_is_refused(
    kitcar: Kitcar, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = kitcar("registry", "serve", "--root", tmp_path / "store", *words, check=False)
    assert result.code == 1
    assert message in result.err.lower()


def test_network_flags_that_exclude_each_other_are_warned_about(
    kitcar: Kitcar, context: Path, embedded_registry: RunningRegistry, tmp_path: Path
) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.write_text("")
    kitcar("push", context, f"{embedded_registry.address}/team/iris:v1", "--plain-http")
    result = kitcar(
        "list",
        f"{embedded_registry.address}/team/iris",
        "--plain-http",
        "--tls-verify=false",
        "--tls-cert",
        certificate,
    )
    assert result.err == (
        "[WARN ] Flag '--tls-cert' has no effect when --plain-http is specified\n"
        "[WARN ] Flag '--tls-cert' has no effect when --tls-verify=false is specified\n"
    )
