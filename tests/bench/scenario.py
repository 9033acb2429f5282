"""What is measured: for each operation, the tools that can do it and how each is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import world
from bench.throttle import Throttle
from bench.world import World
from harness import peers

ENTRYPOINT = Path("build", "dockerfiles", "KServe", "entrypoint.sh")

_MANY = 20_000
_CAP = 25 * 1000 * 1000
_CAPPED = 200 * 1024 * 1024
"""Bytes a second on each connection, and bytes of the model that travels over them."""

_FLOOR = """
import hashlib, sys
from pathlib import Path
for path in sorted(Path(sys.argv[1]).rglob("*")):
    if path.is_file():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256").hexdigest()
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One command to measure, what it needs in its environment, and what to remove after it."""

    command: tuple[str | Path, ...]
    environment: dict[str, str] = field(default_factory=dict)
    leftovers: tuple[Path, ...] = ()
    expected: Path | None = None
    """A file that must be there afterwards."""


Prepare = Callable[[], Attempt]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One operation: a title, the bytes it moves, and how each tool does it. `floor` and `peer` name rows to compare with."""

    key: str
    title: str
    size: int
    tools: dict[str, Prepare]
    floor: str = ""
    peer: str = ""


def scenarios(here: World, wanted: Collection[str] = ()) -> Iterator[Scenario]:
    """The scenarios whose keys are `wanted`, or all; files are made just before they are needed."""

    def on(*keys: str) -> bool:
        return not wanted or any(key in wanted for key in keys)

    if on("version"):
        yield _start_up(here)
    if on("pack", "push", "pull", "unpack-local", "unpack-direct", "initializer"):
        yield from _of_one_model(here, on)
    if on("layers"):
        context = world.several_layers(here.fresh("several-layers"), here.size)
        title = "unpack four layers from a registry"
        yield _unpack_direct("layers", title, here, _pushed(here, context), context, here.size)
        world.discard(context)
    if on("capped"):
        yield from _capped(here)
    if on("small-pack", "small-unpack"):
        context = world.small_files(here.fresh("small-files"), _MANY)
        if on("small-pack"):
            yield _pack("small-pack", "pack 20,000 files of 4 KiB", here, context, _MANY * 4096)
        if on("small-unpack"):
            title = "unpack 20,000 files of 4 KiB from a registry"
            yield _unpack_direct("small-unpack", title, here, _pushed(here, context), context, _MANY * 4096)


def _capped(here: World) -> Iterator[Scenario]:
    context = world.several_layers(here.fresh("several-layers"), _CAPPED)
    pushed = _pushed(here, context)
    with Throttle(here.registry.address, _CAP) as proxy:
        title = "unpack four layers, 25 MB/s on each connection"
        reference = pushed.replace(here.registry.address, proxy.address)
        yield _unpack_direct("capped", title, here, reference, context, _CAPPED)
    world.discard(context)


def _of_one_model(here: World, on: Callable[[str], bool]) -> Iterator[Scenario]:
    context = world.one_model(here.fresh("one-model"), here.size)
    size = here.size + 2_000 * 4096
    if on("pack"):
        yield _pack("pack", "pack a model and 2,000 files", here, context, size)
    if on("push"):
        yield _send(here, context, size)
    if on("unpack-local"):
        yield _unpack_local(here, context, size)
    pushed = _pushed(here, context)
    if on("pull"):
        yield _pull(here, pushed, size)
    if on("unpack-direct"):
        yield _unpack_direct("unpack-direct", "unpack from docker-registry", here, pushed, context, size)
    if on("initializer"):
        yield _initializer(here, pushed, context, size)
    world.discard(context)


def _start_up(here: World) -> Scenario:
    def asks(*command: str) -> Prepare:
        home = here.home("kit" if "kit" in command[0] else "")
        return lambda: Attempt(command, {"KITOPS_HOME": str(home)})

    return Scenario(
        "version",
        "start up and tell the version",
        0,
        {
            "python -c pass": asks(here.tools["python"], "-c", "pass"),
            "kitcar version": asks(here.tools["kitcar"], "version"),
            "kit version": asks(here.tools["kit"], "version"),
            "oras version": asks(here.tools["oras"], "version"),
        },
        floor="python -c pass",
        peer="kit version",
    )


def _floors(here: World, context: Path) -> dict[str, Prepare]:
    def copy() -> Attempt:
        target = here.fresh("copied")
        return Attempt(("cp", "-r", context, target / "it"), leftovers=(target,))

    return {
        "SHA-256": lambda: Attempt((here.tools["python"], "-c", _FLOOR, context)),
        "cp": copy,
    }


def _pack(key: str, title: str, here: World, context: Path, size: int) -> Scenario:
    def packs(tool: str) -> Prepare:
        def prepare() -> Attempt:
            home = here.home(tool)
            command = (here.tools[tool], "pack", context, "-t", "bench/model:v1", "--progress", "none")
            return Attempt(command, {"KITOPS_HOME": str(home)}, (home,), home / "storage" / "index.json")

        return prepare

    tools = {**_floors(here, context), "kitcar": packs("kitcar"), "kit": packs("kit")}
    return Scenario(key, title, size, tools, floor="SHA-256", peer="kit")


def _send(here: World, context: Path, size: int) -> Scenario:
    def packs_and_pushes(tool: str) -> Prepare:
        def prepare() -> Attempt:
            home, reference = here.home(tool), here.reference(tool)
            script = '"$0" pack "$1" -t "$2" --progress none && "$0" push "$2" --plain-http --progress none'
            command = ("bash", "-c", script, here.tools[tool], context, reference)
            return Attempt(command, {"KITOPS_HOME": str(home)}, (home,))

        return prepare

    def pushes_directly() -> Attempt:
        home = here.home("kitcar")
        words = (here.tools["kitcar"], "push", context, here.reference("direct"), "--plain-http", "--progress", "none")
        return Attempt(words, {"KITOPS_HOME": str(home)}, (home,))

    def oras() -> Attempt:
        script = 'cd "$1" && "$0" push --plain-http --no-tty "$2" model.safetensors data'
        return Attempt(("bash", "-c", script, here.tools["oras"], context, here.reference("oras")))

    tools: dict[str, Prepare] = {
        "kitcar push DIRECTORY": pushes_directly,
        "kitcar pack, push": packs_and_pushes("kitcar"),
        "kit pack, push": packs_and_pushes("kit"),
        "oras push": oras,
    }
    return Scenario("push", "pack and push to docker-registry", size, tools, peer="kit pack, push")


def _pushed(here: World, context: Path) -> str:
    home, reference = here.home("kit"), here.reference("pushed")
    here.run(here.tools["kit"], "pack", context, "-t", reference, home=home)
    here.run(here.tools["kit"], "push", reference, "--plain-http", home=home)
    world.discard(home)
    return reference


def _pull(here: World, reference: str, size: int) -> Scenario:
    def pulls(tool: str) -> Prepare:
        def prepare() -> Attempt:
            home = here.home(tool)
            command = (here.tools[tool], "pull", reference, "--plain-http", "--progress", "none")
            return Attempt(command, {"KITOPS_HOME": str(home)}, (home,), home / "storage" / "index.json")

        return prepare

    def oras() -> Attempt:
        layout = here.fresh("layout")
        words = ("copy", "--from-plain-http", "--no-tty", "--to-oci-layout", reference, f"{layout}:v1")
        return Attempt((here.tools["oras"], *words), leftovers=(layout,))

    def crane() -> Attempt:
        layout = here.fresh("layout")
        command = (here.tools["crane"], "pull", "--insecure", "--format=oci", reference, layout)
        return Attempt(command, leftovers=(layout,))

    tools = {"kitcar": pulls("kitcar"), "kit": pulls("kit"), "oras copy": oras, "crane pull": crane}
    return Scenario("pull", "pull from docker-registry", size, tools, peer="kit")


def _unpacks(here: World, tool: str, words: tuple[str, ...], home: Path, context: Path) -> Attempt:
    target = here.fresh("out")
    names = [path.name for path in context.iterdir() if path.suffix == ".safetensors"]
    command: tuple[str | Path, ...] = (here.tools[tool], "unpack", *words, "-d", target, "--progress", "none")
    return Attempt(command, {"KITOPS_HOME": str(home)}, (target,), target / sorted(names)[0])


def _unpack_local(here: World, context: Path, size: int) -> Scenario:
    home = here.home("kit")
    here.run(here.tools["kit"], "pack", context, "-t", "bench/model:v1", home=home)

    def unpacks(tool: str) -> Prepare:
        return lambda: _unpacks(here, tool, ("bench/model:v1",), home, context)

    tools = {**_floors(here, context), "kitcar": unpacks("kitcar"), "kit (unchecked)": unpacks("kit")}
    return Scenario(
        "unpack-local", "unpack from the local storage", size, tools, floor="SHA-256", peer="kit (unchecked)"
    )


def _unpack_direct(key: str, title: str, here: World, reference: str, context: Path, size: int) -> Scenario:
    def unpacks(tool: str) -> Prepare:
        home = here.home(tool)
        return lambda: _unpacks(here, tool, (reference, "--plain-http"), home, context)

    tools = {**_floors(here, context), "kitcar": unpacks("kitcar"), "kit (unchecked)": unpacks("kit")}
    return Scenario(key, title, size, tools, floor="SHA-256", peer="kit (unchecked)")


def _initializer(here: World, reference: str, context: Path, size: int) -> Scenario:
    script = peers.module_folder("kit") / ENTRYPOINT

    def initializes(tool: str, *command: str | Path) -> Prepare:
        home = here.home(tool)

        def prepare() -> Attempt:
            target = here.fresh("models")
            words: tuple[str | Path, ...] = (*command, f"kit://{reference}", target)
            environment = {"KITOPS_HOME": str(home), "KIT_UNPACK_FLAGS": "--plain-http"}
            return Attempt(words, environment, (target,), target / "model.safetensors")

        return prepare

    tools = {
        **_floors(here, context),
        "kitcar": initializes("kitcar", here.tools["kitcar"], "initializer"),
        "kit's entrypoint (unchecked)": initializes("kit", "bash", script),
    }
    return Scenario(
        "initializer",
        "storage initializer from a registry",
        size,
        tools,
        floor="SHA-256",
        peer="kit's entrypoint (unchecked)",
    )
