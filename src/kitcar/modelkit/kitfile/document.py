"""The Kitfile as JSON: a ModelKit's config, byte for byte as Go's `encoding/json` writes kit's structures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from kitcar.errors import InvalidError
from kitcar.modelkit.kitfile import emit
from kitcar.modelkit.kitfile.shape import Member, members
from kitcar.modelkit.kitfile.values import Docs, Kitfile, Package
from kitcar.oci.digest import Digest
from kitcar.oci.encoding import encode, sort_keys

MAX_DEPTH = 100
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode_json(kitfile: Kitfile) -> bytes:
    """See `Kitfile.to_json`."""
    return encode(document(kitfile))


def document(kitfile: Kitfile, *, digests: bool = True) -> dict[str, Any]:
    """See `Kitfile.document`; without digests it is what the YAML form holds, in that form's order of keys."""
    return _members(kitfile, digests=digests)


def decode_json(raw: bytes | str, where: str) -> Kitfile:
    """See `Kitfile.from_json`."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    try:
        value = json.loads(text, parse_int=_float, parse_float=_float, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{where}: failed to parse config: {error}") from error
    if value is None:
        return Kitfile(manifest_version="")
    kitfile: Kitfile = _object(Kitfile, value, where)
    return kitfile


def _members(value: Any, *, digests: bool) -> dict[str, Any]:
    result: dict[str, Any] = {}
    of: type = type(value)
    for member in members(of):
        item = getattr(value, member.attribute)
        if member.form == "digest":
            if digests and item is not None:
                result[member.key] = str(item)
        elif item is not None and (member.form == "any" or item not in ("", ()) or _always(value, member)):
            result[member.key] = _plain(member, item, digests=digests)
    if not digests and isinstance(value, Kitfile) and value.package == Package():
        del result["package"]
    return result


def _always(value: Any, member: Member) -> bool:
    return (isinstance(value, Kitfile) and member.key == "manifestVersion") or (
        isinstance(value, Docs) and member.key == "path"
    )


def _plain(member: Member, item: Any, *, digests: bool) -> Any:
    if member.form == "one":
        return _members(item, digests=digests)
    if member.form == "many":
        return [_members(one, digests=digests) for one in item]
    if member.form == "any":
        return sort_keys(item) if digests else emit.natural(item)
    if member.form == "texts":
        return list(item) if digests else emit.Flow(item)
    return item


def _object(of: type, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise InvalidError(f"{where} must be an object")
    # Go finds a member in any case of its letters.
    folded = {key.lower(): item for key, item in value.items()}
    dot = ": " if of is Kitfile else "."
    arguments: dict[str, Any] = {"manifest_version": ""} if of is Kitfile else {}
    for member in members(of):
        item = value.get(member.key, folded.get(member.key.lower()))
        if item is not None:
            arguments[member.attribute] = _read(member, item, f"{where}{dot}{member.key}")
    return of(**arguments)


def _read(member: Member, item: Any, where: str) -> Any:
    if member.form == "one" and member.of:
        return _object(member.of, item, where)
    if member.form == "any":
        return _tidy(item, where, 0)
    if member.form in {"many", "texts"}:
        if not isinstance(item, list):
            raise InvalidError(f"{where} must be a list")
        if member.form == "texts":
            return tuple(_text("" if one is None else one, f"{where}[{n}]") for n, one in enumerate(item))
        assert member.of
        return tuple(_object(member.of, {} if one is None else one, f"{where}[{n}]") for n, one in enumerate(item))
    text = _text(item, where)
    if member.form == "digest":
        return Digest.parse(text) if text else None
    return text


def _text(item: Any, where: str) -> str:
    if not isinstance(item, str):
        raise InvalidError(f"{where} must be a text")
    return _SURROGATE.sub("\ufffd", item)


def _tidy(item: Any, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise InvalidError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(item, dict):
        return {_text(key, where): _tidy(value, where, depth + 1) for key, value in item.items()}
    if isinstance(item, list):
        return [_tidy(value, where, depth + 1) for value in item]
    return _text(item, where) if isinstance(item, str) else item


def _float(text: str) -> float:
    """A number as Go reads it where no type is named: always a float."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text} is out of range")
    return value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
