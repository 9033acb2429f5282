"""The KitOps containers' own scripts, with a real kit, beside our entrypoints: same lines, same tree, same exit code.

Expected differences, each with its reason:

- What follows `Binary version info:` is the version of the program that runs.
- The script fails over files that exist; we keep what is right and replace what is not, so that a pod can start again.
- A line of ours may be missing where a fault is found before the script would say it, never the other way round.
- What we say beyond the script goes to standard error.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from harness import registries
from harness.kit import Kit
from harness.processes import Server, server

FILES = {
    "model.joblib": "the model\n",
    "data/train.csv": "a,b\n1,2\n",
    "data/deep/er.csv": "c\n",
    "README.md": "# Iris\n",
    "src/train.py": "print('hello')\n",
    "prompts/ask.txt": "What is it?\n",
}
KITFILE = """\
manifestVersion: 1.0.0
package:
  name: iris
model:
  name: iris
  path: model.joblib
datasets:
  - name: train
    path: data
code:
  - path: src
docs:
  - path: README.md
prompts:
  - path: prompts
"""


@dataclass(frozen=True)
class Outcome:
    """What a container did."""

    code: int
    lines: list[str]
    tree: dict[str, tuple[int, str]]
    errors: str


@dataclass(frozen=True)
class Both:
    """Runs the script and our entrypoint on the same registry, each in a directory and home of its own."""

    registry: Server
    scripts: Path
    binary: Path
    folder: Path
    environ: dict[str, str]

    @property
    def reference(self) -> str:
        return f"{self.registry.address}/team/iris:v1"

    def run(
        self,
        *arguments: str,
        script: str = "KServe",
        module: str = "kitcar.initializer",
        before: Callable[[Path], None] = lambda _: None,
        **environ: str,
    ) -> tuple[Outcome, Outcome]:
        theirs = ["bash", str(self.scripts / script / "entrypoint.sh"), *arguments]
        ours = [sys.executable, "-m", module, *arguments]
        return self._one("theirs", theirs, before, environ), self._one("ours", ours, before, environ)

    def _one(self, name: str, command: list[str], before: Callable[[Path], None], given: dict[str, str]) -> Outcome:
        folder = self.folder / name
        home = folder / "home"
        Kit(self.binary, home / ".local" / "share" / "kitops")
        before(folder)
        environ = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(home), **self.environ, **given}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60)
        lines = done.stdout.replace(str(folder), "FOLDER").splitlines()
        tree = {
            str(path.relative_to(folder)): (
                stat.S_IMODE(path.stat().st_mode),
                path.read_text() if path.is_file() else "",
            )
            for path in sorted(folder.rglob("*"))
            if home not in (path, *path.parents)
        }
        return Outcome(done.returncode, _without_version(lines), tree, done.stderr)


def _without_version(lines: list[str]) -> list[str]:
    """The lines without what `version` printed, which is each program's own."""
    if "Binary version info:" not in lines:
        return lines
    start = end = lines.index("Binary version info:") + 1
    while end < len(lines) and lines[end].startswith(
        ("Version: ", "Commit: ", "Built: ", "Go version: ", "Python ver")
    ):
        end += 1
    return [*lines[:start], *(line for line in lines[end:] if line)]


def agree(theirs: Outcome, ours: Outcome) -> None:
    """Both did the same, and it went well."""
    assert (theirs.code, theirs.errors) == (0, "")
    assert ours.code == 0, ours.errors
    assert ours.lines == theirs.lines
    assert ours.tree == theirs.tree


def fail_alike(theirs: Outcome, ours: Outcome) -> None:
    """Both failed, and what we said of it the script said too."""
    assert (theirs.code, ours.code) == (1, 1)
    assert [line for line in ours.lines if line not in theirs.lines] == []
    assert "[ERROR] " in ours.errors or not ours.errors


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    for name, text in {**FILES, "Kitfile": KITFILE}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return ca, path


@pytest.fixture(scope="module")
def guarded(
    docker_registry_binary: Path, authority: tuple[trustme.CA, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A registry with TLS and a password, as those in the world are: the script's login cannot speak plain HTTP."""
    folder = tmp_path_factory.mktemp("guarded")
    issued = authority[0].issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    (folder / "passwords").write_text(registries.htpasswd(registries.USERNAME, registries.PASSWORD))
    (folder / "data").mkdir()
    (folder / "config.yml").write_text(
        "version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\n"
        f'storage: {{filesystem: {{rootdirectory: "{folder}/data"}}}}\n'
        f'http: {{addr: "127.0.0.1:0", tls: {{certificate: "{folder}/cert.pem", key: "{folder}/key.pem"}}}}\n'
        f'auth: {{htpasswd: {{realm: kitcar, path: "{folder}/passwords"}}}}\n'
    )
    command: list[str | Path] = [docker_registry_binary, "serve", folder / "config.yml"]
    with server(command, root=folder, log=folder / "log", port=r"listening on 127\.0\.0\.1:(\d+)") as running:
        yield running


def _store(kit: Kit, context: Path, reference: str, *flags: str) -> None:
    kit("pack", context, "-t", reference)
    kit("push", *flags, reference)


@pytest.fixture
def both(
    docker_registry: Server, kit_module: Path, kit_binary: Path, kit: Callable[..., Kit], context: Path, tmp_path: Path
) -> Both:
    pusher = kit(tmp_path / "pusher")
    for tag in ("v1", "latest"):
        _store(pusher, context, f"{docker_registry.address}/team/iris:{tag}", "--plain-http")
    return _both(docker_registry, kit_module, kit_binary, tmp_path, {"KIT_UNPACK_FLAGS": "--plain-http"})


@pytest.fixture
def both_guarded(
    guarded: Server,
    authority: tuple[trustme.CA, Path],
    kit_module: Path,
    kit_binary: Path,
    context: Path,
    tmp_path: Path,
) -> Both:
    environ = {"SSL_CERT_FILE": str(authority[1])}
    pusher = Kit(kit_binary, tmp_path / "pusher")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority[1]))
        pusher("login", guarded.address, "-u", registries.USERNAME, "-p", registries.PASSWORD)
        _store(pusher, context, f"{guarded.address}/team/iris:v1")
    return _both(guarded, kit_module, kit_binary, tmp_path, environ)


def _both(registry: Server, module: Path, binary: Path, folder: Path, environ: dict[str, str]) -> Both:
    (folder / "bin").mkdir()
    (folder / "bin" / "kit").symlink_to(binary)
    return Both(registry, module / "build" / "dockerfiles", binary, folder, environ)


def half_filled(folder: Path) -> None:
    """What an earlier run, or somebody else, left in the volume."""
    (folder / "models" / "data").mkdir(parents=True)
    (folder / "models" / "model.joblib").write_text("something else\n")
    (folder / "models" / "data" / "train.csv").write_text(FILES["data/train.csv"])
    (folder / "models" / "other.txt").write_text("not of this kit\n")


@pytest.mark.parametrize(
    "flags",
    [
        "--plain-http",
        "--plain-http -f model",
        "--plain-http --filter=docs,code",
        "--plain-http -f datasets:train --filter kitfile",
        "--plain-http --model --docs",
        "--plain-http --concurrency 1 --progress none",
    ],
)
def test_storage_initializer_flags_give_the_scripts_lines_and_tree(both: Both, flags: str) -> None:
    theirs, ours = both.run(f"kit://{both.reference}", "models", KIT_UNPACK_FLAGS=flags)
    agree(theirs, ours)
    assert ours.tree


@pytest.mark.parametrize("source", ["REGISTRY/team/iris", "kit://REGISTRY/team/iris", "REGISTRY/team/iris:v1"])
def test_storage_initializer_source_in_each_form_is_fetched_alike(both: Both, source: str) -> None:
    agree(*both.run(source.replace("REGISTRY", both.registry.address), "models"))


def test_storage_initializer_digest_is_fetched_alike(both: Both, kit: Callable[..., Kit], tmp_path: Path) -> None:
    listed = kit(tmp_path / "pusher")("inspect", both.reference).stdout
    digest = listed.partition('"digest": "')[2].partition('"')[0]
    agree(*both.run(f"kit://{both.registry.address}/team/iris@{digest}", "models/../models/"))


@pytest.mark.parametrize("flag", ["-o", "-i"])
def test_storage_initializer_half_filled_volume_with_a_flag_ends_alike(both: Both, flag: str) -> None:
    theirs, ours = both.run(
        f"kit://{both.reference}", "models", before=half_filled, KIT_UNPACK_FLAGS=f"--plain-http {flag}"
    )
    agree(theirs, ours)


def test_storage_initializer_half_filled_volume_is_made_right_where_the_script_fails(both: Both) -> None:
    theirs, ours = both.run(f"kit://{both.reference}", "models", before=half_filled)
    assert theirs.code == 1
    assert ours.code == 0
    assert {name: text for name, (_, text) in ours.tree.items() if text} == {
        **{f"models/{name}": text for name, text in FILES.items()},
        "models/Kitfile": ours.tree["models/Kitfile"][1],
        "models/other.txt": "not of this kit\n",
    }


@pytest.mark.parametrize("arguments", [(), ("kit://x.io/y:1",), ("kit://x.io/y:1", "models", "more")])
def test_storage_initializer_wrong_arguments_print_the_scripts_usage(both: Both, arguments: tuple[str, ...]) -> None:
    theirs, ours = both.run(*arguments)
    assert (theirs.code, ours.code) == (1, 1)
    assert theirs.lines == ["Binary version info:", "Usage: entrypoint.sh <src-uri> <dest-path>"]
    assert ours.lines[:2] == theirs.lines


@pytest.mark.parametrize("name", ["iris:v9", "nothing:v1"])
def test_storage_initializer_missing_model_fails_alike(both: Both, name: str) -> None:
    theirs, ours = both.run(f"kit://{both.registry.address}/team/{name}", "models")
    fail_alike(theirs, ours)
    assert ours.lines == theirs.lines
    assert "not found" in ours.errors


@pytest.mark.parametrize("flags", ["--plain-http --what", "--plain-http --filter", "--plain-http -f nonsense", "x"])
def test_storage_initializer_wrong_flags_fail_alike(both: Both, flags: str) -> None:
    fail_alike(*both.run(f"kit://{both.reference}", "models", KIT_UNPACK_FLAGS=flags))


def test_storage_initializer_local_name_fails_alike(both: Both) -> None:
    fail_alike(*both.run("kit://team/iris:v1", "models"))


def test_storage_initializer_google_without_location_prints_the_scripts_line(both: Both) -> None:
    theirs, ours = both.run(f"kit://{both.reference}", "models", GCP_WIF="true")
    fail_alike(theirs, ours)
    assert ours.lines == theirs.lines
    assert ours.lines[-1].startswith("GCP_GAR_LOCATION env should be set")


def test_storage_initializer_name_and_password_log_in_alike(both_guarded: Both) -> None:
    theirs, ours = both_guarded.run(
        f"kit://{both_guarded.reference}",
        "models",
        KIT_USER=registries.USERNAME,
        KIT_PASSWORD=registries.PASSWORD,
        AWS_ROLE_ARN="arn:aws:iam::123456789012:role/unused",
    )
    agree(theirs, ours)
    assert f"Logging in using repo url: {both_guarded.registry.address}" in ours.lines
    assert "Log in successful" in ours.lines


@pytest.mark.parametrize(
    "environ",
    [
        {"KIT_USER": registries.USERNAME, "KIT_PASSWORD": "wrong"},
        {"KIT_USER": registries.USERNAME},
        {"KIT_PASSWORD": registries.PASSWORD},
        {},
    ],
)
def test_storage_initializer_without_the_right_password_fails_alike(
    both_guarded: Both, environ: dict[str, str]
) -> None:
    theirs, ours = both_guarded.run(f"kit://{both_guarded.reference}", "models", **environ)
    fail_alike(theirs, ours)
    assert registries.PASSWORD not in ours.errors


def test_storage_initializer_credentials_of_kits_own_file_are_used_alike(
    both_guarded: Both, authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    kept = tmp_path / "pusher" / "credentials.json"

    def before(folder: Path) -> None:
        shutil.copy(kept, folder / "home" / ".local" / "share" / "kitops")

    agree(*both_guarded.run(f"kit://{both_guarded.reference}", "models", before=before))


def test_storage_initializer_untrusted_certificate_fails_alike(both_guarded: Both) -> None:
    theirs, ours = both_guarded.run(f"kit://{both_guarded.reference}", "models", SSL_CERT_FILE=os.devnull)
    assert theirs.code == 1
    assert ours.code in {1, 75}
    assert "certificate" in ours.errors


INIT = {"script": "init", "module": "kitcar.initializer.init"}


@pytest.mark.parametrize(
    "environ",
    [
        {"EXTRA_FLAGS": "--plain-http"},
        {"EXTRA_FLAGS": "--plain-http", "UNPACK_FILTER": "model,docs"},
        {"EXTRA_FLAGS": "--plain-http -o", "UNPACK_FILTER": "datasets:train"},
        {"EXTRA_FLAGS": "--plain-http -d elsewhere"},
        {"EXTRA_FLAGS": "--plain-http --filter=code"},
    ],
)
def test_init_container_variables_give_the_scripts_lines_and_tree(both: Both, environ: dict[str, str]) -> None:
    theirs, ours = both.run(**INIT, MODELKIT_REF=both.reference, UNPACK_PATH="models", **environ)
    agree(theirs, ours)
    assert ours.tree
    assert ours.lines[0] == "Signature verification is disabled"


def test_init_container_without_reference_fails_alike(both: Both) -> None:
    theirs, ours = both.run(**INIT)
    fail_alike(theirs, ours)
    assert ours.lines == theirs.lines == ["Environment variable $MODELKIT_REF is required"]


def test_init_container_default_flags_keep_what_exists(both_guarded: Both, tmp_path: Path) -> None:
    kept = tmp_path / "pusher" / "credentials.json"

    def before(folder: Path) -> None:
        shutil.copy(kept, folder / "home" / ".local" / "share" / "kitops")
        half_filled(folder)

    theirs, ours = both_guarded.run(**INIT, before=before, MODELKIT_REF=both_guarded.reference, UNPACK_PATH="models")
    agree(theirs, ours)
    assert ours.tree["models/model.joblib"][1] == "something else\n"


@pytest.mark.parametrize("name", ["COSIGN_KEY", "COSIGN_CERT_IDENTITY", "COSIGN_CERT_OIDC_ISSUER"])
def test_init_container_that_should_verify_fetches_nothing(both: Both, name: str) -> None:
    _, ours = both.run(
        **INIT, MODELKIT_REF=both.reference, UNPACK_PATH="models", EXTRA_FLAGS="--plain-http", **{name: "something"}
    )
    assert ours.code == 1
    assert name in ours.errors
    assert ours.tree == {}
