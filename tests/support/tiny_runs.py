"""Runs on babel at its smallest: seconds each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.experiments.executors.local import Local, StageFailure
from harness.experiments.plan import RunPlan, plan_runs
from harness.experiments.recipe import make_recipe
from harness.experiments.runner import Runner, RunReport
from harness.experiments.stage import Stage, StageResult
from harness.storage.artifacts import Artifacts
from harness.storage.store import Store
from harness.training.loop import Rate

WORLD = (  # as large as TINY needs it, and no larger: drawing the small babel takes longer than a run on it
    "babel:size=small,nli=96,paraphrase=64,pos=64,ner=64,qa=60,dev=20,test=40,"
    "parallel=80,mono=100,alignment=40,inference=20,entities=20"
)
TINY = (
    "align.steps=6",
    "sample.size=60",
    "align.batch_size=8",
    "pretrain.steps=4",
    "pretrain.vocab_size=600",
    "pretrain.batch_tokens=500",
    "tasks.xnli.max_train=64",
    "tasks.pawsx.max_train=64",
    "tasks.udpos.max_train=64",
    "tasks.panx.max_train=64",
    *(f"tasks.{task}.{name}=20" for task in ("xnli", "pawsx", "udpos", "panx") for name in ("max_dev", "max_test")),
    *(f"tasks.{task}.epochs=2" for task in ("xnli", "pawsx", "udpos", "panx")),
)


class RecordingDisplay:
    """A display that prints nothing and keeps the titles of stages."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.found: list[str] = []
        self.failures: list[str] = []
        self.notes: list[str] = []

    def started(self, fingerprint: str) -> None: ...
    def update(self, fingerprint: str, rate: Rate) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def ended(self, stage: Stage, result: StageResult) -> None:
        (self.found if result.reused else self.made).append(stage.title)

    def failed(self, stage: Stage, failure: StageFailure) -> None:
        self.failures.append(stage.title)


def tiny_plans(*methods: str, changes: tuple[str, ...] = (), **more: Any) -> list[RunPlan]:
    """Plans of seed 0 with the settings `TINY` on `WORLD`, and `changes` on top."""
    common = {"base": "init:1x64", "source": WORLD, "suite": "xtreme-align", "protocol": "mini", **more}
    recipes = [make_recipe(method=m, changes=(*TINY, *changes), **common) for m in methods]
    return plan_runs(recipes, [0])


def scores_of(database: Path) -> dict[tuple[str, ...], float]:
    """Every score of a store, to the bit."""
    store = Store.open(database, read_only=True)
    rows = store.cells().to_dict("records")
    store.close()
    key = ["run", "task", "view", "split", "selection", "metric", "step"]
    found = {tuple(str(row[name]) for name in key): float(row["value"]) for row in rows}
    assert len(found) == len(rows) > 0
    return found


def run_plans(home: Path, work: list[RunPlan], workers: int = 1) -> tuple[RunReport, RecordingDisplay]:
    """Runs plans in this process, with the store and the artifacts of `home`."""
    display, artifacts = RecordingDisplay(), Artifacts(home / "artifacts")
    store = Store.open(home / "board.db", create=True)
    report = Runner(store, artifacts, Local(artifacts, workers, "cpu", threads=1, all_threads=1), display).run(work)
    store.close()
    return report, display
