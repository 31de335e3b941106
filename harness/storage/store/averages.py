"""XTREME's averages: a task's score is the plain mean over its views, the suite's the mean over its tasks.

An average exists only when every task and view of the declared list has a score; incomplete ones have no average.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harness.files import json_digest
from harness.storage.store import schema
from harness.storage.store.schema import AVERAGE
from harness.storage.store.statements import upsert


class Summary(NamedTuple):
    """One figure of a run for one selection; `value` is None unless complete. The average over tasks comes last."""

    task: str
    metric: str
    position: int
    value: float | None
    n_views: int
    expected_views: int
    complete: bool


def summarise(
    values: Mapping[tuple[str, str], float], expected: Mapping[str, Sequence[str]], metric: Mapping[str, str]
) -> list[Summary]:
    """Summaries from `values[task, view]`. `expected` lists every task's views, in the order of the suite."""
    tasks = [_task(values, task, views, metric[task], at) for at, (task, views) in enumerate(expected.items())]
    scores = [row.value for row in tasks if row.value is not None]
    complete = len(scores) == len(tasks) > 0
    counts = sum(row.n_views for row in tasks), sum(row.expected_views for row in tasks)
    value = sum(scores) / len(scores) if complete else None
    return [*tasks, Summary(AVERAGE, AVERAGE, len(tasks), value, *counts, complete)]


def _task(
    values: Mapping[tuple[str, str], float], task: str, views: Sequence[str], metric: str, position: int
) -> Summary:
    present = [values[task, view] for view in views if (task, view) in values]
    complete = len(present) == len(views) > 0
    value = sum(present) / len(present) if complete else None
    return Summary(task, metric, position, value, len(present), len(views), complete)


def by_selection(
    rows: Sequence[Mapping[str, Any]], metric: Mapping[str, str]
) -> dict[str, dict[tuple[str, str], float]]:
    """Values of score rows per selection. Tasks without a selection ("") count towards each of them."""
    rows = [row for row in rows if row["metric"] == metric.get(row["task"])]
    names = {row["selection"] for row in rows if row["selection"]} or {""}
    return {
        name: {(row["task"], row["view"]): row["value"] for row in rows if row["selection"] in (name, "")}
        for name in names
    }


def put_averages(
    connection: Connection,
    run: str,
    expected: Mapping[str, Sequence[str]],
    metric: Mapping[str, str],
    split: str = "test",
) -> None:
    """Computes the averages of a run from its scores, and stores them in place of the former ones."""
    score, summary = schema.score, schema.summary
    query = sa.select(score).where(score.c.run == run, score.c.split == split).order_by(score.c.step)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    connection.execute(sa.delete(summary).where(summary.c.run == run, summary.c.split == split))
    for selection, cells in by_selection(rows, metric).items():
        key = {"run": run, "split": split, "selection": selection}
        means = summarise(cells, expected, metric)
        origins = [origin(mean.metric, selection, (row for row in rows if row["task"] == mean.task)) for mean in means]
        values = [{**key, **mean._asdict(), "origin": own} for mean, own in zip(means, origins, strict=True)]
        upsert(connection, summary, values)


def origin(metric: str, selection: str, cells: Iterable[Mapping[str, Any]]) -> str:
    """A digest of what a figure is computed from: its metric, its selection, and the views of each score stage.
    `cells` are score rows of its task, of which those of other metrics and selections count for nothing."""
    stages: dict[str, list[str]] = {}
    for row in cells:
        if row["metric"] == metric and row["selection"] in (selection, ""):
            stages.setdefault(row["stage"], []).append(row["view"])
    return json_digest([metric, selection, {stage: sorted(views) for stage, views in stages.items()}])
