"""Foreign clients against the embedded registry: they write and read, list, refer, copy, mirror and delete."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import registries
from harness.kit import Kit
from harness.processes import server
from kitcar.errors import NotFoundError
from kitcar.oci.copy import copy
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.server import RunningRegistry
from kitcar.stores.layout import LayoutStore
from kitcar.testing.samples import noise, sample

BIG = noise(7 * 1024 * 1024 + 5)


@dataclasses.dataclass(frozen=True)
class Tool:
    """A client with a home of its own."""

    binary: Path
    home: Path

    def __call__(self, *words: str | Path, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "DOCKER_CONFIG": str(self.home / "docker")}
        done = subprocess.run(
            [self.binary, *words],
            cwd=self.home,
            env=environment | {"COSIGN_PASSWORD": "", "REGCTL_CONFIG": str(self.home / "regctl.json")},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str | Path) -> object:
        return json.loads(self(*words).stdout)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "client"
    folder.mkdir()
    return folder


@pytest.fixture
def layer(home: Path) -> Path:
    (home / "big.bin").write_bytes(BIG)
    with tarfile.open(home / "layer.tar", "w") as archive:
        archive.add(home / "big.bin", "models/big.bin")
    return home / "layer.tar"


def stored(registry: RunningRegistry, name: str) -> list[str]:
    try:
        return list(LayoutStore(registry.root).repository(f"localhost/{name}").tags())
    except NotFoundError:
        return []


def whole(registry: RunningRegistry, name: str, tag: str, folder: Path) -> None:
    """Every byte of an artifact is right, read by our own client over the network and verified on its way."""
    repository = Repository(Reference(registry.address, name), connection=Connection(plain_http=True))
    target = LayoutStore(folder).repository("localhost/check")
    copy(repository, target, repository.resolve(tag), tags=("checked",))


def test_crane_writes_reads_copies_and_deletes(
    crane: Path, embedded_registry: RunningRegistry, home: Path, layer: Path, tmp_path: Path
) -> None:
    run, name = Tool(crane, home), f"{embedded_registry.address}/team/iris"
    run("append", "--oci-empty-base", "-f", layer, "-t", f"{name}:v1")
    run("validate", "--remote", f"{name}:v1")
    digest = run("digest", f"{name}:v1").stdout.strip()
    run("tag", f"{name}@{digest}", "v2")
    run("copy", f"{name}:v1", f"{embedded_registry.address}/other/place:v1")
    assert run("ls", name).stdout.split() == ["v1", "v2"]
    assert run("catalog", embedded_registry.address).stdout.split() == ["other/place", "team/iris"]
    run("pull", "--format=oci", f"{name}:v2", home / "pulled")
    run("push", home / "pulled", f"{name}:v3")
    assert run("digest", f"{name}:v3").stdout.strip() == digest
    run("export", f"{name}:v1", home / "exported.tar")
    with tarfile.open(home / "exported.tar") as archive:
        member = archive.extractfile("models/big.bin")
        assert member
        assert member.read() == BIG
    whole(embedded_registry, "team/iris", "v1", tmp_path / "check")
    run("delete", f"{name}@{digest}")
    assert stored(embedded_registry, "team/iris") == []
    assert "MANIFEST_UNKNOWN" in run("manifest", f"{name}:v1", check=False).stderr
    run("validate", "--remote", f"{embedded_registry.address}/other/place:v1")


def test_crane_with_an_index_of_platforms_keeps_it_whole(
    crane: Path, embedded_registry: RunningRegistry, home: Path
) -> None:
    run, name = Tool(crane, home), f"{embedded_registry.address}/many"
    tags = []
    for number, platform in enumerate(("linux/amd64", "linux/arm64")):
        (home / "file").write_text(platform)
        with tarfile.open(home / "l.tar", "w") as archive:
            archive.add(home / "file", "file")
        run("append", "--oci-empty-base", "-f", home / "l.tar", "-t", f"{name}:p{number}")
        run("mutate", "--set-platform", platform, f"{name}:p{number}")
        tags += ["-m", f"{name}:p{number}"]
    run("index", "append", *tags, "-t", f"{name}:all")
    run("validate", "--remote", f"{name}:all")
    assert len(json.loads(run("manifest", f"{name}:all").stdout)["manifests"]) == 2


def test_skopeo_copies_converts_lists_and_deletes(
    skopeo: Path, crane: Path, embedded_registry: RunningRegistry, home: Path, layer: Path
) -> None:
    address = embedded_registry.address
    Tool(crane, home)("append", "--oci-empty-base", "-f", layer, "-t", f"{address}/a:v1")
    run = Tool(skopeo, home)
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    run("--insecure-policy", "copy", *plain, f"docker://{address}/a:v1", f"oci:{home}/layout:v1")
    run("--insecure-policy", "copy", *plain, f"oci:{home}/layout:v1", f"docker://{address}/b/c:v1")
    run("--insecure-policy", "copy", *plain, f"docker://{address}/b/c:v1", f"docker://{address}/d:v1")
    described = run.json("inspect", "--tls-verify=false", f"docker://{address}/b/c:v1")
    assert isinstance(described, dict)
    assert described["RepoTags"] == ["v1"]
    assert described["Layers"] == run.json("inspect", f"oci:{home}/layout:v1")["Layers"]  # type: ignore[index]
    listed = run.json("list-tags", "--tls-verify=false", f"docker://{address}/b/c")
    assert listed == {"Repository": f"{address}/b/c", "Tags": ["v1"]}
    # As Docker's own manifest type, with its layers compressed on the way: chunked uploads of unknown length.
    run(
        "--insecure-policy", "copy", "--dest-tls-verify=false", "--format=v2s2", "--dest-compress",
        f"oci:{home}/layout:v1", f"docker://{address}/docker:v1",
    )  # fmt: skip
    raw = json.loads(run("inspect", "--raw", "--tls-verify=false", f"docker://{address}/docker:v1").stdout)
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    run("delete", "--tls-verify=false", f"docker://{address}/b/c:v1")
    assert stored(embedded_registry, "b/c") == []
    assert stored(embedded_registry, "d") == ["v1"]


def test_regctl_pushes_in_chunks_and_sees_referrers(
    regctl: Path, embedded_registry: RunningRegistry, home: Path, tmp_path: Path
) -> None:
    run, address = Tool(regctl, home), embedded_registry.address
    run("registry", "set", "--tls", "disabled", "--blob-chunk", "1000000", "--blob-max", "1000000", address)
    (home / "big.bin").write_bytes(BIG)
    name = f"{address}/team/chunks"
    # Larger than its limit for one request: sent in pieces with ranges.
    run("artifact", "put", "--artifact-type", "application/x.model", "-f", "big.bin", f"{name}:v1")
    run("artifact", "get", f"{name}:v1", "-o", home)
    subject = run("manifest", "head", f"{name}:v1").stdout.strip()
    run(
        "artifact", "put", "--artifact-type", "application/x.note", "--subject", f"{name}:v1",
        "--annotation", "by=me", stdin="a note",
    )  # fmt: skip
    listed = run("artifact", "list", f"{name}:v1", "--format", "{{jsonPretty .}}").stdout
    (entry,) = json.loads(listed)["descriptors"]
    assert (entry["artifactType"], entry["annotations"]["by"]) == ("application/x.note", "me")
    run("image", "copy", "--referrers", f"{name}:v1", f"{address}/copied:v1")
    assert subject in run("manifest", "head", f"{address}/copied:v1").stdout
    assert "application/x.note" in run("artifact", "list", f"{address}/copied:v1").stdout
    assert run("tag", "ls", name).stdout.split() == ["v1"]
    assert run("repo", "ls", address).stdout.split() == ["copied", "team/chunks"]
    assert "ArtifactType: application/x.model" in run("manifest", "get", f"{name}:v1").stdout
    whole(embedded_registry, "team/chunks", "v1", tmp_path / "check")
    run("tag", "delete", f"{name}:v1")
    assert stored(embedded_registry, "team/chunks") == []
    run("manifest", "delete", f"{name}@{subject}")
    assert run("manifest", "head", f"{name}@{subject}", check=False).returncode != 0


def test_oras_pushes_files_and_attaches(
    oras: Path, embedded_registry: RunningRegistry, home: Path, tmp_path: Path
) -> None:
    run, address = Tool(oras, home), embedded_registry.address
    (home / "big.bin").write_bytes(BIG)
    (home / "note.txt").write_text("a note")
    name = f"{address}/team/files"
    run("push", "--plain-http", "--artifact-type", "application/x.model", f"{name}:v1,v2", "big.bin", "note.txt")
    run("attach", "--plain-http", "--artifact-type", "application/x.sig", f"{name}:v1", "note.txt")
    found = run.json("discover", "--plain-http", "--format", "json", f"{name}:v1")
    assert [item["artifactType"] for item in found["referrers"]] == ["application/x.sig"]  # type: ignore[index]
    run("copy", "-r", "--from-plain-http", "--to-plain-http", f"{name}:v1", f"{address}/copied:v1")
    run("pull", "--plain-http", f"{address}/copied:v1", "-o", home / "out")
    assert (home / "out" / "big.bin").read_bytes() == BIG
    assert run("repo", "tags", "--plain-http", name).stdout.split() == ["v1", "v2"]
    assert run("repo", "ls", "--plain-http", address).stdout.split() == ["copied", "team/files"]
    whole(embedded_registry, "team/files", "v2", tmp_path / "check")
    run("manifest", "delete", "--plain-http", "--force", f"{name}:v1")
    assert stored(embedded_registry, "team/files") == []


@pytest.mark.expensive
def test_cosign_signs_attests_and_verifies(
    cosign: Path, crane: Path, embedded_registry: RunningRegistry, home: Path, layer: Path
) -> None:
    name = f"{embedded_registry.address}/team/signed"
    Tool(crane, home)("append", "--oci-empty-base", "-f", layer, "-t", f"{name}:v1")
    digest = Tool(crane, home)("digest", f"{name}:v1").stdout.strip()
    run = Tool(cosign, home)
    run("generate-key-pair")
    quiet = ("--allow-insecure-registry", "--allow-http-registry")
    (home / "predicate.json").write_text('{"accuracy": 0.97}')
    # Without a service of sigstore's: no transparency log, no timestamp.
    (home / "none.json").write_text('{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    offline = ("--signing-config", "none.json", "--key", "cosign.key", "--yes")
    run("sign", *quiet, *offline, f"{name}@{digest}")
    run("attest", *quiet, *offline, "--predicate", "predicate.json", "--type", "custom", f"{name}@{digest}")
    checked = ("--key", "cosign.pub", "--insecure-ignore-tlog", *quiet)
    run("verify", *checked, f"{name}@{digest}")
    run("verify-attestation", *checked, "--type", "custom", f"{name}@{digest}")
    repository = Repository(Reference(embedded_registry.address, "team/signed"), connection=Connection(plain_http=True))
    assert len(repository.referrers(repository.resolve("v1"))) == 2


def test_kit_pushes_pulls_and_reads_the_folder_itself(
    kit: Callable[..., Kit], embedded_registry: RunningRegistry, home: Path
) -> None:
    (home / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel:\n  path: big.bin\n")
    (home / "big.bin").write_bytes(BIG)
    one, two, reference = kit(home / "one"), kit(home / "two"), f"{embedded_registry.address}/team/kit:v1"
    one("pack", home, "-t", reference)
    one("push", reference, "--plain-http")
    two("pull", reference, "--plain-http")
    two("unpack", reference, "-d", home / "pulled")
    two("unpack", f"{embedded_registry.address}/team/kit:v1", "--plain-http", "-d", home / "direct")
    for folder in ("pulled", "direct"):
        assert (home / folder / "big.bin").read_bytes() == BIG
    assert "v1" in two("list", f"{embedded_registry.address}/team/kit", "--plain-http").stdout
    # The registry's folder is a local storage of kit too.
    (home / "three").mkdir()
    (home / "three" / "storage").symlink_to(embedded_registry.root)
    listed = kit(home / "three")("list").stdout.splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [["team/kit", "v1"]]
    one("remove", reference, "--remote", "--plain-http")
    assert stored(embedded_registry, "team/kit") == []


def test_kit_with_a_large_layer_pushes_it_in_ranges(
    kit: Callable[..., Kit], embedded_registry: RunningRegistry, home: Path
) -> None:
    """From 100 MiB on kit sends pieces with ranges."""
    (home / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel:\n  path: big.bin\n")
    with (home / "big.bin").open("wb") as file:
        file.truncate(101 * 1024 * 1024)
    run, reference = kit(home / "kit"), f"{embedded_registry.address}/team/large:v1"
    run("pack", home, "-t", reference)
    run("push", reference, "--plain-http")
    whole(embedded_registry, "team/large", "v1", home / "check")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RunningRegistry]:
    (tmp_path / "users").write_text(registries.htpasswd(registries.USERNAME, registries.PASSWORD))
    with RunningRegistry(tmp_path / "guarded", htpasswd=tmp_path / "users") as running:
        yield running


def test_clients_log_in_with_a_name_and_a_password(
    guarded: RunningRegistry, crane: Path, oras: Path, skopeo: Path, home: Path, layer: Path
) -> None:
    name, push = f"{guarded.address}/a", ("append", "--oci-empty-base", "-f", layer, "-t", f"{guarded.address}/a:v1")
    assert "401 Unauthorized" in Tool(crane, home)(*push, check=False).stderr
    Tool(crane, home)(
        "auth", "login", guarded.address, "-u", registries.USERNAME, "--password-stdin", stdin=registries.PASSWORD
    )
    Tool(crane, home)(*push)
    run = Tool(oras, home)
    wrong = run("login", "--plain-http", guarded.address, "-u", "x", "--password-stdin", stdin="y", check=False)
    assert wrong.returncode != 0
    login = ("login", "--plain-http", guarded.address, "-u", registries.USERNAME, "--password-stdin")
    run(*login, stdin=registries.PASSWORD)
    assert run("repo", "tags", "--plain-http", name).stdout.split() == ["v1"]
    credentials = f"{registries.USERNAME}:{registries.PASSWORD}"
    Tool(skopeo, home)("inspect", "--tls-verify=false", "--creds", credentials, f"docker://{name}:v1")


_MIRROR = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{root}"}}}}
http: {{addr: "127.0.0.1:0"}}
proxy: {{remoteurl: "http://{upstream}"}}
"""


def test_docker_registry_as_a_mirror_passes_everything_on(
    docker_registry_binary: Path, crane: Path, embedded_registry: RunningRegistry, home: Path, tmp_path: Path
) -> None:
    kit = sample(BIG, b"small")
    kit.push(LayoutStore(embedded_registry.root).repository("localhost/team/iris"), "v1")
    root = tmp_path / "mirror"
    root.mkdir()
    settings = tmp_path / "mirror.yml"
    settings.write_text(_MIRROR.format(root=root, upstream=embedded_registry.address))
    command: list[str | Path] = [docker_registry_binary, "serve", settings]
    with server(command, root=root, log=tmp_path / "log", port=r"listening on 127\.0\.0\.1:(\d+)") as mirror:
        for _ in range(2):
            repository = Repository(Reference(mirror.address, "team/iris"), connection=Connection(plain_http=True))
            target = LayoutStore(tmp_path / "out").repository("localhost/mirrored")
            copy(repository, target, repository.resolve("v1"), tags=("v1",))
            assert target.resolve("v1") == kit.descriptor
        assert Tool(crane, home)("ls", f"{mirror.address}/team/iris").stdout.split() == ["v1"]
    assert list(root.rglob("data"))


def test_crane_between_it_and_docker_registry_loses_nothing(
    docker_registry: registries.Server, crane: Path, embedded_registry: RunningRegistry, home: Path, layer: Path
) -> None:
    run = Tool(crane, home)
    there, back = f"{docker_registry.address}/from/embedded:v1", f"{embedded_registry.address}/back:v1"
    run("append", "--oci-empty-base", "-f", layer, "-t", f"{embedded_registry.address}/a:v1")
    run("copy", f"{embedded_registry.address}/a:v1", there)
    run("copy", there, back)
    assert run("digest", back).stdout == run("digest", f"{embedded_registry.address}/a:v1").stdout
