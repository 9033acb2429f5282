"""The part of Go's templates that `list --format` is used with.

Fields (`{{ .Repo }}`), pipelines, `range`, `if`, `else`, `with`, trimming (`{{-`), comments, literals and the functions below.
What is not here is refused, never passed over: a script must not read a wrong text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kitcar.errors import InvalidError, UnsupportedError

_ACTION = re.compile(r"\{\{(-(?=\s))?(.*?)((?<=\s)-)?\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>-?\d+)|(?P<field>(?:\$\w*)?(?:\.\w+)+|\.|\$\w*)"""
    r"""|(?P<word>\w+)|(?P<mark>[|()]|:=|,))"""
)
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class _Block:
    """A node of the template: text, an output, or a `range`, `if` or `with` with what it holds."""

    kind: str
    source: str = ""
    body: tuple[_Block, ...] = ()
    otherwise: tuple[_Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    blocks: tuple[_Block, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Reads a template.

        Raises:
            InvalidError: a block is not closed, or closed twice.
            UnsupportedError: it uses what kitcar does not know.
        """
        reading = _Parser(_split(text))
        blocks, end = reading.blocks()
        if end:
            raise InvalidError(f"template: unexpected {{{{{end}}}}}")
        return cls(blocks)

    def render(self, item: Mapping[str, Any]) -> str:
        """The text for one item.

        Raises:
            InvalidError: a field does not exist, or a function got the wrong arguments.
        """
        return _render(self.blocks, item, {"$": item})


def _split(text: str) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    position, trim = 0, False
    for action in _ACTION.finditer(text):
        between = text[position : action.start()]
        between = between.lstrip(_SPACE) if trim else between
        parts.append(("text", between.rstrip(_SPACE) if action[1] else between))
        inside = action[2].strip()
        if not (inside.startswith("/*") and inside.endswith("*/")):
            parts.append(("action", inside))
        position, trim = action.end(), bool(action[3])
    rest = text[position:]
    if "{{" in rest:
        raise InvalidError("template: unclosed action")
    parts.append(("text", rest.lstrip(_SPACE) if trim else rest))
    return parts


class _Parser:
    def __init__(self, parts: list[tuple[str, str]]) -> None:
        self._parts = parts

    def blocks(self) -> tuple[tuple[_Block, ...], str]:
        """Blocks up to the end or to the action that ends this body, which is given too.

        Raises:
            InvalidError: an action is malformed.
            UnsupportedError: an action is one of those that are left out.
        """
        found: list[_Block] = []
        while self._parts:
            kind, source = self._parts.pop(0)
            if kind == "text":
                if source:
                    found.append(_Block("text", source))
                continue
            word, _, rest = source.partition(" ")
            if word in {"end", "else"}:
                return tuple(found), source
            if word in {"range", "if", "with"}:
                found.append(self._nested(word, rest.strip()))
            elif word in {"define", "template", "block", "break", "continue"}:
                raise UnsupportedError(f"template: {word} is not supported", hint="use --format json and a JSON tool")
            else:
                _tokens(source)
                found.append(_Block("output", source))
        return tuple(found), ""

    def _nested(self, kind: str, source: str) -> _Block:
        _tokens(source)
        body, end = self.blocks()
        otherwise: tuple[_Block, ...] = ()
        if end.startswith("else "):
            word, _, rest = end.removeprefix("else ").strip().partition(" ")
            return _Block(kind, source, body, (self._nested(word, rest.strip()),))
        if end == "else":
            otherwise, end = self.blocks()
        if end != "end":
            raise InvalidError(f"template: {{{{{kind}}}}} is not closed with {{{{end}}}}")
        return _Block(kind, source, body, otherwise)


def _render(blocks: Sequence[_Block], dot: Any, names: dict[str, Any]) -> str:
    return "".join(_render_block(block, dot, names) for block in blocks)


def _render_block(block: _Block, dot: Any, names: dict[str, Any]) -> str:
    if block.kind == "text":
        return block.source
    declared, tokens = _declaration(_tokens(block.source))
    value = _pipeline(tokens, dot, names)
    if block.kind == "output":
        names.update(dict.fromkeys(declared, value))
        return "" if declared else text_of(value)
    inner = dict(names)
    if block.kind == "range":
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise InvalidError(f"template: range cannot iterate over {text_of(value)}")
        parts = []
        for index, item in enumerate(value):
            inner.update(zip(declared, (index, item) if len(declared) > 1 else (item,), strict=False))
            parts.append(_render(block.body, item, inner))
        return "".join(parts) if parts else _render(block.otherwise, dot, inner)
    inner.update(dict.fromkeys(declared, value))
    if not value:
        return _render(block.otherwise, dot, inner)
    return _render(block.body, value if block.kind == "with" else dot, inner)


def _tokens(source: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while source[position:].strip():
        found = _TOKEN.match(source, position)
        if not found:
            raise UnsupportedError(f"template: cannot read {source[position:].strip()!r}")
        tokens.append((str(found.lastgroup), found[found.lastgroup or 0]))
        position = found.end()
    if not tokens:
        raise InvalidError("template: missing value for command")
    for kind, word in tokens:
        if kind == "word" and word not in _FUNCTIONS and word not in _LITERALS:
            raise UnsupportedError(
                f'template: function "{word}" not defined', hint=f"known are {', '.join(sorted(_FUNCTIONS))}"
            )
    return tokens


def _declaration(tokens: list[tuple[str, str]]) -> tuple[list[str], list[tuple[str, str]]]:
    if ("mark", ":=") not in tokens:
        return [], tokens
    at = tokens.index(("mark", ":="))
    return [text for kind, text in tokens[:at] if kind == "field"], tokens[at + 1 :]


def _pipeline(tokens: list[tuple[str, str]], dot: Any, names: Mapping[str, Any]) -> Any:
    """Evaluates commands joined by `|`; the value of one is the last argument of the next."""
    commands: list[list[tuple[str, str]]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token[1], 0) if token[0] == "mark" else 0
        if token == ("mark", "|") and not depth:
            commands.append([])
        else:
            commands[-1].append(token)
    value: tuple[Any, ...] = ()
    for command in commands:
        value = (_command(command, dot, names, value),)
    return value[0]


def _command(tokens: list[tuple[str, str]], dot: Any, names: Mapping[str, Any], piped: tuple[Any, ...]) -> Any:
    operands = _operands(tokens, dot, names)
    if not operands:
        raise InvalidError("template: missing value for command")
    first, *rest = operands
    if not isinstance(first, _Function):
        if rest or piped:
            raise InvalidError("template: can't give argument to non-function")
        return first
    try:
        return first.call(*rest, *piped)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise InvalidError(f"template: error calling {first.name}: {error}") from error


def _operands(tokens: list[tuple[str, str]], dot: Any, names: Mapping[str, Any]) -> list[Any]:
    values: list[Any] = []
    rest = list(tokens)
    while rest:
        kind, text = rest.pop(0)
        if (kind, text) == ("mark", "("):
            inner, rest = _parenthesis(rest)
            values.append(_pipeline(inner, dot, names))
        elif kind == "mark":
            raise InvalidError(f"template: unexpected {text!r}")
        else:
            values.append(_operand(kind, text, dot, names))
    return values


def _parenthesis(tokens: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    depth = 1
    for at, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token[1], 0) if token[0] == "mark" else 0
        if not depth:
            return tokens[:at], tokens[at + 1 :]
    raise InvalidError("template: unclosed left paren")


def _operand(kind: str, text: str, dot: Any, names: Mapping[str, Any]) -> Any:
    if kind == "text":
        return text[1:-1] if text.startswith("`") else json.loads(text)
    if kind == "number":
        return int(text)
    if kind == "word":
        return _LITERALS[text] if text in _LITERALS else _Function(text, _FUNCTIONS[text])
    variable, _, path = text.partition(".")
    if variable and variable not in names:
        raise InvalidError(f'template: undefined variable "{variable}"')
    value = names[variable] if variable else dot
    for name in filter(None, path.split(".")):
        if not isinstance(value, Mapping) or name not in value:
            raise InvalidError(
                f"template: can't evaluate field {name}", hint="fields: Repo Tags Digest ModelName Size Author"
            )
        value = value[name]
    return value


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    call: Callable[..., Any]


def text_of(value: Any) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + " ".join(text_of(item) for item in value.values()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + " ".join(text_of(item) for item in value) + "]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(key, int) and key < 0:
            raise IndexError(f"index out of range: {key}")
        value = value[key]
    return value


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    return value[start:end]


def _printf(form: str, *values: Any) -> str:
    plain = re.sub(r"%([-+ #0]*\d*(?:\.\d+)?)v", r"%\1s", form)
    return plain.replace("%q", '"%s"') % tuple(item if isinstance(item, int) else text_of(item) for item in values)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _same(first: Any, *others: Any) -> bool:
    return any(first == other for other in others)


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


_LITERALS: Mapping[str, Any] = {"true": True, "false": False, "nil": None}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "and": _and,
    "eq": _same,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "index": _index,
    "join": lambda items, between: between.join(items),
    "json": _json,
    "le": lambda a, b: a <= b,
    "len": len,
    "lower": str.lower,
    "lt": lambda a, b: a < b,
    "ne": lambda a, b: a != b,
    "not": lambda value: not value,
    "or": _or,
    "print": lambda *values: "".join(text_of(value) for value in values),
    "printf": _printf,
    "println": lambda *values: " ".join(text_of(value) for value in values) + "\n",
    "slice": _slice,
    "upper": str.upper,
}
