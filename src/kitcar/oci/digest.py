"""Content digests (OCI image specification, descriptor.md, Digests)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitcar.errors import InvalidError, UnsupportedError

if TYPE_CHECKING:
    from hashlib import _Hash

_SHAPE = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm and the hexadecimal value it gave; `parse` and `str` are inverses."""

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Reads `algorithm:hex`.

        Raises:
            InvalidError: the text is no digest, or its value has the wrong length or alphabet.
            UnsupportedError: the algorithm is none of sha256, sha384 and sha512.
        """
        if not _SHAPE.fullmatch(text):
            raise InvalidError(f"{text!r} is not a digest", hint="a digest looks like sha256:<64 hexadecimal digits>")
        algorithm, encoded = text.split(":", 1)
        length = _HEX_LENGTH.get(algorithm)
        if length is None:
            raise UnsupportedError(
                f"digest algorithm {algorithm!r} is not supported", hint="sha256, sha384 and sha512 are"
            )
        if len(encoded) != length or not set(encoded) <= set("0123456789abcdef"):
            raise InvalidError(f"{text!r} is not a {algorithm} digest: {length} lower-case hexadecimal digits expected")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of `data`."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def from_hasher(cls, hasher: _Hash) -> Digest:
        """The digest a `hashlib` object has reached."""
        return cls(hasher.name, hasher.hexdigest())

    def hasher(self) -> _Hash:
        """A fresh `hashlib` object of this algorithm."""
        return hashlib.new(self.algorithm)

    @property
    def short(self) -> str:
        """The first twelve digits, for people."""
        return self.encoded[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"
