"""`kitcar list`: the modelkits of local storage or of a repository, as a table, JSON or through a template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitcar.cli import naming
from kitcar.cli.fault import failing
from kitcar.cli.listing import Row, list_local, list_remote
from kitcar.cli.network import Network
from kitcar.cli.output import table
from kitcar.cli.session import Session
from kitcar.cli.verb import Arity, Usage, verb
from kitcar.errors import InvalidError
from kitcar.flags.flag import Call, Flag, Kind
from kitcar.flags.network import NETWORK_FLAGS, concurrency_of
from kitcar.oci.encoding import encode

if TYPE_CHECKING:
    from kitcar.cli.template import Template
    from kitcar.modelkit.select import Selection

_HEADER = ("REPOSITORY", "TAG", "MAINTAINER", "NAME", "SIZE", "DIGEST")
_FORMAT = Flag("format", "table, json, or a Go template for each modelkit", default="table", choices=("table", "json"))
_FILTER = Flag(
    "filter", "Only modelkits that have such an entry: model, datasets:NAME (may be repeated)", Kind.TEXTS, "f"
)
_USAGE = Usage(
    "[flags] [REPOSITORY]",
    "List modelkits, here or in a registry",
    """
    Without an argument, lists the modelkits of local storage; with one, those of a repository in a registry, or the one
    that its tag names. A modelkit with several tags has a line for each.

    SIZE is the sum of a modelkit's layers. NAME and MAINTAINER are the package's name and first author.

    A filter is TYPES[:NAMES]: kinds of entries (kitfile, model, datasets, code, docs, prompts, mcpservers) and, if
    wanted, names or paths, both with commas between. A modelkit is shown if it has an entry that one of the filters
    takes.

    A template is rendered for each modelkit, with the fields .Repo .Digest .Tags .ModelName .Size .Author and the
    functions join, json, index, len, printf, eq, ne, and, or, not besides range, if and with.
    """,
    """
    # List what is on this machine
    kitcar list

    # List a repository in a registry
    kitcar list registry.example.com/team/iris

    # Print a line of one's own for each modelkit that has prompts
    kitcar list -f prompts --format '{{ .Repo }} {{ join .Tags "," }}'
    """,
)


@verb("list", _USAGE, flags=(_FORMAT, _FILTER, *NETWORK_FLAGS), takes=Arity(0, 1))
def command(session: Session, call: Call) -> None:
    """Lists."""
    with failing("Invalid arguments"):
        reference = naming.several(call.arguments[0], what="invalid reference") if call.arguments else None
        if reference and reference[1]:
            raise InvalidError("repository cannot reference multiple tags")
        if reference and reference[0].is_local:
            raise InvalidError(
                f"registry is required when listing a repository ({call.arguments[0]})",
                hint="without an argument, the modelkits of this machine are listed",
            )
        concurrency_of(call)
        remote = (Network.of(session, call), reference[0]) if reference else None
        template = _template(call.text(_FORMAT.name))
        selection = _selection(call.texts(_FILTER.name))
    rows = list_remote(session, *remote, selection) if remote else list_local(session, selection)
    session.console.write(_text(rows, call.text(_FORMAT.name), template))


def _template(form: str) -> Template | None:
    if form in {"", "table", "json"}:
        return None
    from kitcar.cli.template import Template

    return Template.parse(form)


def _selection(filters: tuple[str, ...]) -> Selection:
    from kitcar.modelkit.select import Filter, Selection

    parsed = []
    for text in filters:
        with failing(f'invalid filter "{text}"'):
            parsed.append(Filter.parse(text))
    return Selection(tuple(parsed))


def _text(rows: list[Row], form: str, template: Template | None) -> str:
    if template is not None:
        end = "" if form.endswith("\n") else "\n"
        return "".join(template.render(row.fields()) + end for row in rows)
    if form == "json":
        return encode([row.document() for row in rows], indent=2).decode("utf-8", "surrogateescape") + "\n"
    return table([_HEADER, *(line for row in rows for line in row.lines())])
