"""Packing side by side with a real kit: same directory, same layers, same config; what one packs the other unpacks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from harness.kit import Kit
from kitcar.modelkit.compression import Method
from kitcar.modelkit.kit import Kit as ReadKit
from kitcar.modelkit.kit import read_kit
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.pack import Packed, PackOptions, pack
from kitcar.stores.layout import LayoutStore

REPOSITORY, TAG = "localhost/team/kit", "v1"
ALPHABETS = ("ab", "aZ9-_.", "aé日", "a b", "xyz")
RULES = (
    "*a*",
    "**/*b",
    "?*/*",
    "!**/*a",
    "!{name}",
    "{name}",
    "{name}/*",
    "/{name}",
    "**/{base}",
    "!{name}/**",
    "[ab]*",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One of kit's own cases: files that are packed, and files that are not."""

    name: str
    kitfile: str
    ignore: str
    files: tuple[str, ...]
    ignored: tuple[str, ...]


def cases(module: Path) -> list[Case]:
    found = []
    for path in sorted((module / "testing/testdata/pack-unpack").glob("*.yaml")):
        text = yaml.safe_load(path.read_text())
        found.append(
            Case(
                path.name,
                text["kitfile"],
                text.get("kitignore") or "",
                tuple(text.get("files") or ()),
                tuple(text.get("ignored") or ()),
            )
        )
    return found


def by_kitcar(context: Path, home: Path, method: Method = Method.NONE) -> Packed:
    kitfile = Kitfile.parse((context / "Kitfile").read_bytes())
    store = LayoutStore(home / "storage").repository(REPOSITORY)
    return pack(kitfile, context, store, PackOptions(compression=method, tags=(TAG,), version="1"))


def by_kit(kit: Kit, context: Path, *flags: str) -> ReadKit:
    kit("pack", context, "-t", f"team/kit:{TAG}", *flags)
    store = LayoutStore(kit.home / "storage").repository(REPOSITORY)
    return read_kit(store, store.resolve(TAG))


@pytest.mark.parametrize("method", list(Method))
def test_kits_own_cases_are_packed_alike_and_unpacked_by_kit(
    kit: Callable[..., Kit], kit_module: Path, tmp_path: Path, method: Method
) -> None:
    names = []
    for case in cases(kit_module):
        names.append(case.name)
        folder = tmp_path / case.name
        context = folder / "context"
        for number, name in enumerate((*case.files, *case.ignored)):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            (context / name).write_text(f"content {number} of {name}")
        context.mkdir(exist_ok=True)
        (context / "Kitfile").write_text(case.kitfile)
        if case.ignore:
            (context / ".kitignore").write_text(case.ignore)
        theirs = by_kit(kit(folder / "theirs"), context, "--compression", method.value)
        ours = by_kitcar(context, folder / "ours", method)
        assert_alike(ours, theirs, plain=method is Method.NONE)
        kit(folder / "ours")("unpack", f"team/kit:{TAG}", "-d", folder / "out")
        for name in case.files:
            assert (folder / "out" / name).read_bytes() == (context / name).read_bytes(), (case.name, name)
        for name in (*case.ignored, ".kitignore"):
            assert not (folder / "out" / name).exists(), (case.name, name)
    assert len(names) == 11


def assert_alike(ours: Packed, theirs: ReadKit, *, plain: bool = True) -> None:
    assert [layer.diff_id for layer in ours.layers] == [layer.diff_id for layer in theirs.layers()]
    assert [layer.media_type for layer in ours.manifest.layers] == [
        layer.media_type for layer in theirs.manifest.layers
    ]
    assert [layer.annotations for layer in ours.manifest.layers] == [
        layer.annotations for layer in theirs.manifest.layers
    ]
    if plain:
        assert ours.manifest.layers == theirs.manifest.layers
        assert ours.manifest.config == theirs.manifest.config


class Grove:
    """Random directories with a Kitfile. All names have one length, as kit takes a path that begins alike for one below."""

    def __init__(self, root: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.root = root
        self.length = self.chance.choice((3, 3, 3, 8, 60, 90, 120))
        self.alphabet = self.chance.choice(ALPHABETS)
        self.paths: list[str] = []
        root.mkdir(parents=True)
        self._grow("", 0)
        self._kitfile()

    def _name(self) -> str:
        while True:
            inner = "".join(self.chance.choice(self.alphabet) for _ in range(self.length - 2))
            name = self.chance.choice("abx") + inner + self.chance.choice("abx")
            if ".." not in name and len(name.encode()) <= 250:
                return name

    def _grow(self, parent: str, depth: int) -> None:
        for _ in range(self.chance.randrange(1, 6)):
            path = parent + self._name()
            if path in self.paths:
                continue
            self.paths.append(path)
            if depth < 4 and self.chance.random() < 0.5:
                (self.root / path).mkdir()
                if self.chance.random() < 0.85:
                    self._grow(f"{path}/", depth + 1)
                (self.root / path).chmod(self.chance.choice((0o755, 0o700, 0o1777, 0o2755, 0o750)))
            else:
                size = self.chance.choice((0, 1, 511, 512, 513, 5000, 70_000, 1_200_000))
                (self.root / path).write_bytes(self.chance.randbytes(size))
                (self.root / path).chmod(self.chance.choice((0o644, 0o600, 0o755, 0o4755, 0o2640, 0o444)))

    def _kitfile(self) -> None:
        chosen = self.chance.sample(self.paths, min(len(self.paths), self.chance.randrange(1, 6)))
        if self.chance.random() < 0.6:
            chosen.append(".")
        sections: dict[str, list[dict[str, str]]] = {}
        for path in chosen:
            written = self.chance.choice((path, f"./{path}", f"{path}//" if (self.root / path).is_dir() else path))
            sections.setdefault(self.chance.choice(("code", "datasets", "docs", "prompts")), []).append(
                {"path": written}
            )
        (self.root / "Kitfile").write_text(
            yaml.safe_dump({"manifestVersion": "1.0.0", **sections}, allow_unicode=True, width=10_000)
        )
        if self.chance.random() < 0.7:
            lines = [self._rule() for _ in range(self.chance.randrange(1, 5))]
            (self.root / ".kitignore").write_text("\n".join(lines) + "\n")

    def _rule(self) -> str:
        path = self.chance.choice(self.paths)
        return self.chance.choice(RULES).format(name=path, base=path.rpartition("/")[2])


@pytest.mark.parametrize("seed", range(60))
def test_random_directory_is_packed_as_kit_packs_it(kit: Callable[..., Kit], tmp_path: Path, seed: int) -> None:
    context = Grove(tmp_path / "context", seed).root
    theirs = by_kit(kit(tmp_path / "theirs"), context)
    ours = by_kitcar(context, tmp_path / "ours")
    spared = [layer.planned.plan.spared for layer in ours.layers]
    assert [layer.label for layer in ours.layers] == [layer.type.label for layer in theirs.layers()]
    for mine, layer, named in zip(ours.layers, theirs.layers(), spared, strict=True):
        if not named:  # where a rule hits the named path itself, kit's layer is empty and ours is not
            assert mine.descriptor == layer.descriptor, layer.path
    if not any(spared):
        assert_alike(ours, theirs)


def test_kit_finds_in_a_shared_store_what_kitcar_packed(kit: Callable[..., Kit], tmp_path: Path) -> None:
    context, runner = Grove(tmp_path / "context", 7).root, kit()
    (context / ".kitignore").unlink(missing_ok=True)
    ours = by_kitcar(context, runner.home)
    said = runner("pack", context, "-t", "team/kit:v2").stdout
    assert said.count("Already saved") == len(ours.layers)
    assert f"Configuration already exists in storage: {ours.manifest.config.digest}" in said
    again = by_kitcar(context, runner.home)
    assert not any(layer.new for layer in again.layers)
    assert again.descriptor == ours.descriptor


def test_hub_snapshot_packed_by_kitcar_is_unpacked_by_kit(kit: Callable[..., Kit], tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots/0123"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs/aaa").write_bytes(b"weights")
    (snapshot / "model.safetensors").symlink_to("../../blobs/aaa")
    (snapshot / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel:\n  path: model.safetensors\n")
    runner = kit()
    by_kitcar(snapshot, runner.home)
    runner("unpack", f"team/kit:{TAG}", "-d", tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").read_bytes() == b"weights"
    assert not (tmp_path / "out/model.safetensors").is_symlink()
