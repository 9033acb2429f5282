"""`kitcar __complete`: what may stand where the cursor is, one candidate a line, asked by the scripts of `completion`.

A line is a candidate, a tab and a description, or an order to the script: `:files`, `:directories`, `:nospace`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import click

from kitcar.cli.session import GlobalFlags, Session
from kitcar.cli.verb import Arity, Usage, Verb, verb
from kitcar.errors import KitcarError
from kitcar.flags.flag import Call, Flag, FlagError, parse
from kitcar.flags.general import GLOBAL_FLAGS, HELP

_FILES, _DIRECTORIES, _NOSPACE = ":files", ":directories", ":nospace"
_DIRECTORY_FLAGS = frozenset({"dir", "config", "root"})
_FILE_FLAGS = frozenset({"file", "cert", "key", "tls-cert", "output", "htpasswd"})
_REFERENCES = {"push": 2, "tag": 2, "unpack": 1, "info": 1, "inspect": 1, "remove": 1}
_ARGUMENT_PLACES = {"pack": _DIRECTORIES, "init": _DIRECTORIES, "run": _FILES, "initializer": _DIRECTORIES}


@verb("__complete", Usage("-- WORD…", "Answer a shell's question"), takes=Arity())
def command(session: Session, call: Call) -> None:
    """Prints the candidates for the last word."""
    *before, word = call.arguments or ("",)
    root = click.get_current_context().find_root()
    for line in candidates(session, root, before, word):
        session.console.write(line + "\n")


def candidates(session: Session, root: click.Context, before: list[str], word: str) -> Iterator[str]:
    """The lines for `word`, which stands behind `before`."""
    found, context, rest = root.command, root, list(before)
    session = _under(session, before)
    while isinstance(found, click.Group):
        name, rest = _next_argument(rest)
        if name is None:
            break
        deeper = found.get_command(context, name)
        if deeper is None:
            return
        found, context = deeper, click.Context(deeper, context, info_name=name)
    flags = (*(found.flags if isinstance(found, Verb) else ()), HELP, *GLOBAL_FLAGS)
    waiting = _waiting(flags, rest)
    name, equals, _ = word.partition("=")
    inline = next((flag for flag in flags if equals and name == f"--{flag.name}"), None)
    if waiting or inline:
        yield from _values(waiting or inline, f"{name}=" if inline and not waiting else "")
    elif word.startswith("-"):
        yield from (f"--{flag.name}\t{flag.help}" for flag in flags if f"--{flag.name}".startswith(word))
    elif isinstance(found, click.Group):
        yield from _commands(found, context, word)
    else:
        yield from _arguments(session, found, _positional(flags, rest), rest, word)


def _commands(group: click.Group, context: click.Context, word: str) -> Iterator[str]:
    shorts = getattr(group, "verbs", {})
    yield from (f"{name}\t{shorts.get(name, '')}" for name in group.list_commands(context) if name.startswith(word))


def _arguments(
    session: Session, found: click.Command, given: tuple[str, ...], words: list[str], word: str
) -> Iterator[str]:
    name = found.name or ""
    if name == "completion" and not given:
        yield from (shell for shell in ("bash", "fish", "zsh") if shell.startswith(word))
    elif name == "help":
        root = click.get_current_context().find_root()
        yield from _commands(root.command, root, word) if isinstance(root.command, click.Group) else ()
    elif name in _ARGUMENT_PLACES:
        yield _ARGUMENT_PLACES[name]
    elif name == "push" and not given and word.startswith((".", "/", "~")):
        yield _DIRECTORIES
    elif len(given) < _REFERENCES.get(name, 0) and not {"--remote", "-r", "--all", "-a"} & set(words):
        yield from references(session, word)


def references(session: Session, word: str) -> Iterator[str]:
    """Local modelkits as far as `word` needs them: names first, then tags behind `:` and digests behind `@`."""
    from kitcar.stores.layout import LayoutStore

    try:
        store = LayoutStore(session.settings.storage)
        names = store.repositories()
    except KitcarError:
        return
    for name in names:
        shown = name.removeprefix("localhost/")
        repository = store.repository(name)
        try:
            tags = list(repository.tags())
            digests = [str(item.digest) for item in repository.manifests()]
        except KitcarError:
            continue
        if "@" in word:
            yield from (f"{shown}@{digest}" for digest in digests if f"{shown}@{digest}".startswith(word))
        elif word.startswith(f"{shown}:"):
            yield from (f"{shown}:{tag}" for tag in tags if f"{shown}:{tag}".startswith(word))
        elif shown.startswith(word):
            if len(tags) > 1:
                yield _NOSPACE
            yield f"{shown}:{tags[0]}" if len(tags) == 1 else f"{shown}:" if tags else shown


def _values(flag: Flag | None, prefix: str) -> Iterator[str]:
    if flag is None:
        return
    if flag.choices:
        yield from (prefix + choice for choice in flag.choices)
    elif flag.name in _DIRECTORY_FLAGS:
        yield _DIRECTORIES
    elif flag.name in _FILE_FLAGS:
        yield _FILES


def _waiting(flags: tuple[Flag, ...], words: list[str]) -> Flag | None:
    """The flag whose value the next word is."""
    if not words or not words[-1].startswith("-") or "=" in words[-1]:
        return None
    last = words[-1]
    for flag in flags:
        if flag.takes_value and (
            last == f"--{flag.name}" or (flag.short and last.endswith(flag.short) and last[1] != "-")
        ):
            return flag
    return None


def _positional(flags: tuple[Flag, ...], words: list[str]) -> tuple[str, ...]:
    """The arguments among the words; flags that are wrong so far do not matter."""
    try:
        return parse(flags, words).arguments
    except FlagError:
        return tuple(word for word in words if not word.startswith("-"))


def _next_argument(words: list[str]) -> tuple[str | None, list[str]]:
    """The first word that is no flag and no flag's value, and what stands behind it."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            return word, rest
        if any(word == f"--{flag.name}" and flag.takes_value for flag in GLOBAL_FLAGS) and rest:
            rest.pop(0)
    return None, words


def _under(session: Session, words: list[str]) -> Session:
    """The session of the line that is completed: `--config` counts."""
    for first, second in itertools.pairwise([*words, ""]):
        directory = second if first == "--config" else first.partition("=")[2] if first.startswith("--config=") else ""
        if directory:
            return session.with_flags(GlobalFlags(config=directory))
    return session
