"""What commands cost on a large store, beside reading all of its scores with Python's SQLite module.

    python -m benchmarks.store [--runs 2000] [--keep FOLDER]

Makes the store of `benchmarks.board`, runs each command in a process of its own, and prints its CPU seconds, without
those of a command that reads nothing (`--version`), and their ratio to the peer's. The first `show` computes the ranks
and marks of all tables, the second finds them.
"""

from __future__ import annotations

import argparse
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console

from benchmarks.board import made
from harness.cli.progress import StageProgress
from harness.experiments.executors.workers import Listener
from harness.experiments.plan import plan_runs
from harness.experiments.recipe import make_recipe
from harness.experiments.runner import Runner
from harness.experiments.stage import Stage, StageFailure, StageResult
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store

SCORES = 300  # of each run
CLI = ("-m", "harness.cli")
COMMANDS = (
    ("show",),
    ("show",),
    ("show", "--format", "json"),
    ("show", "--by", "language", "--task", "xnli"),
    ("show", "--group", "family"),
    ("compare", "method-02", "method-03"),
    ("resume",),
    ("gc", "--dry-run"),
    ("db", "check"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="folder for the store, used again where it is there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        store = made(folder / f"store-{chosen.runs}.db", chosen.runs, SCORES)
        forget_verdicts(store)
        peer = read_seconds(store)
        print(f"{chosen.runs:,} runs; sqlite3 reads every column of every score in {peer:.2f} s of CPU", flush=True)
        start = cpu_seconds((*CLI, "--version"), Path(scratch))
        for command in COMMANDS:
            seconds = cpu_seconds((*CLI, *command, "--db", str(store)), Path(scratch)) - start
            print(f"{' '.join(command):32} {seconds:6.2f} s of CPU, {seconds / peer:5.1f} times the peer", flush=True)
        print(f"plan of a new method, three seeds  {plan_new_method(store):6.2f} s of CPU")


def forget_verdicts(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("DELETE FROM verdict")


def read_seconds(store: Path) -> float:
    with closing(sqlite3.connect(store)) as connection:
        start = time.process_time()
        connection.execute("SELECT * FROM score").fetchall()
        return time.process_time() - start


class Idle:
    """An executor that runs no stage."""

    def __init__(self, artifacts: Artifacts) -> None:
        self.artifacts = artifacts

    def run(self, stages: Sequence[Stage], listener: Listener) -> Generator[StageResult | StageFailure]:
        yield from ()


def plan_new_method(place: Path) -> float:
    """CPU seconds of what `run` does before its first stage for a method that the store does not have, three seeds: its
    plan, and the rows of its runs, which are deleted again. Imports and the check of items are not counted."""
    store = Store.open(place)
    with tempfile.TemporaryDirectory() as scratch, StageProgress({}, Console(file=sys.stderr)) as display:
        recipe = make_recipe(
            method="ml-ctl", suite="xtreme-align", source="babel:size=small", base="init:1x64", protocol="mini"
        )
        plan_runs([recipe], [0])  # imports, and checks items that no other plan has to check
        start = time.process_time()
        plans = plan_runs([recipe], range(3))
        Runner(store, Artifacts(Path(scratch)), Idle(Artifacts(Path(scratch))), display).run(plans)
        seconds = time.process_time() - start
    for plan in plans:
        store.delete_run(plan.id)
    store.close()
    return seconds


def cpu_seconds(arguments: tuple[str, ...], home: Path) -> float:
    """CPU seconds of a program and its processes; problems of the synthetic store (exit code 1) are no failure."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "ALIGNBOARD_HOME": str(home)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, env=environment, text=True, check=False, **quiet)  # type: ignore[call-overload]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode not in (0, 1):
        raise SystemExit(ended.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
