"""Which licence a text is, as an SPDX identifier, by runs of words and phrases that only that licence has.

It knows the licences that models, data and their code are usually given under (`licences.txt`). Nothing is guessed from a
resemblance: any other text is left for a person to name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

_WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)*")
_GAP = re.compile(r"_(\d+)_")
_URL = re.compile(r"https?://[-a-z0-9_.]+\.(?:org|com)(?:/[-a-z0-9_.#?=]+)+", re.IGNORECASE)
_LETTERS = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
_ADDRESSES = {
    "creativecommons.org/publicdomain/zero/1.0": "CC0-1.0",
    **{
        f"creativecommons.org/licenses/{letters}/{version}": f"CC-{letters.upper()}-{version}"
        for letters in _LETTERS
        for version in ("3.0", "4.0")
    },
}


def identify(text: str) -> str:
    """The one licence a text is; empty where it is none that is known, or several.

    A text that is no licence itself but gives the address of one of Creative Commons is that licence.
    """
    words = " ".join(_WORD.findall(text.lower()))
    found = [mark.spdx for mark in _marks() for _ in range(mark.count(f" {words} "))]
    if len(set(found)) > 1 or len(found) > 1:
        return ""
    return found[0] if found else _by_address(text)


@dataclass(frozen=True, slots=True)
class _Mark:
    """One way to recognise a licence; `parts` are a sign (`~`, `+`, `-`) and words."""

    spdx: str
    parts: tuple[tuple[str, str], ...]

    def count(self, words: str) -> int:
        """How many times the licence stands in a text of words; what must not occur makes it none."""
        if any(sign == "-" and f" {phrase} " in words for sign, phrase in self.parts):
            return 0
        return min(_count(sign, phrase, words) for sign, phrase in self.parts if sign != "-")


def _marks() -> list[_Mark]:
    text = resources.files("kitcar.modelkit.init").joinpath("licences.txt").read_text(encoding="utf-8")
    lines = re.sub(r"\n +", " ", text).splitlines()
    marks: list[_Mark] = []
    for line in lines:
        sign, _, rest = line.partition(" ")
        if sign == "=":
            marks.append(_Mark(rest, ()))
        elif sign in {"~", "+", "-"}:
            marks[-1] = _Mark(marks[-1].spdx, (*marks[-1].parts, (sign, rest)))
    return marks


def _count(sign: str, phrase: str, words: str) -> int:
    if sign == "+":
        return int(f" {phrase} " in words)
    pattern = "".join(_GAP.sub(r"(?:\\S+ ){0,\1}", word) if _GAP.fullmatch(word) else word for word in _tokens(phrase))
    return len(re.findall(f" {pattern}", words))


def _tokens(phrase: str) -> list[str]:
    """The phrase as pieces of an expression over words, each with the blank that follows it."""
    spaced = re.sub(r"([\[\](|)])", r" \1 ", phrase)
    signs = {"[": "(?:", "]": ")?", "(": "(?:", ")": ")", "|": "|"}
    return [
        signs.get(piece) or (piece if _GAP.fullmatch(piece) else f"{re.escape(piece)} ") for piece in spaced.split()
    ]


def _by_address(text: str) -> str:
    found = {
        _ADDRESSES.get(re.sub(r"^https?://(www\.)?", "", address.lower().rstrip("/")).removesuffix("/legalcode"), "")
        for address in _URL.findall(text)
    } - {""}
    return found.pop() if len(found) == 1 else ""
