"""Kitfiles side by side with a real kit: the YAML it writes, the config it packs, the faults it finds, what init makes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.kit import Kit
from kitcar.errors import InvalidError
from kitcar.modelkit import dialect as words
from kitcar.modelkit.init.generate import init
from kitcar.modelkit.kit import read_kit
from kitcar.modelkit.kitfile import Kitfile
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.manifest import Manifest
from kitcar.oci.storage import BytesContent
from kitcar.oci.verify import fetch_all
from kitcar.stores.layout import LayoutStore

Runner = Callable[..., Kit]

PIECES = [
    "a",
    "b ",
    "- ",
    "-",
    ":",
    ": ",
    "#",
    " #",
    "?",
    "? ",
    "!",
    "&",
    "*",
    "|",
    ">",
    "'",
    '"',
    "%",
    "@",
    "`",
    "{",
    "}",
]
PIECES += [
    "[",
    "]",
    ",",
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    "\r",
    "\x85",
    "\u2028",
    "\u2029",
    "\ufeff",
    "\x00",
    "\x07",
    "\x1b",
]
PIECES += [
    "\x7f",
    "\xa0",
    "é",
    "日本",
    "😀",
    "\ue000",
    "\ufffd",
    "\uffff",
    "yes",
    "No",
    "null",
    "~",
    "true",
    "0x1f",
    "1_000",
]
PIECES += [
    "1.5",
    "1e3",
    ".5",
    "2001-01-01",
    "1:30",
    "...",
    "---",
    "=",
    "<<",
    ".inf",
    "\\",
    "/",
    "x" * 90,
    "word " * 30,
    "01",
]
PIECES += ["10", "9", "_", "Z"]
FLOATS = (0.0, -0.0, 1.5, 1e5, 1e6, 123456789.0, 1e21, 1e-4, 1e-5, 1e300, 5e-324, 2.0**63, 999999.5, 0.1)
SCALARS = [
    "0",
    "1",
    "7",
    "8",
    "12",
    "-",
    "+",
    ".",
    "_",
    "e",
    "x",
    "o",
    "0x",
    "0b",
    "0o",
    "F",
    "T",
    "Z",
    ":",
    "2001",
    "-01",
    "-1-",
]
SCALARS += [
    "2001-01-01",
    " ",
    "12:00:00",
    ".5",
    "+01:00",
    "y",
    "true",
    "null",
    "~",
    ".nan",
    "<<",
    "1e999",
    "9223372036854775808",
]
TAGS = ["", "", "", "", "!!str ", "!!int ", "!!float ", "!!bool ", "!!null ", "!foo ", "! "]


class Texts:
    """Texts, values and Kitfiles that are hard to write and to read, the same ones in every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self) -> str:
        return "".join(self._random.choices(PIECES, k=self._random.choice((0, 1, 1, 1, 2, 2, 3, 4, 6, 10))))

    def value(self, depth: int = 0) -> Any:
        kind = self._random.random()
        if depth < 4 and kind < 0.18:
            return {self.text(): self.value(depth + 1) for _ in range(self._random.randrange(5))}
        if depth < 4 and kind < 0.34:
            return [self.value(depth + 1) for _ in range(self._random.randrange(5))]
        return self._random.choice([*FLOATS, True, False, None, 17]) if kind < 0.42 else self.text()

    def kitfile(self) -> dict[str, Any]:
        return {
            "manifestVersion": self.text(),
            "package": {"name": self.text(), "description": self.text(), "authors": [self.text() for _ in range(4)]},
            "model": {"name": self.text(), "parameters": [self.value() for _ in range(400)]},
            "docs": [{"path": ""}, {"path": self.text(), "description": self.text()}],
            "datasets": [{"name": self.text(), "parameters": self.value()} for _ in range(20)],
        }

    def scalar(self) -> str:
        text = "".join(self._random.choices(SCALARS, k=self._random.choice((1, 1, 2, 2, 3, 4))))
        return self._random.choice(TAGS) + self._random.choice(("{}", "{}", "{}", '"{}"', "'{}'")).format(text)


@pytest.fixture
def runner(kit: Runner) -> Kit:
    return kit()


def store_config(home: Path, config: bytes) -> None:
    repository = LayoutStore(home / "storage").repository("localhost/odd")
    descriptor = Descriptor.of(words.MODELKIT_CONFIG, config)
    manifest = Manifest.build(descriptor, (), artifact_type=words.MODELKIT_ARTIFACT)
    repository.push(descriptor, BytesContent(config))
    repository.push(manifest.descriptor, BytesContent(manifest.raw))
    repository.tag(manifest.descriptor, "v1")


def packed_config(runner: Kit, context: Path, text: str) -> bytes:
    (context / "Kitfile").write_text(text)
    runner("pack", context, "-t", "packed:v1")
    repository = LayoutStore(runner.home / "storage").repository("localhost/packed")
    kit = read_kit(repository, repository.resolve("v1"))
    return fetch_all(repository, kit.manifest.config)


@pytest.mark.parametrize("seed", range(4))
def test_yaml_of_odd_texts_is_what_kit_writes(runner: Kit, tmp_path: Path, seed: int) -> None:
    config = json.dumps(Texts(seed).kitfile()).encode()
    store_config(runner.home, config)
    runner("unpack", "odd:v1", "-d", tmp_path / "out", "--filter", "kitfile")
    assert Kitfile.from_json(config).to_yaml() == (tmp_path / "out" / "Kitfile").read_bytes()


def test_info_of_odd_texts_is_the_yaml(runner: Kit) -> None:
    config = json.dumps(
        {"manifestVersion": "1.0.0", "package": {"description": "one\ntwo: 'x'\n", "authors": ["1", "a, b"]}}
    )
    store_config(runner.home, config.encode())
    assert runner("info", "odd:v1").stdout == Kitfile.from_json(config).to_yaml().decode()


@pytest.mark.parametrize("seed", range(3))
def test_config_of_odd_scalars_is_what_kit_packs(runner: Kit, tmp_path: Path, seed: int) -> None:
    def readable(scalar: str) -> bool:
        try:
            Kitfile.parse(f"model:\n  version: {scalar}\n  parameters:\n  - {scalar}\n".encode())
        except InvalidError:
            return False
        return True

    texts = Texts(seed)
    scalars = [scalar for scalar in (texts.scalar() for _ in range(2000)) if readable(scalar)]
    assert len(scalars) > 1000
    lines = "".join(f"  - {scalar}\n" for scalar in scalars)
    text = f"manifestVersion: 1.0.0\npackage:\n  version: {scalars[0]}\nmodel:\n  parameters:\n{lines}"
    assert Kitfile.parse(text.encode()).to_json() == packed_config(runner, tmp_path, text)


def test_config_of_anchors_and_merges_is_what_kit_packs(runner: Kit, tmp_path: Path) -> None:
    text = """\
manifestVersion: 1.0.0
package: &p {name: a, authors: [x, ~, "y"]}
model:
  parameters:
    one: &a {k: 1, l: {m: 2}}
    two: &b {l: 3, n: 4, <<: *a}
    three: {<<: [*b, *a], k: 9}
    again: &c [*a, &a 5, *a]
    last: *a
    block: |+
      text

    folded: >2-
        more
      text
datasets:
- &d {path: f, remotePath: "reg.io/a/b:v1", parameters: {d: 2001-1-2, t: 2001-01-02 3:4:5.6}}
- {<<: *d, path: g}
"""
    assert Kitfile.parse(text.encode()).to_json() == packed_config(runner, tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "docs: [{path: /etc/x}]",
        "docs: [{path: a}, {path: ./a/}]",
        "model: {name: m, path: a}\ncode: [{path: a}]\ndatasets: [{path: a}]",
        "model: {path: 's3://b/k'}",
        "model: {path: m, parts: [{name: p, path: q, type: a b}, {name: r, path: s, type: " + "x" * 65 + "}]}",
        "code: [{path: 'http://h/x'}]",
        "docs: [{path: 'mailto:x'}]",
        "datasets: [{path: d, remoteHash: x}, {path: e, remotePath: 's3://b/k'}, {path: f, remotePath: x}]",
        "datasets: [{path: d, remotePath: 'r.io/a:1'}]\ncode: [{path: d/x}]",
        "mcpServers: [{path: a.mcpb}, {name: s, path: b.zip}, {name: s, path: c.mcpb}]",
        "prompts: [{path: 'reg.io/a:v1'}]",
    ],
)
def test_faults_are_those_that_kit_finds_in_its_words(runner: Kit, tmp_path: Path, text: str) -> None:
    (tmp_path / "Kitfile").write_text(f"manifestVersion: 1.0.0\n{text}\n")
    done = runner("pack", tmp_path, "-t", "x:v1", check=False)
    assert done.returncode == 1
    assert "errors while validating Kitfile: \n" in done.stderr
    with pytest.raises(InvalidError) as caught:
        Kitfile.parse((tmp_path / "Kitfile").read_bytes())
    assert "errors while validating Kitfile: \n" in str(caught.value)
    for fault in caught.value.faults:
        assert f"  * {fault.message}\n" in done.stderr


@pytest.mark.parametrize(
    "text", ["foo: 1", "package: {nme: x}", "code: x", "package: {name: a, name: b}", "a: [1", "", "a: *x"]
)
def test_what_kit_cannot_read_is_refused_too(runner: Kit, tmp_path: Path, text: str) -> None:
    (tmp_path / "Kitfile").write_text(text)
    assert runner("pack", tmp_path, "-t", "x:v1", check=False).returncode == 1
    with pytest.raises(InvalidError):
        Kitfile.parse(text.encode())


NAMES = [
    "model.safetensors",
    "a.gguf",
    "b.gguf",
    "pytorch_model-1.bin",
    "w.bin",
    "config.json",
    "tok.yaml",
    "notes.txt",
]
NAMES += [
    "README",
    "readme.md",
    "README.rst",
    "LICENSE",
    "license.txt",
    "d.csv",
    "d.parquet",
    "doc.md",
    "doc.PDF",
    "AGENTS.md",
]
NAMES += [
    "claude.MD",
    "my.prompt",
    "a.prompt.json",
    "s.mcpb",
    "Kitfile.md",
    ".kitignore",
    "run.py",
    "noext",
    ".hidden",
    ".gguf",
]
NAMES += ["m.tar.gz", "z.tar", "é.csv", "a b.h5", "yes", "1.5", "x y: z.csv"]
FOLDERS = ["docs", "src", "lib", "models", "data", "sub", "a.b", "build", "prompts", "Z"]
SKILLS = [
    "---\nname: sk\ndescription: does x\nlicense: MIT\n---\nbody",
    "no head",
    "---\nname: [a]\n---\n",
    "---\r\nname: 1\r\n---\r\n",
]


def trees(root: Path, seed: int, licence: str) -> Iterator[Path]:
    """Directories with files of all kinds."""
    chance = random.Random(seed)

    def fill(folder: Path, depth: int) -> None:
        folder.mkdir(exist_ok=True)
        for name in chance.choices(NAMES, k=chance.choice((0, 1, 1, 2, 3, 4, 7))):
            text = (
                licence
                if name.lower().startswith("license") and chance.random() < 0.5
                else "x" * chance.choice((0, 1, 5, 50))
            )
            (folder / name).write_text(text)
        if chance.random() < 0.08:
            (folder / "SKILL.md").write_text(chance.choice(SKILLS))
        for _ in range(chance.choice((0, 1, 2, 3)) if depth < 3 else 0):
            fill(folder / chance.choice(FOLDERS), depth + 1)

    for number in range(12):
        fill(root / f"tree{number}", 0)
        yield root / f"tree{number}"


@pytest.mark.parametrize("seed", range(3))
def test_init_writes_what_kit_init_writes(runner: Kit, kit_module: Path, tmp_path: Path, seed: int) -> None:
    licence = (kit_module / "LICENSE").read_text()
    for tree in trees(tmp_path, seed, licence):
        for depth in (0, 1, -1):
            # kit looks for the licence where it was started, not in the directory it was given.
            done = runner("init", ".", "--depth", str(depth), "-o", "-", cwd=tree)
            assert init(tree, depth=depth).to_yaml().decode() == done.stdout
