"""The verbs that move a ModelKit, as whole processes through a proxy that fails on cue, and what each must leave behind."""

from __future__ import annotations

import dataclasses
import io
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from harness.kitcar import Kitcar
from kitcar.errors import NotFoundError
from kitcar.initializer.entry import initialize
from kitcar.modelkit.kitfile import Kitfile
from kitcar.modelkit.pack import PackOptions, pack
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.reference import Reference
from kitcar.registry.repository import Repository
from kitcar.registry.settings import Connection
from kitcar.stores.layout import LayoutStore
from kitcar.testing.parts import tree
from kitcar.testing.proxy import Action, FaultProxy, Stall

MIB = 1024 * 1024
FETCHING = ("pull", "unpack", "initializer")
SENDING = ("push", "push-directory", "pack-push")
LOCAL = "iris:v1"
_NAME = "team/iris"
_SECONDS = 30
_DOCUMENT = "manifestVersion: 1.0.0\npackage:\n  name: iris\nmodel:\n  path: model.bin\n"
_PATHS = "code:\n  - path: code\ndocs:\n  - path: docs\n"


@dataclass(frozen=True)
class Kit:
    """A directory that can be packed, and what packing it makes."""

    context: Path
    descriptor: Descriptor
    manifest: Manifest
    raw: bytes

    @property
    def layer(self) -> Descriptor:
        """The largest layer, the model's."""
        return max(self.manifest.layers, key=lambda layer: layer.size)

    @property
    def wanted(self) -> dict[str, tuple[int, bytes | str | None]]:
        """The tree that unpacking gives."""
        kitfile = Kitfile.parse((self.context / "Kitfile").read_bytes()).to_yaml()
        return {**tree(self.context), "Kitfile": (0o644, kitfile)}


@dataclass(frozen=True)
class Ended:
    """How a process ended; `err` is its standard error, or all it wrote where both go one way."""

    code: int
    out: str
    err: str

    @property
    def reason(self) -> str:
        """The one sentence; fails where the end is not one sentence and one hint."""
        lines = self.err.rstrip("\n").split("\n")
        errors = [line for line in lines if line.startswith("[ERROR] ")]
        assert len(errors) == 1, self.err
        assert lines[-2:] == [errors[0], lines[-1]], self.err
        assert lines[-1].removeprefix("Hint: ") != lines[-1], f"no hint: {self.err}"
        assert "Traceback" not in self.err
        assert "internal error" not in self.err
        return errors[0].removeprefix("[ERROR] ")

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.err.rstrip("\n").rpartition("Hint: ")[2]


def write_kit(context: Path, *, size: int, seed: int = 1) -> Path:
    """A directory with a model of `size` bytes, some code and a document; the bytes depend on `seed` alone."""
    source = random.Random(seed)
    (context / "code" / "deep").mkdir(parents=True)
    (context / "docs").mkdir()
    (context / "model.bin").write_bytes(source.randbytes(size))
    for number in range(5):
        (context / "code" / "deep" / f"{number}.py").write_bytes(source.randbytes(number * 700))
    (context / "docs" / "README.md").write_bytes(b"# Iris\n")
    (context / "Kitfile").write_text(_DOCUMENT + _PATHS)
    return context


def publish(context: Path, address: str, name: str = _NAME) -> Kit:
    """Packs a directory into the registry at `address`, past any proxy."""
    target = Repository(Reference.parse(f"{address}/{name}"), connection=Connection(plain_http=True))
    packed = pack(
        Kitfile.parse((context / "Kitfile").read_bytes()), context, target, PackOptions(tags=("v1",), version="1.0.0")
    )
    return Kit(context, packed.descriptor, packed.manifest, packed.manifest.raw)


@dataclass
class Road:
    """One verb's way in one test: a registry behind a proxy, homes and directories of the test's own."""

    registry: str
    proxy: FaultProxy
    kit: Kit
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The ModelKit's reference through the proxy."""
        return f"{self.proxy.address}/{_NAME}:v1"

    @property
    def home(self) -> Path:
        """The KITOPS_HOME of the verb."""
        return self.folder / "home"

    @property
    def out(self) -> Path:
        """Where files go."""
        return self.folder / "out"

    def prepare(self, verb: str) -> None:
        """Makes what the verb works on and no fault shall touch."""
        if verb == "push":
            Kitcar(self.home)("pack", self.kit.context, "-t", LOCAL)

    def words(self, verb: str, name: str = "") -> tuple[str, ...]:
        """The command line of a verb."""
        name, context = name or self.name, str(self.kit.context)
        return {
            "pull": ("pull", name, "--plain-http"),
            "unpack": ("unpack", name, "-d", str(self.out), "--plain-http"),
            "initializer": ("initializer", f"kit://{name}", str(self.out)),
            "push": ("push", LOCAL, name, "--plain-http"),
            "push-directory": ("push", context, name, "--plain-http"),
            "pack-push": ("pack", context, "-t", name, "--push", "--plain-http"),
            "pack": ("pack", context, "-t", LOCAL),
        }[verb]

    @property
    def environment(self) -> dict[str, str]:
        """What the verb finds around it, and nothing else."""
        return {
            "HOME": str(self.folder),
            "KITOPS_HOME": str(self.home),
            "KIT_UNPACK_FLAGS": "--plain-http",
            "KITCAR_TERMINATION_LOG": str(self.folder / "termination-log"),
            **self.environ,
        }

    def start(self, verb: str, name: str = "") -> subprocess.Popen[str]:
        """Starts a verb as a process of its own."""
        return self.start_command([sys.executable, "-m", "kitcar", *self.words(verb, name)])

    def start_command(self, command: list[str]) -> subprocess.Popen[str]:
        """Starts any command where the verbs run."""
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, verb: str, name: str = "") -> Ended:
        """Runs a verb as a process of its own."""
        return finish(self.start(verb, name))

    def again(self, verb: str, name: str = "") -> Ended:
        """Runs the same command in this process, which is quicker."""
        out, err = io.StringIO(), io.StringIO()
        words = self.words(verb, name)
        if verb == "initializer":
            return Ended(initialize(words[1:], self.environment, out, err), out.getvalue(), err.getvalue())
        result = Kitcar(self.home, self.environment)(*words, check=False)
        return Ended(result.code, result.out, result.err)

    def check_right(self, verb: str) -> None:
        """The verb did all it had to: the right tree, and no leftovers."""
        if verb in SENDING:
            self._deliver(self.registry, self.folder / "received")
            return
        if verb == "pull":
            self.check_store(self.name)
            self.check_right_offline(self.name)
        else:
            assert tree(self.out) == self.kit.wanted

    def check_right_offline(self, name: str) -> None:
        """What local storage has under a name is the ModelKit."""
        target = self.folder / "unpacked"
        Kitcar(self.home)("unpack", name, "-d", target)
        assert tree(target) == self.kit.wanted

    def check_store(self, *names: str) -> None:
        """Local storage holds exactly these, whole, and nothing unfinished."""
        storage = self.home / "storage"
        listed = {f"{row.split()[0]}:{row.split()[1]}" for row in Kitcar(self.home)("list").out.splitlines()[1:]}
        assert listed == set(names)
        assert not list((storage / "ingest").iterdir())
        assert [path.name for path in (storage / ".kitcar").iterdir()] == ["lock"]
        check_blobs(storage)
        for name in names:
            reference = Reference.parse(name)
            local = LayoutStore(storage).repository(reference.name)
            manifest = Manifest.parse(LayoutStore(storage).path(local.resolve(reference.target).digest).read_bytes())
            assert all(local.store.intact(blob) for blob in (manifest.config, *manifest.layers))

    def check_nothing_wrong(self, verb: str) -> None:
        """What failed or was killed shows nothing that is not right and whole."""
        if verb in SENDING:
            assert not self.is_published()
        elif verb in {"pull", "pack"}:
            assert Kitcar(self.home)("list").out.count("\n") == 1
            check_blobs(self.home / "storage")
        else:
            shown = {path: entry for path, entry in tree(self.out).items() if not path.startswith(".kitcar-staging")}
            wanted = self.kit.wanted
            assert {path: content for path, (_, content) in shown.items()}.items() <= {
                path: content for path, (_, content) in wanted.items()
            }.items()
            assert "model.bin" not in shown

    def is_published(self) -> bool:
        """Whether the registry has a manifest under the name."""
        target = Repository(Reference.parse(f"{self.registry}/{_NAME}"), connection=Connection(plain_http=True))
        try:
            target.resolve("v1")
        except NotFoundError:
            return False
        return True

    def _deliver(self, address: str, target: Path) -> None:
        direct = dataclasses.replace(self, folder=target)
        out, err = io.StringIO(), io.StringIO()
        words = (f"kit://{address}/{_NAME}:v1", str(direct.out))
        assert initialize(words, direct.environment, out, err) == 0, err.getvalue()
        assert tree(direct.out) == self.kit.wanted
        shutil.rmtree(target)


def finish(process: subprocess.Popen[str]) -> Ended:
    """Waits for a process to end by itself."""
    try:
        out, err = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {_SECONDS} s\n{out}\n{err}") from None
    return Ended(process.returncode, out, err)


def kill(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    """Kills a process with SIGKILL as soon as it has come as far as `ready` says."""
    try:
        wait_until(ready, process)
    finally:
        process.kill()
        out, err = process.communicate()
    assert process.returncode == -9, f"{process.returncode}: {out}\n{err}"


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Looks until it is so, while the process (if any) runs."""
    until = time.monotonic() + _SECONDS
    while not ready():
        assert process is None or process.poll() is None, "the process ended too early"
        assert time.monotonic() < until, "it never came so far"
        time.sleep(0.002)


def largest(folder: Path) -> int:
    """Bytes of the largest file at or below a folder that others write to."""
    sizes = [0]
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(here, name)).st_size)
            except FileNotFoundError:
                continue
    return max(sizes)


def resumable(folder: Path) -> int:
    """Bytes of the largest unfinished file below a directory or a home that a later run can take up."""
    staging = folder / "out" / ".kitcar-staging"
    parts = [path.parent for path in staging.glob("*/journal") if path.stat().st_size] if staging.is_dir() else []
    return max(map(largest, [*parts, folder / "home" / "storage" / "ingest"]))


def check_blobs(storage: Path) -> None:
    """Every blob that is shown is what its name says."""
    blobs = storage / "blobs" / "sha256"
    for blob in blobs.iterdir() if blobs.is_dir() else ():
        assert Digest.of(blob.read_bytes()).encoded == blob.name


def combined(faults: Mapping[str, object], verbs: tuple[str, ...]) -> list[ParameterSet]:
    """Every fault with every verb. The first verb and one of the others with each are quick, the rest is expensive."""
    found = []
    for number, (name, fault) in enumerate(faults.items()):
        quick = {verbs[0], verbs[1 + number % (len(verbs) - 1)]}
        for verb in verbs:
            marks = () if verb in quick else (pytest.mark.expensive,)
            found.append(pytest.param(fault, verb, id=f"{name}-{verb}", marks=marks))
    return found


def patience(action: Action, retries: int) -> dict[str, str]:
    """How patient to be with a fault: no longer than a test can wait, where the fault is to stand still."""
    return {"KITCAR_TIMEOUT": "1" if isinstance(action, Stall) else "30", "KITCAR_RETRIES": str(retries)}
