"""kit 1.15 and kitcar run the same commands side by side: same exit codes, same output, errors of the same form.

Where they differ, the difference is a row of `DIFFERENCES`, with what each does and why.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.kit import Kit
from harness.kitcar import Kitcar, Result
from harness.processes import Server

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
HINT = re.compile(r"^(Hint: |  \* ).*\n", re.MULTILINE)
KITFILE = """\
manifestVersion: 1.0.0
package:
  name: iris
  authors: [Ada]
model:
  name: iris
  path: model.bin
code:
  - path: src
datasets:
  - name: train
    path: data
docs:
  - path: README.md
"""


class Side:
    """One of the tools with a home, a context to pack and a repository of its own, whose names are equally long."""

    def __init__(self, name: str, tool: Kit | Kitcar, folder: Path, registry: Server) -> None:
        self.name, self.tool, self.folder = name, tool, folder
        self.context = make_context(folder / f"context-{name}")
        self.words = {
            "{R}": f"{registry.address}/{folder.name.replace('_', '-')}/{name}",
            "{H}": registry.address,
            "{context}": str(self.context),
            "{out}": str(folder / f"out-{name}"),
        }

    def run(self, line: str) -> Result:
        """Runs a command line, placeholders filled in; what is this side's own is taken out of what it prints."""
        words = line.split()
        for placeholder, value in self.words.items():
            words = [word.replace(placeholder, value) for word in words]
        if isinstance(self.tool, Kitcar):
            done = self.tool("--progress", "none", *words, check=False)
        else:
            process = self.tool(*words, check=False)
            done = Result(process.returncode, process.stdout, process.stderr)
        return Result(done.code, self._plain(done.out), HINT.sub("", self._plain(done.err)))

    def _plain(self, text: str) -> str:
        digests: dict[str, str] = {}
        text = DIGEST.sub(lambda found: digests.setdefault(found[0], f"digest-{len(digests)}"), text)
        return text.replace(f"-{self.name}", "-tool").replace(f"/{self.name}", "/tool")


def make_context(folder: Path) -> Path:
    """A directory with something of most kinds."""
    (folder / "src").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "model.bin").write_bytes(b"weights" * 1000)
    (folder / "src" / "train.py").write_text("print('train')\n")
    (folder / "data" / "a.csv").write_text("1,2\n")
    (folder / "README.md").write_text("# Iris\n")
    (folder / "Kitfile").write_text(KITFILE)
    return folder


@pytest.fixture
def sides(kit: Callable[..., Kit], tmp_path: Path, docker_registry: Server) -> tuple[Side, Side]:
    """kit and kitcar over one registry."""
    theirs = Side("kit", kit(tmp_path / "home-kit"), tmp_path, docker_registry)
    ours = Side("car", Kitcar(tmp_path / "home-car"), tmp_path, docker_registry)
    return theirs, ours


SAME = "same"
ERROR = "[ERROR] "
SCENES: dict[str, tuple[tuple[str, str], ...]] = {
    "pack": (
        ("pack {context} -t {R}/iris:v1,v2", SAME),
        ("pack {context}", SAME),
        ("pack {context} -t iris", SAME),
        ("pack {context}/none", SAME),
        ("pack {context} -f none", ERROR + "Failed to pack model kit: "),
        ("pack {context} -t UP:1", SAME),
        ("pack {context} -t a:b --compression best", SAME),
        ("pack {context} -t a:b --layer-format best", SAME),
        ("list", SAME),
        ("list --format json", SAME),
        ("list --format {{.Repo}}", SAME),
        ("list -f datasets", SAME),
        ("list -f prompts", SAME),
        ("list -f bogus", SAME),
    ),
    "look": (
        ("pack {context} -t iris:v1", SAME),
        ("info iris:v1", SAME),
        ("info iris:v1 -f model.name", SAME),
        ("info iris:v1 -f package", SAME),
        ("info iris:v1 -f package.authors", SAME),
        ("info iris:v1 -f model.parts", SAME),
        ("info iris:v1 -f model.framework", SAME),
        ("info iris:v1 -f dataSets", SAME),
        ("info iris:v1 -f model.digest", SAME),
        ("info iris:v1 -f bogus", SAME),
        ("info iris:v1 -f code[0]", SAME),
        ("info iris:none", SAME),
        ("inspect iris:none", SAME),
        ("info iris", SAME),
        ("inspect iris", SAME),
        ("info iris:a,b", SAME),
        ("info -r iris:v1", SAME),
        ("inspect -r iris:v1", SAME),
    ),
    "names": (
        ("pack {context} -t {R}/iris:v1,v2", SAME),
        ("tag {R}/iris:v1 {R}/iris:new", SAME),
        ("tag {R}/iris:v1 iris:new", SAME),
        ("tag {R}/iris:none iris:new", SAME),
        ("tag {R}/iris:v1 iris", SAME),
        ("tag {R}/iris iris:v1", SAME),
        ("list", SAME),
        ("remove iris:new", SAME),
        ("remove iris:new", SAME),
        ("remove iris", SAME),
        ("remove {R}/iris:v1,v2", SAME),
        ("remove --all", SAME),
        ("remove --all --force", SAME),
        ("list", SAME),
        ("remove --all --remote", SAME),
    ),
    "transfer": (
        ("pack {context} -t {R}/iris:v1", SAME),
        ("pack {context} -t iris:latest", SAME),
        ("push {R}/iris:v1 --plain-http", SAME),
        ("push {R}/iris:v1 --plain-http", SAME),
        ("push iris:latest {R}/other:v9 --plain-http", SAME),
        ("push iris:latest {R}/other --plain-http", SAME),
        ("push iris:latest", SAME),
        ("push {R}/iris:v1,v2 --plain-http", SAME),
        ("push {R}/iris --plain-http", ERROR + "Failed to push: "),
        ("push {R}/iris:none --plain-http", ERROR + "Failed to push: "),
        ("push {R}/iris:v1", ERROR + "Failed to push: "),
        ("list {R}/iris --plain-http", SAME),
        ("list {R}/iris:v1 --plain-http --format json", SAME),
        ("list {R}/iris:none --plain-http", ERROR + "Failed to resolve reference none: "),
        ("list {R}/none --plain-http", ERROR + "Failed to list tags on repository: "),
        ("info -r {R}/iris:v1 --plain-http", SAME),
        ("info -r {R}/iris:none --plain-http", SAME),
        ("inspect -r {R}/iris:none --plain-http", SAME),
        ("remove --all --force", SAME),
        ("pull {R}/iris:v1 --plain-http", SAME),
        ("pull {R}/iris:v1 --plain-http", SAME),
        ("list", SAME),
        ("pull {R}/iris --plain-http", ERROR + "Failed to fetch "),
        ("pull {R}/none:none --plain-http", ERROR + "Failed to fetch "),
        ("pull {R}/iris:v1", ERROR + "Failed to fetch "),
        ("pull 127.0.0.1:9/x/y:z --plain-http", ERROR + "Failed to fetch 127.0.0.1:9/x/y:z: "),
        ("pull iris:v1", SAME),
        ("pull {R}/iris:v1,v2 --plain-http", SAME),
        ("pull {R}/iris:v1 --concurrency 0", SAME),
        ("remove -r {R}/iris:v1 --plain-http", ERROR + "Failed to untag ModelKit in remote: "),
        ("remove -r -f {R}/iris:v1 --plain-http", SAME),
        ("remove -r {R}/iris:v1 --plain-http", SAME),
    ),
    "unpack": (
        ("pack {context} -t {R}/iris:v1", SAME),
        ("push {R}/iris:v1 --plain-http", SAME),
        ("unpack {R}/iris:v1 -d {out}-all", SAME),
        ("unpack {R}/iris:v1 -d {out}-all -i", SAME),
        ("unpack {R}/iris:v1 -d {out}-model --filter=model", SAME),
        ("unpack {R}/iris:v1 -d {out}-two --filter=code --filter=datasets:train", SAME),
        ("unpack {R}/iris:v1 -d {out}-old --model --docs", SAME),
        ("unpack {R}/iris:v1 -d {out}-bad --filter=bogus", SAME),
        ("unpack {R}/iris:v1 -d {out}-bad --filter=a:b:c", SAME),
        ("remove --all --force", SAME),
        ("unpack {R}/iris:v1 -d {out}-far --plain-http", SAME),
        ("unpack {R}/iris:none -d {out}-none --plain-http", SAME),
        ("unpack iris:none -d {out}-none", SAME),
        ("unpack {R}/iris:v1,v2 -d {out}-none", SAME),
        ("list", SAME),
    ),
    "login": (
        ("login {H} -u u -p p --plain-http", SAME),
        ("login {H} --password-stdin -p x", SAME),
        ("login {H} -u u --password-stdin", SAME),
        ("login {H}", SAME),
        ("logout {H}", SAME),
        ("logout never.example", SAME),
    ),
    "init": (
        ("init {context}", SAME),
        ("init {context} --force --name n --desc d --author a", SAME),
        ("init {context} -f --depth 1", SAME),
        ("init {context} -f --depth -1", SAME),
        ("init {context} -o - --name n", SAME),
        ("init {context} --ref x", SAME),
        ("init {context}/none", ERROR + "Error processing directory: failed to read directory "),
    ),
}
USAGE = (
    "",
    "bogus",
    "pack",
    "pack a b",
    "pack --bogus .",
    "pack -Z .",
    "tag a",
    "pull",
    "list a b",
    "push",
    "push a b c",
    "remove",
    "remove --all x",
    "list --format",
    "list --concurrency=many",
    "pull --tls-verify=maybe x",
    "login",
    "help bogus",
)


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_scene_of_commands_ends_and_prints_as_kit_does(sides: tuple[Side, Side], scene: str) -> None:
    theirs, ours = sides
    for line, relation in SCENES[scene]:
        kit, kitcar = theirs.run(line), ours.run(line)
        assert kitcar.code == kit.code, f"{line}: {kit} {kitcar}"
        assert kitcar.out == kit.out, line
        if relation == SAME:
            assert kitcar.err == kit.err, line
        else:
            assert kit.err.startswith(relation), line
            assert kitcar.err.startswith(relation), line


@pytest.mark.parametrize("line", USAGE)
def test_wrong_command_line_has_kits_first_line_and_code(sides: tuple[Side, Side], line: str) -> None:
    theirs, ours = sides
    kit, kitcar = theirs.run(line), ours.run(line)
    if line == "help bogus":
        assert (kit.code, kitcar.code) == (0, 1)
        return
    assert kitcar.code == kit.code
    assert bool(kitcar.out) == bool(kit.out)
    first = kit.err.partition("\n")[0].replace('for "kit"', 'for "kitcar"')
    assert kitcar.err.partition("\n")[0] == first


@pytest.mark.parametrize("unpacked", ["all", "model", "two", "old", "far"])
def test_unpacked_trees_are_the_same(sides: tuple[Side, Side], unpacked: str) -> None:
    lines = [line for line, _ in SCENES["unpack"][:2]] + [
        line for line, _ in SCENES["unpack"] if f"{{out}}-{unpacked} " in f"{line} " and not line.endswith("-i")
    ]
    trees = []
    for side in sides:
        for line in lines:
            assert side.run(line).code == 0, line
        trees.append(tree(side.folder / f"out-{side.name}-{unpacked}"))
    assert trees[0] == trees[1]
    assert trees[0]


@dataclass(frozen=True, slots=True)
class Difference:
    """What kit and kitcar do with the same line after the same others, and why not the same."""

    line: str
    kit: int
    kitcar: int
    reason: str
    says: str = ""
    before: tuple[str, ...] = ("pack {context} -t iris:v1,v2",)


DIFFERENCES = (
    Difference(
        "pack {context} -t iris:v3,!bad",
        0,
        1,
        "a tag that no registry takes is refused when it is given",
        "invalid tag",
    ),
    Difference("pack {context} -t a:1 -t b:1", 0, 1, "kit drops all --tag flags but the last", "same repository"),
    Difference("tag iris:v1 iris:a,b", 0, 1, "kit drops all tags but the first", "multiple tags"),
    Difference(
        "remove iris:v1,none", 0, 1, "a tag that was not removed is a failure", "Failed to remove tag none: model"
    ),
    Difference("unpack iris:v1 -d {out} --filter=datasets:none", 0, 1, "a filter that takes nothing is a mistake"),
    Difference("unpack iris:v1 -d {out} -o -i", 0, 1, "the flags contradict each other", "exclude each other"),
    Difference(
        "unpack iris:v1 -d {out}",
        1,
        0,
        "files that hold what they should are right",
        before=("pack {context} -t iris:v1", "unpack iris:v1 -d {out}"),
    ),
    Difference("list iris", 1, 1, "kit asks https://localhost for it", "registry is required"),
    Difference("--progress bogus list", 0, 1, "kit takes any word for plain", "invalid progress style"),
    Difference("inspect kit://iris:v1", 1, 0, "a reference may be written as KServe's storage URIs are"),
    Difference("completion bogus", 0, 1, "there is no such shell", "no completion for bogus"),
    Difference("list --format {{.Nope}}", 1, 1, "kit fails without a word", "can't evaluate field Nope"),
    Difference("info iris:v1 -f datasets", 1, 0, "nodes are found under the names the Kitfile gives them"),
    Difference("info iris:v1 -f model.name.first", 2, 1, "kit panics", "cannot find required node"),
)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda item: item.line)
def test_difference_from_kit_is_as_it_is_written_down(sides: tuple[Side, Side], difference: Difference) -> None:
    ends = []
    for side in sides:
        for line in difference.before:
            assert side.run(line).code == 0, line
        ends.append(side.run(difference.line))
    assert (ends[0].code, ends[1].code) == (difference.kit, difference.kitcar), ends
    assert difference.says.lower() in ends[1].err.lower()


def tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Path to mode and content of all that is in a directory."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(folder.rglob("*"))
    }


def digests(text: str) -> list[str]:
    return DIGEST.findall(text)


def test_both_tools_pack_the_same_layers_and_config(kit: Callable[..., Kit], tmp_path: Path) -> None:
    context = make_context(tmp_path / "context")
    theirs = kit(tmp_path / "one")("pack", context, "-t", "iris:v1").stdout.splitlines()
    ours = Kitcar(tmp_path / "two")("pack", context, "-t", "iris:v1").out.splitlines()
    assert ours[:-2] == theirs[:-2]


def test_one_home_serves_both_tools(kit: Callable[..., Kit], tmp_path: Path, docker_registry: Server) -> None:
    home = tmp_path / "home"
    theirs, ours = kit(home), Kitcar(home)
    one, two = make_context(tmp_path / "one"), make_context(tmp_path / "two")
    (two / "model.bin").write_bytes(b"other weights")
    name = f"{docker_registry.address}/{tmp_path.name.replace('_', '-')}/shared"
    theirs("pack", one, "-t", f"{name}:kit")
    packed = ours("pack", two, "-t", f"{name}:car").out
    assert theirs("list").stdout == ours("list").out
    assert ours("inspect", f"{name}:car").out == theirs("inspect", f"{name}:car").stdout
    theirs("push", f"{name}:car", "--plain-http")
    ours("push", f"{name}:kit", "--plain-http")
    theirs("remove", f"{name}:car")
    ours("remove", f"{name}:kit")
    assert theirs("list").stdout == ours("list").out == "REPOSITORY   TAG   MAINTAINER   NAME   SIZE   DIGEST\n"
    assert not list((home / "storage" / "blobs" / "sha256").iterdir())
    assert digests(ours("pull", f"{name}:car", "--plain-http").out) == digests(packed)[-1:]
    theirs("pull", f"{name}:kit", "--plain-http")
    theirs("unpack", f"{name}:car", "-d", tmp_path / "out-two")
    ours("unpack", f"{name}:kit", "-d", tmp_path / "out-one")
    assert (tmp_path / "out-two" / "model.bin").read_bytes() == b"other weights"
    assert tree(tmp_path / "out-one").keys() == tree(one).keys()
    assert theirs("tag", f"{name}:car", "iris:last").stdout.replace("\n", "") in {
        f"Modelkit {name}:car tagged as localhost/iris:last"
    }
    assert "iris" in ours("list").out


def test_credentials_of_one_tool_serve_the_other(
    kit: Callable[..., Kit], tmp_path: Path, docker_registry_auth: Server
) -> None:
    home, server = tmp_path / "home", docker_registry_auth
    theirs, ours = kit(home), Kitcar(home)
    name = f"{server.address}/{tmp_path.name.replace('_', '-')}/iris:v1"
    ours("pack", make_context(tmp_path / "context"), "-t", name)
    assert "401" in ours("push", name, "--plain-http", check=False).err
    secret = server.password.encode()
    ours("login", server.address, "-u", server.username, "--password-stdin", "--plain-http", stdin=secret)
    theirs("push", name, "--plain-http")
    ours("logout", server.address)
    assert theirs("pull", name, "--plain-http", check=False).returncode == 1
    theirs("login", server.address, "-u", server.username, "-p", server.password, "--plain-http")
    assert ours("list", name, "--plain-http").out.count("\n") == 2
    refused = ours("login", server.address, "-u", "x", "-p", "y", "--plain-http", check=False)
    assert refused.code == 1
    assert refused.err.startswith(f"[ERROR] Failed to validate the credentials for {server.address}: ")
    assert "y" not in refused.err.replace("registry", "").replace("try", "").split()


def test_push_of_a_directory_is_read_by_kit(kit: Callable[..., Kit], tmp_path: Path, docker_registry: Server) -> None:
    context = make_context(tmp_path / "context")
    name = f"{docker_registry.address}/{tmp_path.name.replace('_', '-')}/straight"
    ours, theirs = Kitcar(tmp_path / "ours"), kit(tmp_path / "theirs")
    pushed = ours("push", context, f"{name}:v1", "--plain-http").out.splitlines()
    assert pushed[0] == f"Pushing {context} to {name}:v1"
    assert pushed[-1].startswith("Pushed sha256:")
    assert not list((tmp_path / "ours").rglob("sha256"))
    again = ours("pack", context, "--push", "-t", f"{name}:v1,v2", "--plain-http").out.splitlines()
    assert again[-1] == pushed[-1]
    assert all(line.startswith("Already pushed ") for line in again[1:-1])
    theirs("unpack", f"{name}:v2", "--plain-http", "-d", tmp_path / "out")
    assert tree(tmp_path / "out").keys() == tree(context).keys()


def test_push_to_another_repository_mounts_what_the_registry_has(tmp_path: Path, docker_registry: Server) -> None:
    ours, name = Kitcar(tmp_path / "home"), f"{docker_registry.address}/{tmp_path.name.replace('_', '-')}"
    ours("pack", make_context(tmp_path / "context"), "-t", f"{name}/one:v1")
    assert ours("push", f"{name}/one:v1", "--plain-http").err.count("  done in ") == 4
    assert ours("push", f"{name}/one:v1", f"{name}/two:v1", "--plain-http").err.count("  mounted\n") == 4
    ours("remove", "--all", "--force")
    ours("pull", f"{name}/two:v1", "--plain-http")
