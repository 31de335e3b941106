"""What the tests of faults share: the server of forked runs, what is compared, and the counts of what was tried."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from tests.support.fault_runs import Ended, Job

ALL = os.environ.get("ALIGNBOARD_FAULTS") == "all"
COUNTS: dict[str, dict[str, int]] = {}


def count(kind: str, *, survived: bool) -> None:
    """Counts one try of a kind of fault."""
    counts = COUNTS.setdefault(kind, {"tried": 0, "survived": 0})
    counts["tried"] += 1
    counts["survived"] += survived


def long(*values: Any) -> Any:
    """A case that is left out of CI."""
    return pytest.param(*values, marks=pytest.mark.long)


class Server:
    """The process that forks runs."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.support.fault_runs"]
        pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipe)
        assert self._answer() == "ready\n"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return str(self.process.stdout.readline())

    def run(self, job: Job) -> Ended:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(job)) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self._answer()))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0


class Finished(NamedTuple):
    """An undisturbed run: its home, how it ended, and its scores."""

    home: Path
    ended: Ended
    scores: dict[tuple[str, ...], float]


def scores_of(home: Path) -> dict[tuple[str, ...], float]:
    """Every score of a home, to the bit; asserts that no cell has two."""
    store = Store.open(home / "board.db", read_only=True)
    cells = store.cells()
    assert [run["status"] for run in store.runs()] == ["done"]
    store.close()
    key = ["task", "view", "split", "selection", "metric"]
    rows = {(*(str(row[name]) for name in key), str(row["step"])): row["value"] for row in cells.to_dict("records")}
    assert len(rows) == len(cells)
    return rows


def finished_stages(home: Path) -> set[str]:
    """The titles of the stages whose artifact is there and whole."""
    artifacts = Artifacts(home / "artifacts")
    found = [artifacts.find(name) for name in artifacts.fingerprints()]
    return {str(artifact.meta["title"]) for artifact in found if artifact is not None}


def copy_of(home: Path, place: Path) -> Path:
    shutil.copytree(home, place)
    return place


def resume(kind: str, server: Server, home: Path, undisturbed: Finished) -> None:
    """The same command again: asserts that nothing is lost, and counts it."""
    kept = finished_stages(home)
    ended = server.run(Job(str(home)))
    survived = (ended.code, ended.errors) == (0, []) and scores_of(home) == undisturbed.scores
    count(kind, survived=survived)
    assert survived, ended
    assert kept.isdisjoint(ended.computed), "a finished stage was computed again"
    assert not list((home / "artifacts" / "staging").iterdir())
    assert not list((home / "artifacts" / "work").iterdir())
