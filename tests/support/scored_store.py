"""A small store with real artifacts: one finished run with an encoder, and a score stage of two views."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from harness.evaluation.item_statistics import write_statistics
from harness.registry import TASKS
from harness.storage.artifacts import Artifacts
from harness.storage.store import RunRow, ScoreRow, Store
from harness.storage.store.schema import StageRow

CORRECT = {"de": [1, 1, 0, 1], "sw": [0, 1, 0, 0]}
SCORE, ENCODER = "ab" * 20, "cd" * 20


def make_scored_store(home: Path) -> Store:
    """The store `board.db` in a home, and its artifacts."""
    artifacts = Artifacts(home / "artifacts")
    with artifacts.create(ENCODER, "align", {}) as folder:
        (folder / "weights").write_bytes(b"weights")
    with artifacts.create(SCORE, "score", {}) as folder:
        write_statistics(folder / "statistics.parquet", statistics(), TASKS.get("xnli")().ratios())
    made = Store.open(home / "board.db", create=True)
    made.add_run(RunRow(id="r", method="mbert", suite="s", protocol="mini", status="done"))
    made.put_scores("r", [score("de", 75.0), score("sw", 25.0)])
    for fingerprint, kind, task in ((ENCODER, "align", None), (SCORE, "score", "xnli")):
        made.put_stage(StageRow(fingerprint=fingerprint, kind=kind, task=task, status="done"))
        made.link_stage("r", fingerprint, hit=False)
    return made


def statistics() -> pa.Table:
    rows = [(view, f"{view}-{i}", hit) for view, hits in CORRECT.items() for i, hit in enumerate(hits)]
    views, items, correct = zip(*rows, strict=True)
    key = {"selection": ["english"] * len(rows), "view": views, "item": items, "cluster": items}
    return pa.table({**key, "correct": correct, "items": [1] * len(rows)})


def score(view: str, value: float) -> ScoreRow:
    return ScoreRow(
        stage=SCORE,
        task="xnli",
        view=view,
        language=view,
        split="test",
        protocol="mini",
        selection="english",
        metric="accuracy",
        value=value,
        n=4,
    )
