"""A Kitfile for a directory that has none: which file is what, by the rules of `kit init`.

What a listing holds is decided by names and sizes alone; only a licence and `SKILL.md` files are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from kitcar.errors import InvalidError, KitcarError, NotFoundError
from kitcar.files.paths import MAX_DEPTH
from kitcar.modelkit.init.detect import FileType, file_type, is_licence, is_readme, suffix
from kitcar.modelkit.init.licence import identify
from kitcar.modelkit.kitfile import (
    FILE_NAMES,
    Code,
    Dataset,
    Docs,
    Entry,
    Kitfile,
    McpServer,
    Model,
    ModelPart,
    Package,
    Prompt,
)
from kitcar.modelkit.kitfile.nodes import read, scalar_of
from kitcar.modelkit.kitfile.path import Place, place_of

SKILL = "SKILL.md"
_DOCS_DIRECTORY = "docs"
_CODE_DIRECTORIES = frozenset({"src", "pkg", "lib", "build"})
_CATCH_ALL_ABOVE = 5
_MAX_READ = 1 << 20
_Entry = TypeVar("_Entry", bound=Entry)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a listing: `path` is relative to the root, `size` in bytes."""

    name: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of a listing, what is in it in the order of the names' bytes."""

    name: str
    path: str
    files: tuple[File, ...] = ()
    directories: tuple[Directory, ...] = ()

    @property
    def skill(self) -> str | None:
        """The path of its `SKILL.md`, if there is one."""
        return next((file.path for file in self.files if file.name == SKILL), None)


def init(directory: Path, *, package: Package = Package(), depth: int = 0) -> Kitfile:  # noqa: B008 -- a frozen value
    """The Kitfile that `kit init` would write for a directory; `depth` levels below it are looked at file by file.

    A negative depth means all levels. `warnings` say what could not be told.

    Raises:
        NotFoundError: there is no such directory.
        InvalidError: it cannot be read, or a name in it is not UTF-8.
    """

    def content(path: str) -> bytes | None:
        try:
            with (directory / path).open("rb") as file:
                return file.read(_MAX_READ)
        except OSError:
            return None

    kitfile = generate(scan(directory), package=package, depth=depth, content=content)
    for entry in kitfile.entries():
        if any("\udc80" <= char <= "\udcff" for char in entry.path):
            raise InvalidError(
                f"the name {os.fsencode(entry.path)!r} is not UTF-8 and cannot stand in a Kitfile",
                hint="rename the file",
            )
    return kitfile


def scan(root: Path) -> Directory:
    """The listing of a directory. Links count as what they point to (kit leaves them out), special files not at all.

    Raises:
        NotFoundError: there is no such directory.
        InvalidError: it, or a directory in it, cannot be read, or is nested deeper than can be packed.
    """
    return _scan(root, "", (os.path.realpath(root),))


def generate(
    root: Directory,
    *,
    package: Package = Package(),  # noqa: B008 -- a frozen value
    depth: int = 0,
    content: Callable[[str], bytes | None] = lambda _: None,
) -> Kitfile:
    """See `init`; `content` gives the bytes of a file of the listing, or None."""
    if root.skill:
        front = _front_matter(content(root.skill))
        prompt = Prompt(name=front.get("name", ""), path=".", description=front.get("description", ""))
        return Kitfile(package=_filled(package, front, "name", "description", "license"), prompts=(prompt,))
    draft = _Draft(content)
    found = draft.classify(root, depth)
    if len(found.unknown) > _CATCH_ALL_ABOVE:
        draft.code.append(Code(path="."))
    else:
        draft.code += [Code(path=file.path) for file in found.unknown]
    return draft.finish(found, package, root)


@dataclass(slots=True)
class _Found:
    """Files whose section depends on what else there is, and the licence of the root."""

    models: list[File] = field(default_factory=list)
    metadata: list[File] = field(default_factory=list)
    unknown: list[File] = field(default_factory=list)
    licence: str = ""


class _Draft:
    """A Kitfile in the making."""

    def __init__(self, content: Callable[[str], bytes | None]) -> None:
        self._content = content
        self._warnings: list[str] = []
        self.code: list[Code] = []
        self._datasets: list[Dataset] = []
        self._docs: list[Docs] = []
        self._prompts: list[Prompt] = []
        self._servers: list[McpServer] = []

    def classify(self, directory: Directory, depth: int) -> _Found:
        """Sorts the files of a directory one by one, and what is below down to `depth`."""
        found = _Found()
        if directory.skill:
            self._skill(directory)
            return found
        for file in directory.files:
            if file.name not in FILE_NAMES:
                self._file(file, found)
        for below in directory.directories:
            if depth == 0:
                found.models += self._whole(below)
                continue
            more = self.classify(below, depth - 1)
            found.models += more.models
            found.metadata += more.metadata
            self.code += [Code(path=file.path) for file in more.unknown]
        return found

    def finish(self, found: _Found, package: Package, root: Directory) -> Kitfile:
        """Gives model, metadata and licence their places."""
        model = _model(found.models)
        if model:
            model = replace(model, parts=model.parts + tuple(ModelPart(path=file.path) for file in found.metadata))
        else:
            self._datasets += [Dataset(path=file.path) for file in found.metadata]
        licence = self._licence(found.licence)
        if model and licence:
            model = replace(model, license=licence)
        elif len(self._datasets) == 1:
            self._datasets[0] = replace(self._datasets[0], license=licence)
        elif len(self.code) == 1:
            self.code[0] = replace(self.code[0], license=licence)
        else:
            package = replace(package, license=licence)
        if model:
            (model,) = _local([replace(model, parts=_local(model.parts))])
        kitfile = Kitfile(
            package=package,
            model=model,
            code=_local(self.code),
            datasets=_local(self._datasets),
            docs=_local(self._docs),
            prompts=_local(self._prompts),
            mcp_servers=_local(self._servers),
            warnings=tuple(self._warnings),
        )
        return replace(kitfile, package=self._package(kitfile, root))

    def _file(self, file: File, found: _Found) -> None:
        if is_readme(file.name):
            self._docs.append(Docs(path=file.path, description="Readme file"))
        elif is_licence(file.name):
            self._docs.append(Docs(path=file.path, description="License file"))
            found.licence = file.path
        else:
            kind = file_type(file.path)
            undecided = {
                FileType.MODEL: found.models,
                FileType.METADATA: found.metadata,
                FileType.UNKNOWN: found.unknown,
            }
            if kind in undecided:
                undecided[kind].append(file)
            else:
                self._entry(kind, file.path)

    def _entry(self, kind: FileType, path: str) -> None:
        if kind is FileType.DOCS:
            self._docs.append(Docs(path=path))
        elif kind is FileType.DATASET:
            self._datasets.append(Dataset(path=path))
        elif kind is FileType.PROMPT:
            self._prompts.append(Prompt(path=path))
        elif kind is FileType.MCP_SERVER:
            self._servers.append(McpServer(name=path.removesuffix(".mcpb"), path=path))
        else:
            self.code.append(Code(path=path))

    def _whole(self, directory: Directory) -> list[File]:
        """Takes a directory as one entry of the type of all its files; gives the model files in it."""
        path = f"{directory.path}/"
        if directory.skill:
            self._skill(directory)
            return []
        if directory.name == _DOCS_DIRECTORY or directory.name in _CODE_DIRECTORIES:
            self._entry(FileType.DOCS if directory.name == _DOCS_DIRECTORY else FileType.UNKNOWN, path)
            return []
        sorted_files: dict[FileType, list[File]] = {}
        for file in directory.files:
            sorted_files.setdefault(file_type(file.name), []).append(file)
        kinds = set(sorted_files) - {FileType.METADATA} | ({FileType.UNKNOWN} if directory.directories else set())
        models = sorted_files.get(FileType.MODEL, [])
        kind = kinds.pop() if len(kinds) == 1 else FileType.UNKNOWN
        if kind is FileType.MODEL:
            return models + sorted_files.get(FileType.METADATA, [])
        if kind is FileType.MCP_SERVER:
            for file in sorted_files[kind]:
                self._entry(kind, file.path)
        else:
            self._entry(kind, path)
        return models

    def _skill(self, directory: Directory) -> None:
        front = self._front(directory)
        name, description = front.get("name", ""), front.get("description", "")
        self._prompts.append(Prompt(name=name, path=f"{directory.path}/", description=description))

    def _front(self, directory: Directory) -> dict[str, str]:
        return _front_matter(self._content(directory.skill)) if directory.skill else {}

    def _licence(self, path: str) -> str:
        if not path:
            return ""
        licence = identify((self._content(path) or b"").decode("utf-8", "replace"))
        if not licence:
            self._warnings.append("Unable to determine license type")
        return licence

    def _package(self, kitfile: Kitfile, root: Directory) -> Package:
        """What the only skill says of itself, where a kit is nothing but prompts; the first skill's licence."""
        fronts = [front for below in root.directories if (front := self._front(below))]
        package = kitfile.package
        if len(fronts) == 1 and not (kitfile.model or kitfile.code or kitfile.datasets or kitfile.docs):
            package = _filled(package, fronts[0], "name", "description")
        return _filled(package, fronts[0], "license") if fronts else package


def _scan(directory: Path, path: str, above: tuple[str, ...]) -> Directory:
    files: list[File] = []
    directories: list[Directory] = []
    if path.count("/") >= MAX_DEPTH:
        raise InvalidError(f"failed to read directory {directory}: it is nested too deep")
    try:
        with os.scandir(directory) as found:
            items = sorted(found, key=lambda item: os.fsencode(item.name))
        for item in items:
            place = f"{path}/{item.name}" if path else item.name
            if item.is_file():
                files.append(File(item.name, place, item.stat().st_size))
            elif item.is_dir() and (real := os.path.realpath(item.path)) not in above:
                directories.append(_scan(Path(item.path), place, (*above, real)))
    except FileNotFoundError as error:
        raise NotFoundError(f"failed to read directory {directory}: there is no such directory") from error
    except OSError as error:
        raise InvalidError(f"failed to read directory {directory}: {error.strerror}") from error
    return Directory(path.rpartition("/")[2] or ".", path or ".", tuple(files), tuple(directories))


def _model(files: list[File]) -> Model | None:
    """The model among its files: the one far larger than the others, or the first, which then has no name."""
    if not files:
        return None
    largest = max(files, key=lambda file: file.size)
    average = sum(file.size for file in files) // len(files)
    if len(files) > 1 and largest.size <= average + average // 2:
        return Model(path=files[0].path, parts=tuple(ModelPart(path=file.path) for file in files[1:]))
    parts = tuple(ModelPart(path=file.path) for file in files if file != largest)
    return Model(name=largest.path.removesuffix(suffix(largest.name)), path=largest.path, parts=parts)


def _local(entries: Iterable[_Entry]) -> tuple[_Entry, ...]:
    """The entries, with `./` before a path that would read as the reference of a ModelKit or as a URL."""
    return tuple(entry if _is_local(entry.path) else replace(entry, path=f"./{entry.path}") for entry in entries)


def _is_local(path: str) -> bool:
    try:
        return place_of(path) is Place.LOCAL
    except InvalidError:
        return False


def _filled(package: Package, front: dict[str, str], *names: str) -> Package:
    """The package with what it does not say of itself yet."""
    known = {name: getattr(package, name) or front.get(name, "") for name in names}
    return Package(**{**{name: getattr(package, name) for name in Package.__slots__}, **known})


def _front_matter(content: bytes | None) -> dict[str, str]:
    """Name, description and licence at the head of a `SKILL.md`; empty where it has no readable head."""
    found = re.match(rb"---\n(.*?\n)---(?:\n|\Z)", (content or b"").replace(b"\r\n", b"\n"), re.DOTALL)
    if not found or not found[1].strip():
        return {}
    try:
        root = read(found[1])
    except KitcarError:
        return {}
    pairs = root.pairs if root else []
    faults: list[str] = []
    texts: dict[str, str] = dict.fromkeys(("name", "description", "license"), "")
    for key, value in pairs:
        if key.kind == "scalar" and key.text in texts and not value.is_null:
            if value.kind != "scalar":
                return {}
            scalar_of(value, lambda _, message: faults.append(message))
            texts[key.text] = value.text
    return {} if faults or len({key.text for key, _ in pairs}) < len(pairs) else texts
