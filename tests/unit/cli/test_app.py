"""The frame: which verb runs, what a wrong command line says, and the exit code of every end."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from kitcar import __version__
from kitcar.cli.app import VERBS, Family, application, run
from kitcar.cli.session import Session, Surroundings
from kitcar.cli.verb import Arity, Usage, Verb, verb
from kitcar.errors import Fault, InvalidError, KitcarError
from kitcar.flags.flag import Call, Flag


class Result:
    """A finished run."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Kitcar = Callable[..., Result]


def surroundings(environ: dict[str, str] | None = None) -> tuple[Surroundings, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Surroundings(environ or {}, io.BytesIO(), out, err), out, err


@pytest.fixture
def kitcar(tmp_path: Path) -> Kitcar:
    def runner(*words: str) -> Result:
        around, out, err = surroundings({"KITOPS_HOME": str(tmp_path)})
        code = run(words, around)
        return Result(code, out.getvalue(), err.getvalue())

    return runner


def with_body(body: Callable[[Session, Call], None], *words: str, style: str = "info") -> Result:
    """Runs a verb made of `body` as the command line would."""
    probe: Verb = verb("probe", Usage("[flags]", "Try"), flags=(Flag("name", "a name"),), takes=Arity(0, 1))(body)

    class Probes(Family):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return probe

    around, out, err = surroundings()
    code = run([*words], around, Probes("kitcar", {"probe": "Try"}))
    return Result(code, out.getvalue(), err.getvalue())


def test_run_without_arguments_shows_help(kitcar: Kitcar) -> None:
    result = kitcar()
    assert result.code == 0
    assert all(name in result.out for name in VERBS)
    assert "__complete" not in result.out


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",)])
def test_run_asked_for_help_shows_it(kitcar: Kitcar, words: tuple[str, ...]) -> None:
    result = kitcar(*words)
    assert result.code == 0
    assert "Available Commands:" in result.out


def test_run_unknown_command_says_so_as_kit_does(kitcar: Kitcar) -> None:
    result = kitcar("bogus")
    assert (result.code, result.out) == (1, "")
    assert result.err == 'Error: unknown command "bogus" for "kitcar"\nRun \'kitcar --help\' for usage.\n'


def test_run_nearly_known_command_is_suggested(kitcar: Kitcar) -> None:
    assert "Did you mean this?\n\tlist\n" in kitcar("lis").err


@pytest.mark.parametrize("words", [("--bogus",), ("--bogus", "version"), ("version", "--bogus")])
def test_run_unknown_flag_shows_usage(kitcar: Kitcar, words: tuple[str, ...]) -> None:
    result = kitcar(*words)
    assert result.code == 1
    assert result.err.startswith("Error: unknown flag: --bogus\n\nUsage:\n  kitcar")


def test_run_wrong_number_of_arguments_shows_usage() -> None:
    result = with_body(lambda session, call: None, "probe", "a", "b")
    assert result.code == 1
    assert result.err.startswith("Error: accepts at most 1 arg(s), received 2\n\nUsage:\n  kitcar probe [flags]\n")


@pytest.mark.parametrize(
    ("arity", "count", "message"),
    [
        (Arity(1, 1), 2, "accepts 1 arg(s), received 2"),
        (Arity(1, 2), 3, "accepts between 1 and 2 arg(s), received 3"),
        (Arity(2, None), 1, "requires at least 2 arg(s), only received 1"),
        (Arity(0, None, lambda call: "never"), 1, "never"),
        (Arity(), 3, None),
        (Arity(1, 1), 1, None),
    ],
)
def test_arity_wrong_count_has_kits_words(arity: Arity, count: int, message: str | None) -> None:
    assert arity.fault(Call(("x",) * count, {})) == message


def test_run_global_flags_count_before_and_behind_the_verb() -> None:
    seen: list[Session] = []
    with_body(lambda session, call: seen.append(session), "-v", "--config", "/one", "probe", "-v", "--progress", "none")
    assert seen[0].flags.verbose == 2
    assert seen[0].settings.root == Path("/one")
    assert seen[0].progress == "none"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--log-level", "bad", "version"), "[ERROR] Invalid log level 'bad'. Options are"),
        (("version", "--progress", "bad"), "[ERROR] Invalid progress style 'bad'"),
    ],
)
def test_run_global_flag_without_meaning_is_refused(kitcar: Kitcar, words: tuple[str, ...], message: str) -> None:
    result = kitcar("-v", *words) if words[0] == "version" else kitcar(*words)
    assert result.code == 1
    assert message in result.err


def failing_with(error: BaseException) -> Callable[[Session, Call], None]:
    def body(session: Session, call: Call) -> None:
        session.console.info("before")
        raise error

    return body


def test_run_error_is_a_sentence_its_faults_and_a_hint() -> None:
    fault = Fault("unknown field 'nam'", 3, 5, "did you mean name?")
    result = with_body(failing_with(InvalidError("the Kitfile is wrong", faults=(fault,), hint="mend it")), "probe")
    assert result.code == 1
    assert result.out == "Before\n"
    assert result.err == (
        "[ERROR] The Kitfile is wrong\n  * line 3, column 5: unknown field 'nam' (did you mean name?)\nHint: mend it\n"
    )


def test_run_error_shows_a_traceback_only_when_asked() -> None:
    assert "Traceback" not in with_body(failing_with(KitcarError("no")), "probe", "-v").err
    assert "Traceback" in with_body(failing_with(KitcarError("no")), "probe", "-vv").err


def test_run_system_error_names_the_file() -> None:
    result = with_body(failing_with(PermissionError(13, "Permission denied", "/x/y")), "probe")
    assert (result.code, result.err) == (1, "[ERROR] Permission denied: /x/y\n")


def test_run_fault_of_our_own_is_called_one() -> None:
    result = with_body(failing_with(ZeroDivisionError("division by zero")), "probe")
    assert result.code == 1
    assert result.err.startswith("[ERROR] Internal error: ZeroDivisionError: division by zero\nHint: ")


def test_run_interrupted_ends_with_130_and_no_traceback() -> None:
    result = with_body(failing_with(KeyboardInterrupt()), "probe")
    assert (result.code, result.err) == (130, "")


def test_run_broken_pipe_is_quiet() -> None:
    result = with_body(failing_with(BrokenPipeError()), "probe")
    assert (result.code, result.err) == (141, "")


def test_process_whose_reader_leaves_ends_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kitcar", "help", "version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_verb_has_help_and_its_name(kitcar: Kitcar, name: str) -> None:
    context = click.Context(application(), info_name="kitcar")
    command = application().get_command(context, name)
    assert command is not None
    assert command.name == name
    result = kitcar(name, "--help")
    assert result.code == 0
    assert "Usage:" in result.out
    assert kitcar("help", name).out == result.out


def test_help_of_unknown_command_is_refused(kitcar: Kitcar) -> None:
    assert kitcar("help", "bogus").code == 1


def test_version_prints_four_lines(kitcar: Kitcar) -> None:
    result = kitcar("version", "-v")
    assert result.code == 0
    assert result.out.splitlines()[0] == f"Version: {__version__}"
    assert [line.partition(":")[0] for line in result.out.splitlines()] == [
        "Version",
        "Commit",
        "Built",
        "Python version",
    ]


def test_version_switches_kits_notices_by_its_mark(kitcar: Kitcar, tmp_path: Path) -> None:
    marker = tmp_path / "disable-update-notifications"
    assert kitcar("version", "--show-update-notifications=false").code == 0
    assert marker.exists()
    assert kitcar("version", "--show-update-notifications").code == 0
    assert not marker.exists()


HEAVY = ("click", "rich", "urllib3", "yaml", "re2", "isal", "zstandard", "http.client", "ssl", "hashlib", "json")


def imported_by(*words: str) -> set[str]:
    code = "import sys; from kitcar.__main__ import main; main(); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_version_imports_nothing_heavy() -> None:
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    loaded = imported_by("version") - set(bare.stdout.split())
    assert not loaded & set(HEAVY)
    assert {name for name in loaded if name.startswith("kitcar")} == {
        "kitcar",
        "kitcar.__main__",
        "kitcar.cli",
        "kitcar.cli.build",
    }


def test_help_imports_no_verb_and_nothing_heavy_but_click() -> None:
    loaded = imported_by("--help")
    assert not loaded & (set(HEAVY) - {"click", "json", "hashlib"})
    assert not {f"kitcar.cli.{name}" for name in VERBS} & loaded


def test_verb_imports_no_other_verb() -> None:
    loaded = imported_by("version", "-v")
    assert {name for name in VERBS if f"kitcar.cli.{name}" in loaded} == {"version"}
