"""The whole road on one machine: train, pack, push, deliver, answer. Each step shows its command, time and size."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KITCAR = (sys.executable, "-m", "kitcar")
EXAMPLE_REFERENCE = "registry.example.com/team/iris:v1"
PLAIN_HTTP = 'value: "--plain-http"'
MODEL = "iris"
SPECIES = ("setosa", "versicolor", "virginica")


class StepError(Exception):
    """A step did not do what it should."""


@dataclass(slots=True)
class Demo:
    """The steps, over one directory that holds all they make."""

    work: Path
    python: str
    port: int
    steps: list[tuple[str, float]] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """Where the ModelKit goes."""
        return f"127.0.0.1:{self.port}/team/iris:v1"

    def run(self) -> None:
        """All steps in order; the registry stops when they end, however they do."""
        with self.registry():
            self.train()
            self.kitcar("Write a Kitfile", "init", MODEL, "--name", "iris", "--desc", "Kinds of iris")
            self.kitcar("Pack the ModelKit", "pack", MODEL, "-t", self.reference)
            print(f"  {_size(self.work / 'home' / 'storage')} in local storage")
            self.kitcar("Push it", "push", "--plain-http", self.reference)
            print(f"  {_size(self.work / 'registry')} in the registry")
            self.compare(self.serve())

    @contextlib.contextmanager
    def registry(self) -> Iterator[None]:
        """kitcar's own registry, in a process of its own."""
        command = [*KITCAR, "registry", "serve", "--root", "registry"]
        command += ["--address", f"127.0.0.1:{self.port}"]
        started = self.begin("Start a registry", command)
        with (self.work / "registry.log").open("wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.place)
        try:
            self.until_it_answers(child)
            self.end("Start a registry", started)
            yield
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def train(self) -> None:
        """Trains in the interpreter that has scikit-learn."""
        shutil.copy(HERE / "request.json", self.work)
        command = [self.python, str(HERE / "train.py"), MODEL, "--request", "request.json", "--expect", "expected.json"]
        self.step("Train a model", command)
        print(f"  {_size(self.work / MODEL)}")

    def serve(self) -> list[int]:
        """Fills the reference in, runs the InferenceService, asks it once; gives the predictions."""
        service, storage = self.work / "inference-service.yaml", self.work / "cluster-storage-container.yaml"
        service.write_text((HERE / service.name).read_text().replace(EXAMPLE_REFERENCE, self.reference))
        storage.write_text((HERE / storage.name).read_text().replace('value: ""', PLAIN_HTTP))
        print(f"\n{service.name}:\n{_indented(service.read_text())}")
        answer = self.kitcar(
            "Deliver it, serve it, ask it",
            *("run", service.name, "--storage-container", storage.name, "--once", "request.json"),
        )
        predictions: list[int] = json.loads(answer)["outputs"][0]["data"]
        return predictions

    def compare(self, answered: list[int]) -> None:
        """The served model's predictions against those of the model in memory when it was trained."""
        expected: list[int] = json.loads((self.work / "expected.json").read_text())
        print(f"\nThe server says   {_named(answered)}\nThe trainer said  {_named(expected)}")
        if answered != expected:
            raise StepError("the served model answers otherwise than the model that was trained")
        print("They agree.")

    def kitcar(self, title: str, *words: str) -> str:
        """One kitcar command as a step."""
        return self.step(title, [*KITCAR, *words])

    def step(self, title: str, command: Sequence[str]) -> str:
        """Runs a command and shows what it says; gives its standard output."""
        started = self.begin(title, command)
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **self.place
        )
        print(_indented(done.stderr + done.stdout), end="")
        if done.returncode:
            raise StepError(f"{title}: exit code {done.returncode}")
        self.end(title, started)
        return done.stdout

    def begin(self, title: str, command: Sequence[str]) -> float:
        """Shows a step's name and command, shortened to what a person would type."""
        shown = shlex.join(command).replace(shlex.join(KITCAR), "kitcar").replace(f"{self.python} {HERE}/", "python ")
        print(f"\n== {title}\n$ {shown}", flush=True)
        return time.monotonic()

    def end(self, title: str, started: float) -> None:
        """Shows a step's time and keeps it for the list at the end."""
        seconds = time.monotonic() - started
        self.steps.append((title, seconds))
        print(f"  {seconds:.1f} s", flush=True)

    def until_it_answers(self, child: subprocess.Popen[bytes]) -> None:
        """Waits for the registry."""
        for _ in range(300):
            if child.poll() is not None:
                raise StepError(f"the registry ended: {(self.work / 'registry.log').read_text()}")
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            try:
                connection.request("GET", "/v2/")
                if connection.getresponse().status == http.client.OK:
                    return
            except OSError:
                time.sleep(0.1)
            finally:
                connection.close()
        raise StepError("the registry does not answer")

    @property
    def place(self) -> dict[str, Any]:
        """Where commands run: in the demo's directory, with a storage of its own."""
        environ = {**os.environ, "KITOPS_HOME": str(self.work / "home"), "PYTHONUNBUFFERED": "1"}
        return {"cwd": self.work, "env": environ}


def main() -> int:
    """Runs the demo in a fresh directory, which is removed at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with scikit-learn (default: this one)")
    parser.add_argument("--keep", action="store_true", help="leave the directory with all that was made")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kitcar-demo-"))
    demo = Demo(work, options.python, _free_port())
    started = time.monotonic()
    try:
        demo.run()
    except StepError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    finally:
        if options.keep:
            print(f"\nEverything is in {work}")
        else:
            shutil.rmtree(work)
    print("\n" + "\n".join(f"{seconds:6.1f} s  {title}" for title, seconds in demo.steps))
    print(f"{time.monotonic() - started:6.1f} s  in all; everything is stopped{'' if options.keep else ' and removed'}")
    return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _size(folder: Path) -> str:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {sum(sizes) / 1024:.0f} KiB"


def _named(predictions: list[int]) -> str:
    return f"{predictions}: {', '.join(SPECIES[index] for index in predictions)}"


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
