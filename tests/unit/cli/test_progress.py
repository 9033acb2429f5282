"""Progress events as people see them."""

from __future__ import annotations

import io

import pytest

from kitcar.cli.output import Console
from kitcar.cli.progress import PlainProgress, layer_names, short_name, shown
from kitcar.modelkit.dialect import FILEPATH
from kitcar.oci.descriptor import Descriptor
from kitcar.oci.digest import Digest
from kitcar.oci.manifest import Manifest
from kitcar.oci.progress import Event, Step

KEY = str(Digest.of(b"x"))


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[PlainProgress, io.StringIO, Clock]:
    err, clock = io.StringIO(), Clock()
    return PlainProgress(Console(io.StringIO(), err), clock=clock), err, clock


def test_plain_says_one_line_when_a_piece_ends() -> None:
    progress, err, clock = plain()
    progress(Event(Step.STARTED, KEY, size=2048))
    progress(Event(Step.ADVANCED, KEY, count=1024))
    clock.now = 1.26
    progress(Event(Step.DONE, KEY, size=2048))
    assert err.getvalue() == f"{KEY[:19]}  2.0 KiB  done in 1.3 s\n"


@pytest.mark.parametrize(
    ("step", "words"), [(Step.EXISTS, "already there"), (Step.MOUNTED, "mounted"), (Step.FAILED, "failed")]
)
def test_plain_says_how_else_a_piece_ended(step: Step, words: str) -> None:
    progress, err, _ = plain()
    progress(Event(step, "model.bin", name="model.bin", size=5))
    assert err.getvalue() == f"model.bin  5 B  {words}\n"


def test_plain_says_why_it_tries_again() -> None:
    progress, err, _ = plain()
    progress(Event(Step.RETRIED, "a", name="a", detail="connection cut"))
    assert err.getvalue() == "a  again: connection cut\n"


def test_plain_piece_of_unknown_size_has_none() -> None:
    progress, err, _ = plain()
    progress(Event(Step.DONE, "a", name="a"))
    assert err.getvalue() == "a  done\n"


def test_none_says_nothing() -> None:
    out, err = io.StringIO(), io.StringIO()
    with shown(Console(out, err), "none") as listener:
        listener(Event(Step.DONE, KEY, size=1))
    assert out.getvalue() == err.getvalue() == ""


@pytest.mark.parametrize("style", ["plain", "fancy"])
def test_piece_without_name_is_not_shown(style: str) -> None:
    err = io.StringIO()
    with shown(Console(io.StringIO(), err), style, name=lambda event: "") as listener:
        listener(Event(Step.STARTED, KEY, size=1))
        listener(Event(Step.DONE, KEY, size=1))
    assert err.getvalue().strip() == ""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_fancy_shows_a_bar_with_its_name() -> None:
    err = Terminal()
    with shown(Console(io.StringIO(), err), "fancy", name=lambda event: "model m.bin") as listener:
        listener(Event(Step.STARTED, KEY, size=100))
        listener(Event(Step.ADVANCED, KEY, size=100, count=60))
        listener(Event(Step.ADVANCED, KEY, size=100, count=-60))
        listener(Event(Step.DONE, KEY, size=100))
    assert "model m.bin" in err.getvalue()
    assert "100/100 bytes" in err.getvalue()


def test_layer_names_are_kind_and_path_and_nothing_for_the_rest() -> None:
    layer = Descriptor.of("application/vnd.kitops.modelkit.model.v1.tar", b"layer", {FILEPATH: "m.bin"})
    other = Descriptor.of("application/octet-stream", b"other")
    manifest = Manifest.build(Descriptor.of("application/json", b"{}"), (layer, other))
    name = layer_names(manifest)
    assert name(Event(Step.DONE, str(layer.digest))) == "model m.bin"
    assert name(Event(Step.DONE, str(other.digest))) == f"layer {other.digest.short}"
    assert name(Event(Step.DONE, str(manifest.config.digest))) == ""


def test_short_name_of_a_digest_is_its_start() -> None:
    assert short_name(Event(Step.DONE, KEY)) == KEY[:19]
    assert short_name(Event(Step.DONE, "plain")) == "plain"
    assert short_name(Event(Step.DONE, KEY, name="model")) == "model"
