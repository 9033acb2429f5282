"""`kitcar info`: the Kitfile of a modelkit, whole or one node of it."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitcar.cli.fault import failing
from kitcar.cli.inspect import REMOTE
from kitcar.cli.session import Session
from kitcar.cli.verb import Usage, exactly, verb
from kitcar.errors import InvalidError, NotFoundError
from kitcar.flags.flag import Call, Flag
from kitcar.flags.network import NETWORK_FLAGS

if TYPE_CHECKING:
    from kitcar.modelkit.kitfile import Kitfile
    from kitcar.modelkit.kitfile.shape import Member

_FILTER = Flag("filter", "Show one node, named by its keys with dots between: model.name", short="f")
_SELECTOR = re.compile(r"\.?[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*")


@verb(
    "info",
    Usage(
        "[flags] MODELKIT",
        "Show the Kitfile of a modelkit",
        """
        Prints the Kitfile of a modelkit as YAML, from local storage or, with --remote, from its registry.
        """,
        """
        # Show the Kitfile of a modelkit in local storage
        kitcar info iris:v1

        # Show the framework its model is made with
        kitcar info iris:v1 --filter model.framework

        # Show the Kitfile of a modelkit in a registry
        kitcar info --remote registry.example.com/team/iris:v1
        """,
    ),
    flags=(*NETWORK_FLAGS, REMOTE, _FILTER),
    takes=exactly(1),
)
def command(session: Session, call: Call) -> None:
    """Prints."""
    from kitcar.cli.lookup import find

    keys = selector(call.text("filter")) if call.text("filter") else ()
    kitfile = find(session, call).kitfile
    if not keys:
        text = kitfile.to_yaml()
    else:
        with failing("error filtering output"):
            text = yaml_of(select(kitfile, keys))
    session.console.write(text.decode("utf-8", "surrogateescape"))


def selector(text: str) -> tuple[str, ...]:
    """The keys of a node selector.

    Raises:
        InvalidError: it is not keys with dots between.
    """
    if "[" in text:
        raise InvalidError("invalid filter: array access using '[]' is not currently supported")
    if not _SELECTOR.fullmatch(text):
        raise InvalidError(f"invalid filter: invalid filter: {text}", hint="name keys with dots between: model.name")
    return tuple(text.removeprefix(".").split("."))


def select(kitfile: Kitfile, keys: tuple[str, ...]) -> Any:
    """The node that `keys` lead to, in any case of their letters; what this Kitfile leaves out is an empty value.

    Raises:
        NotFoundError: there is no such node.
    """
    from kitcar.modelkit.kitfile.shape import members

    node: Any = kitfile
    written: Any = kitfile.document(digests=False)
    for key in keys:
        if dataclasses.is_dataclass(node):
            of: Any = type(node)
            member = next((item for item in members(of) if item.key.lower() == key.lower()), None)
            if member is None:
                raise _missing(", ".join(item.key for item in members(of)))
            node = getattr(node, member.attribute)
            written = written.get(member.key, _empty(member, node)) if isinstance(written, Mapping) else None
        elif isinstance(node, Mapping) and key in node:
            node = written = node[key]
        else:
            raise _missing("")
    return written


def yaml_of(node: Any) -> bytes:
    """Any node as YAML of its own."""
    from kitcar.modelkit.kitfile.emit import write

    if isinstance(node, Mapping) and node:
        return write(node)
    listed = isinstance(node, (list, tuple)) and node
    text = write({"node": list(node) if listed else node}).decode("utf-8", "surrogateescape").removeprefix("node:")
    return (textwrap.dedent(text[1:]) if listed else text[1:]).encode("utf-8", "surrogateescape")


def _empty(member: Member, node: Any) -> Any:
    if member.form == "digest":
        return str(node) if node else ""
    return {"text": "", "texts": [], "many": [], "one": {}, "any": None}[member.form] if node is not None else None


def _missing(known: str) -> NotFoundError:
    return NotFoundError("cannot find required node", hint=f"there are {known}" if known else None)
