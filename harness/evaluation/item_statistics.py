"""What a score stage leaves: statistics and examples of items as Parquet, and the scores that follow from the sums."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harness.evaluation.item_examples import examples, table
from harness.files import EXAMPLES, STATISTICS
from harness.records import Record
from harness.task import Statistics, Task

SCORES = "scores.json"


class Scored(NamedTuple):
    """One view under one selection: final predictions, what they were compared with, and what came of it."""

    selection: str
    view: str
    predictions: list[Any]
    records: Sequence[Record]
    statistics: Statistics


def scores_of(task: Task, parts: Sequence[Scored]) -> list[dict[str, Any]]:
    """Every score of some views of a task, in percent, as JSON has it; `n` counts the items behind it."""
    return [
        {"selection": part.selection, "view": part.view, "metric": metric, "value": value, "n": len(statistics.items)}
        for part, statistics in zip(parts, _filled(parts), strict=True)
        for metric, value in task.metric(statistics.sums()).items()
    ]


def write(folder: Path, task: Task, parts: Sequence[Scored]) -> None:
    """Writes the three files of a score stage's artifact."""
    tables = [_table(part, statistics) for part, statistics in zip(parts, _filled(parts), strict=True)]
    pq.write_table(pa.concat_tables(tables), folder / STATISTICS)
    shown = {(part.selection, part.view): examples(task, part.predictions, part.records) for part in parts}
    pq.write_table(pa.table(table(shown)), folder / EXAMPLES)
    (folder / SCORES).write_text(json.dumps(scores_of(task, parts), ensure_ascii=False), encoding="utf-8")


def _filled(parts: Sequence[Scored]) -> list[Statistics]:
    """The statistics with the same columns in all views."""
    names = dict.fromkeys(name for part in parts for name in part.statistics.columns)
    return [part.statistics.filled(names) for part in parts]


def _table(part: Scored, statistics: Statistics) -> pa.Table:
    n = len(statistics.items)
    key = {"selection": pa.array([part.selection] * n), "view": pa.array([part.view] * n)}
    ids = {"item": pa.array(statistics.items), "cluster": pa.array(statistics.clusters)}
    columns = {name: pa.array(values) for name, values in statistics.columns.items()}
    return pa.table({**key, **ids, **columns})
