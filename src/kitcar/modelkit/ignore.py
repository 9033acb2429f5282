"""`.kitignore`: which paths stay out of layers, with the exact meaning that moby's patternmatcher gives a `.dockerignore`.

Patterns are anchored at the context, `**` spans directories, `!` takes back, the last word counts, and what holds for a
directory holds for all below it. A Kitfile and the `.kitignore` itself are always left out.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kitcar.errors import Fault, InvalidError
from kitcar.modelkit.glob import BadPatternError, compile_glob
from kitcar.modelkit.kitfile import FILE_NAMES

IGNORE_FILE = ".kitignore"
ALWAYS_IGNORED = (*FILE_NAMES, IGNORE_FILE)

Hits = tuple[bool, ...]
"""For each pattern in order: whether it matches a directory or one of the directories above it."""

_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_REPEATED_SLASHES = re.compile("^//+")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line: its cleaned text, whether it takes back (`!`), and the test of one path."""

    text: str
    exclusion: bool
    test: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """Patterns in order."""

    patterns: tuple[Pattern, ...]

    @classmethod
    def parse(cls, content: bytes = b"", where: str = IGNORE_FILE) -> IgnoreRules:
        """Reads an ignore file and adds what is always ignored.

        Raises:
            InvalidError: patterns are malformed; all of them are reported, with their lines.
        """
        patterns, faults = [], []
        for number, line in _lines(content):
            try:
                patterns += _pattern(line)
            except BadPatternError as error:
                faults.append(Fault(f"{line!r} is no pattern: {error}", number, 1))
        if faults:
            raise InvalidError(
                f"invalid {where} file: {'; '.join(map(str, faults))}",
                faults=tuple(faults),
                hint="patterns are those of a .dockerignore file",
            )
        return cls((*patterns, *(pattern for name in ALWAYS_IGNORED for pattern in _pattern(name))))

    @property
    def takes_back(self) -> bool:
        """Whether a pattern starts with `!`, so that something below an ignored directory may count again."""
        return any(pattern.exclusion for pattern in self.patterns)

    def ignores(self, path: str) -> bool:
        """Whether `path`, relative to the context and clean, is left out."""
        return self.verdict(self.hits(path))

    def hits(self, path: str) -> Hits:
        """Which patterns match `path` or a directory above it."""
        found: Hits = self.no_hits
        cut = path.find("/")
        while cut >= 0:
            found = self.below(found, path[:cut])
            cut = path.find("/", cut + 1)
        return self.below(found, path)

    @property
    def no_hits(self) -> Hits:
        """The hits of the context itself."""
        return (False,) * len(self.patterns)

    def below(self, above: Hits, path: str) -> Hits:
        """The hits of `path`, given those of the directory it is in."""
        return tuple([hit or pattern.test(path) for hit, pattern in zip(above, self.patterns, strict=True)])

    def verdict(self, hits: Hits) -> bool:
        """Whether a path with these hits is left out: the last pattern that changes the answer decides."""
        ignored = False
        for hit, pattern in zip(hits, self.patterns, strict=True):
            if hit:
                ignored = not pattern.exclusion
        return ignored

    def sparing(self, path: str) -> IgnoreRules:
        """These rules without those that hit `path` itself, for a path that was named explicitly."""
        hits = self.hits(path)
        return IgnoreRules(tuple(p for p, hit in zip(self.patterns, hits, strict=True) if p.exclusion or not hit))


def _lines(content: bytes) -> Iterable[tuple[int, str]]:
    """Numbered patterns: no comments, no blank lines, no leading slash."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n"), 1):
        pattern = line.strip(_SPACES)
        if line.startswith("#") or not pattern:
            continue
        mark = "!" if pattern.startswith("!") else ""
        pattern = pattern.removeprefix("!").strip(_SPACES) if mark else pattern
        if pattern:
            pattern = _clean(pattern)
            pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
        yield number, mark + pattern


def _pattern(line: str) -> list[Pattern]:
    text = _clean(line.strip(_SPACES))
    exclusion = text.startswith("!")
    if exclusion and text == "!":
        raise BadPatternError("nothing follows the exclamation mark")
    text = text.removeprefix("!") if exclusion else text
    return [Pattern(text, exclusion, compile_glob(text))]


def _clean(path: str) -> str:
    return posixpath.normpath(_REPEATED_SLASHES.sub("/", path))
