"""Headers and ignore rules against the Go libraries that kit uses."""

from __future__ import annotations

import base64
import json
import os
import random
import string
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kitcar.errors import InvalidError
from kitcar.modelkit import tarwriter
from kitcar.modelkit.ignore import IgnoreRules

LENGTHS = (1, 50, 98, 99, 100, 101, 102, 154, 155, 156, 157, 200, 254, 255, 256, 257, 300, 600, 990, 5000)
SIZES = (0, 1, 511, 512, 4096, 2**31, 8**11 - 1, 8**11, 8**11 + 1, 2**40)
ALPHABET = "aab/*?*.!b\\[]^-c"
PATTERNS = (
    "# comment\n\n  *.log  \n/rooted\ndir/\n!dir/keep\n",
    "\ufeff*.bom\n",
    "**\n!a/b\n",
    "**/*.md\n!README.md\n",
    "a**/b\n**/c/**\nd/**\n**e\n**\n",
    "x[a-c]\nx[^a-c]\n[[:digit:]]y\n[^[:alpha:]]z\n",
    "\\d\\w\\s\\D\\W\n\\*\n\\.\n",
    "a^b\n^a*\na(b)*\n{a,b}\n$x?\n+y*\n",
    "[a*]b\n[?]x\n[**]\n[a-]\n",
    "./a/../b\n../c\n//d//e\n!/f\n! g\n",
    "***\na***b\n?\n??\n",
    "a\\/b\n",
    "[z-a]\n",
    "[\n",
    "[]a]\n",
    "!\n",
    "\\\n",
    "\\Q*\n",
    "\\b*a\n\\Ax*\n*\\z\n",
    "[[:nope:]]\n",
    "[[:alpha:]\n",
    "[[:alpha:]b\n",
    "[a-\\d]\n",
    "[\\d-a]\n",
    "[[:digit:]-a]\n",
    "[a-\\t]\n",
    "[\\t-a]\n",
    "[\\d-z]*\n[\\]]*\n[\\^a]*\n",
    "a\\t*\n\\é*\n*é\n*?é\n",
    "dir1\n!dir1/testfile.txt\ndir1/testfile.txt/x\n",
    "Kitfile\n!Kitfile\n!**\n",
    "\x0bvertical*\x0b\n\x1cfile*\n\xa0nbsp\xa0\n",
    "crlf*\r\nsecond\r\n",
)
PATHS = tuple(
    r"""
    a a/b b dir dir/keep dir/keep/x dir1/testfile.txt dir1/other x.log sub/x.log rooted rooted/x README.md
    sub/README.md c d d/e d/e/f ee xe xa xd 1y ay 1z az \d a^b ^a a(b) a(b)c {a,b} $xy +y [a*]b ab *b ]x ][
    a/x/b axb f g .kitignore Kitfile sub/Kitfile kitfile/x a- - _a a_a é aé abé vertical1 file1 nbsp crlf1 second
    x.bom x/c/y c/y testé x ax xx *
""".split()  # noqa: SIM905
)


def ask(formats: Path, questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    text = "\n".join(json.dumps(question) for question in questions)
    done = subprocess.run([formats], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def names() -> list[bytes]:
    found = [
        b"a",
        "ä".encode(),
        b"\xff\xfe",
        b"a" * 99 + b"/b",
        "é/é".encode() * 40,
        b"d" * 98 + "/é/x".encode() + b"y" * 40,
    ]
    chance = random.Random(1)
    for length in LENGTHS:
        for alphabet in (
            "a",
            "ab/",
            "abcdefghij/",
            "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz/",
            "aé/",
            "日本/x",
        ):
            for _ in range(6):
                text = "".join(chance.choice(alphabet) for _ in range(length))
                parts = [part for part in text.split("/") if part]
                found.append("/".join(parts).encode() or b"x")
    return found


def test_header_of_any_name_size_and_mode_is_what_go_writes(formats: Path) -> None:
    chance = random.Random(2)
    cases = []
    for name in names():
        directory = chance.random() < 0.3
        size = 0 if directory else chance.choice(SIZES)
        cases.append((name, chance.randrange(0o10000), size, directory))
    answers = ask(
        formats,
        [{"Name": encoded(n), "Mode": mode, "Size": size, "Directory": d} for n, mode, size, d in cases],
    )
    for (name, mode, size, directory), answer in zip(cases, answers, strict=True):
        assert answer["Error"] == ""
        written = tarwriter.header(name, mode=mode, size=size, directory=directory)
        assert written == base64.b64decode(answer["Header"]), (name, mode, size, directory)
        assert len(written) == tarwriter.header_size(name, size)


@pytest.mark.parametrize("text", PATTERNS)
def test_ignore_file_means_what_moby_makes_of_it(formats: Path, text: str) -> None:
    compare(formats, [(text, PATHS)])


def test_ignore_file_of_any_patterns_means_what_moby_makes_of_it(formats: Path) -> None:
    chance = random.Random(3)
    cases = []
    for _ in range(2000):
        lines = [
            "".join(chance.choice(ALPHABET) for _ in range(chance.randrange(1, 8)))
            for _ in range(chance.randrange(1, 4))
        ]
        paths = []
        for _ in range(12):
            parts = ["".join(chance.choice("aabc.-!\\[]^*?") for _ in range(chance.randrange(1, 4))) for _ in range(3)]
            path = "/".join(part for part in parts[: chance.randrange(1, 4)] if part not in {".", ".."})
            paths.append(path or "a")
        cases.append(("\n".join(lines) + "\n", paths))
    compare(formats, cases)


@pytest.mark.parametrize("letter", string.printable.strip())
def test_backslash_before_any_character_means_what_moby_makes_of_it(formats: Path, letter: str) -> None:
    compare(
        formats,
        [
            (f"{form}\n", [*string.printable.strip().replace("/", ""), "a b"])
            for form in (f"?\\{letter}", f"[\\{letter}]")
        ],
    )


def compare(formats: Path, cases: Sequence[tuple[str, Sequence[str]]]) -> None:
    questions = [{"Ignore": encoded(os.fsencode(text)), "Paths": list(paths)} for text, paths in cases]
    for (text, paths), answer in zip(cases, ask(formats, questions), strict=True):
        try:
            rules = IgnoreRules.parse(os.fsencode(text))
        except InvalidError:
            # Refused at once, also where moby would see the fault only when it first matches, or takes an exotic escape.
            exotic = any(escape in text for escape in ("\\p", "\\P", "\\x", "\\0", "\\Q", "\\E", "\\C"))
            assert answer["Error"] or answer["Malformed"] or exotic or moby_sees_no_fault_yet(formats, text), text
            continue
        assert answer["Error"] == "", text
        assert answer["Ignored"] == [rules.ignores(path) for path in paths], (text, paths)


def moby_sees_no_fault_yet(formats: Path, text: str) -> bool:
    """Whether some pattern is refused by moby when it stands alone, and only was not needed to decide."""
    lines = [line.lstrip("!/") for line in text.split("\n") if line]
    return any(a["Error"] for a in ask(formats, [{"Ignore": encoded(os.fsencode(x)), "Paths": ["~~"]} for x in lines]))
