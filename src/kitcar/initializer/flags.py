"""`KIT_UNPACK_FLAGS` and `EXTRA_FLAGS`: the flags of `unpack` as one text, read with a shell's quotes."""

from __future__ import annotations

import re
import shlex

from kitcar.errors import InvalidError
from kitcar.flags.flag import Call, FlagError, parse
from kitcar.flags.general import GLOBAL_FLAGS, HELP
from kitcar.flags.network import NETWORK_FLAGS, concurrency_of
from kitcar.flags.unpack import UNPACK_FLAGS

_FLAGS = (*UNPACK_FLAGS, *NETWORK_FLAGS, *GLOBAL_FLAGS, HELP)
_USERINFO = re.compile(r"(://)[^/\s'\"]*@")
_REFUSED = {"as-skill": "a storage initializer installs no agent skills", "help": "help is no work for a container"}


def shown_flags(text: str) -> str:
    """The flags as they may be logged: a URL, as that of a proxy, without its name and password."""
    return _USERINFO.sub(r"\1***@", text)


def parse_flags(text: str, where: str = "KIT_UNPACK_FLAGS") -> Call:
    """Reads one text of flags; `where` is the variable's name for messages.

    Raises:
        InvalidError: a quote is open, a flag is unknown, lacks its value or has a wrong one, or a word is no flag.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidError(f"{where}: {str(error).lower()} in {shown_flags(text)!r}") from None
    try:
        call = parse(_FLAGS, words)
        concurrency_of(call)
    except (FlagError, InvalidError) as error:
        raise InvalidError(
            f"{where}: {shown_flags(str(error))}", hint="the flags are those of `kitcar unpack`"
        ) from None
    for name in sorted(call.given & _REFUSED.keys()):
        raise InvalidError(f"{where}: --{name} cannot be used here", hint=_REFUSED[name])
    if call.arguments:
        hint = "a flag's value goes behind '=', or in quotes"
        raise InvalidError(f"{where}: unexpected argument {shown_flags(call.arguments[0])!r}", hint=hint)
    return call
