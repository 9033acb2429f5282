"""JSON to the byte as Go's `encoding/json` writes it, so that digests agree with artifacts made by Go programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_PLAIN_FROM, _PLAIN_BELOW = -6, 21


def encode(value: Any, *, indent: int = 0) -> bytes:
    """`value` as Go's `json.Marshal` (or `MarshalIndent` with `indent` blanks) writes it, without a final newline.

    Members keep the order of their mapping; sort those that stand for a Go map first (see `sort_keys`).
    """
    return _text(value, indent, 0).encode("utf-8", "surrogateescape")


def sort_keys(value: Any) -> Any:
    """`value` with every mapping in it ordered by key, as Go writes maps."""
    if isinstance(value, Mapping):
        return {str(key): sort_keys(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [sort_keys(item) for item in value]
    return value


def _text(value: Any, indent: int, depth: int) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        items = [
            f"{_text(str(k), 0, 0)}:{' ' if indent else ''}{_text(v, indent, depth + 1)}" for k, v in value.items()
        ]
        return _wrap("{", items, "}", indent, depth)
    if isinstance(value, Sequence):
        return _wrap("[", [_text(item, indent, depth + 1) for item in value], "]", indent, depth)
    return _text(str(value), indent, depth)


def _wrap(start: str, items: list[str], end: str, indent: int, depth: int) -> str:
    if not items or not indent:
        return start + ",".join(items) + end
    pad = "\n" + " " * (indent * (depth + 1))
    return start + pad + ("," + pad).join(items) + "\n" + " " * (indent * depth) + end


def _float(value: float) -> str:
    """Go's shortest form: plain from 1e-6 up to 1e21, beyond that with a signed exponent (`1.5e+30`, `1e-7`)."""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no JSON form")
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    negative, figures, scale = Decimal(repr(value)).normalize().as_tuple()
    digits = "".join(map(str, figures))
    exponent = len(digits) - 1 + int(scale)
    if _PLAIN_FROM <= exponent < _PLAIN_BELOW:
        return format(Decimal(repr(value)).normalize(), "f")
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{'-' if negative else ''}{mantissa}e{exponent:+d}"
