"""`python -m bench`: measures every scenario, its tools in turn, and rewrites the tables of docs/performance.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.measure import CommandError, Result, Sample, measure, settle
from bench.scenario import Prepare, Scenario, scenarios
from bench.world import World, discard, tools
from harness import peers, registries

_QUICK_RUNS = 15


def main(arguments: Sequence[str]) -> int:
    """Runs what `arguments` ask for; 1 if a tool failed that should not."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the model (default 1024)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each tool (default 5)")
    parser.add_argument("--only", default="", help="scenarios by key, with commas between them")
    parser.add_argument("--folder", help="where files are made; about six times the size of the model is needed")
    parser.add_argument("--no-write", action="store_true", help="only print")
    options = parser.parse_args(arguments)
    wanted = set(filter(None, options.only.split(",")))
    failed = False
    with tempfile.TemporaryDirectory(prefix="kitcar-bench-", dir=options.folder) as name:
        folder = Path(name)
        parts = [report.heading(options.runs, folder)]
        with registries.docker_registry(peers.find("docker-registry"), folder / "registry") as registry:
            here = World(folder, options.size * 1024 * 1024, registry, tools())
            for scenario in scenarios(here, wanted):
                results = run(here, scenario, options.runs if scenario.size else _QUICK_RUNS)
                failed = failed or any(result.failure and "kitcar" in result.tool for result in results)
                parts.append(report.table(scenario, results))
                print(parts[-1], flush=True)
    if not wanted and not options.no_write:
        report.record("\n".join(parts))
    return int(failed)


def run(here: World, scenario: Scenario, runs: int) -> list[Result]:
    """Measures the tools of a scenario in turn, so that a change of the machine's mood meets all of them."""
    samples: dict[str, list[Sample]] = {tool: [] for tool in scenario.tools}
    failures: dict[str, str] = {}
    for _ in range(runs):
        for tool, prepare in scenario.tools.items():
            if tool in failures:
                continue
            try:
                samples[tool].append(_once(here, prepare))
            except CommandError as error:
                failures[tool] = str(error)
    return [
        Result(tool, () if tool in failures else tuple(taken), failures.get(tool, ""))
        for tool, taken in samples.items()
    ]


def _once(here: World, prepare: Prepare) -> Sample:
    attempt = prepare()
    settle()
    try:
        sample = measure(attempt.command, cwd=here.folder, environment=here.environment | attempt.environment)
        if attempt.expected and not attempt.expected.exists():
            raise CommandError(f"{attempt.expected.name} is not there")
    finally:
        for path in attempt.leftovers:
            discard(path)
    return sample


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (peers.PeerMissingError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
