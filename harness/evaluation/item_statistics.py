"""The files of a score stage: statistics and examples of items as Parquet, and the scores."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import UserError
from harness.evaluation.item_examples import examples, table
from harness.files import EXAMPLES, STATISTICS
from harness.records import Record
from harness.statistics import Ratio, Statistics
from harness.task import Task

SCORES = "scores.json"
RATIOS = "ratios"  # a key in the metadata of the table of statistics


class Scored(NamedTuple):
    """One view under one selection: final predictions of a model after `step` updates, the gold records, and the
    statistics of the comparison."""

    selection: str
    view: str
    predictions: list[Any]
    records: Sequence[Record]
    statistics: Statistics
    step: int = 0


def scores_of(task: Task, parts: Sequence[Scored]) -> list[dict[str, Any]]:
    """Every score of some views of a task, in percent, as JSON has it; `n` counts the items behind it.

    Raises UserError for a score that is NaN or infinite.
    """
    scores: list[dict[str, Any]] = [
        {
            "selection": part.selection,
            "view": part.view,
            "metric": metric,
            "value": value,
            "n": len(statistics.items),
            "step": part.step,
        }
        for part, statistics in zip(parts, _filled(parts), strict=True)
        for metric, value in task.scores(part.view, part.predictions, part.records, statistics).items()
    ]
    for score in scores:
        if not math.isfinite(score["value"]):
            what = f"{task.spec.name} {score['view']}: the score {score['metric']} is {score['value']}"
            raise UserError(what, expected="a finite number", remedy="correct the metric, or the predictions behind it")
    return scores


def write(folder: Path, task: Task, parts: Sequence[Scored], scores: Sequence[Mapping[str, Any]]) -> None:
    """Writes the three files of a score stage's artifact; `scores` are those of `scores_of`."""
    tables = [_table(part, statistics) for part, statistics in zip(parts, _filled(parts), strict=True)]
    write_statistics(folder / STATISTICS, pa.concat_tables(tables), task.ratios())
    shown = {(part.selection, part.view): examples(task, part.predictions, part.records) for part in parts}
    pq.write_table(pa.table(table(shown)), folder / EXAMPLES)
    (folder / SCORES).write_text(json.dumps(scores, ensure_ascii=False), encoding="utf-8")


def write_statistics(file: Path, statistics: pa.Table, ratios: Sequence[Ratio]) -> None:
    """Writes a table of statistics; its metadata declare what each score is a ratio of."""
    declared = json.dumps([asdict(ratio) for ratio in ratios])
    pq.write_table(statistics.replace_schema_metadata({RATIOS: declared}), file)


def read_ratios(file: Path) -> dict[str, Ratio]:
    """The ratios that a table of statistics declares, by the name of the score."""
    declared = json.loads((pq.read_schema(file).metadata or {}).get(RATIOS.encode(), "[]"))
    return {ratio["name"]: Ratio(**ratio) for ratio in declared}


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
