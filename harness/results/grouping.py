"""Averages over groups of languages, by the official rule.

On a task it is the plain mean over the group's views, and over the suite the plain mean over the tasks with such views.

A figure that lacks one of its views is never averaged. Grouped by alignment data, runs stand in one table only where
they were aligned on the same languages; runs that were not aligned stand in each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from harness.data.languages import Alignment, groups
from harness.errors import UserError
from harness.results.labels import Record
from harness.results.overlaps import overlap_counts
from harness.results.tables import (
    HEADLINE,
    Column,
    ResultTable,
    TableKey,
    build_table,
    frame_records,
    group_by_key,
    group_by_run,
    seed_label,
    select_newest,
    task_columns,
)
from harness.storage.store.averages import summarise
from harness.storage.store.schema import AVERAGE

_OF_SCORE = ("task", "view", "metric", "selection", "value")


class _Part(NamedTuple):
    """What stands in one table: summaries of its runs, their official scores, and how languages are grouped."""

    key: TableKey
    runs: Mapping[str, Sequence[Record]]
    values: Mapping[str, Mapping[tuple[str, str], float]]  # run -> (task, view) -> score
    views: Mapping[str, Mapping[str, Sequence[str]]]  # run -> task -> the views that it must have
    groups: Mapping[str, Sequence[str]]


def tables_by_group(
    scores: pd.DataFrame, summaries: pd.DataFrame, by: str, selection: str = HEADLINE
) -> list[ResultTable]:
    """For each key a table of the suite's averages by group, then one for each task; the mean over all is last.

    `scores` and `summaries` come from the store with split="test"; where the summaries hold no average over tasks, the
    suite has no table. Raises UserError where languages are grouped by alignment and no run was aligned.
    """
    tables = []
    for part in _parts(scores, summaries, by, selection):
        means = [row for group in part.groups for row in _means(part, group)]
        columns = task_columns([row for rows in part.runs.values() for row in rows])
        for column in sorted(columns, key=lambda column: column.name != AVERAGE):
            tables.append(_table(part, means, column, by, selection))
    return tables


def group_records(
    scores: pd.DataFrame, summaries: pd.DataFrame, by: str, selection: str = HEADLINE
) -> list[dict[str, Any]]:
    """One JSON-like record per run, task (or the average over tasks) and group; `value` is None unless complete."""
    same = ("method", "base", "suite", "task", "metric", "value", "n_views", "expected_views", "complete")
    more = ("protocol", "source", "transform", "kind", "run", "group", "languages")
    return [
        {name: row[name] for name in (*same, *more)}
        | {"grouping": by, "seed": seed_label(row), "recipe": row["recipe_kind"], "selection": selection}
        | {"contamination": overlap_counts(row["alignment"], *row["behind"])}
        for part in _parts(scores, summaries, by, selection)
        for group in part.groups
        for row in _means(part, group)
    ]


def _parts(scores: pd.DataFrame, summaries: pd.DataFrame, by: str, selection: str) -> Iterator[_Part]:
    totals = select_newest(summaries, selection)
    if by == "aligned" and totals and not any(_alignment(row) for row in totals):
        raise UserError(
            "no run of this store tells which languages it was aligned on",
            expected="a run of a method that trains, made or resumed since alignment data are kept",
            remedy="run it again: what is there is not computed again",
        )
    found = group_by_run(frame_records(scores[["run", *_OF_SCORE]]))
    for key, rows in group_by_key(totals).items():
        for alignment in _alignments(rows) if by == "aligned" else [None]:
            chosen = rows if alignment is None else [row for row in rows if _alignment(row) in (None, alignment)]
            runs = group_by_run(chosen)
            values = {run: _values(found.get(run, ()), own, selection) for run, own in runs.items()}
            views = {run: _views(own, values[run]) for run, own in runs.items()}
            every = [view for own in views.values() for listed in own.values() for view in listed]
            yield _Part(key, runs, values, views, groups(by, every, key.source, alignment))


def _alignment(row: Record) -> Alignment | None:
    return Alignment.of(row["alignment"])


def _alignments(rows: Sequence[Record]) -> list[Alignment]:
    return sorted({alignment for row in rows if (alignment := _alignment(row))})


def _values(scores: Iterable[Record], totals: Sequence[Record], selection: str) -> dict[tuple[str, str], float]:
    """The official scores of one run: those whose metric its summaries name."""
    metric = {row["task"]: row["metric"] for row in totals}
    return {
        (row["task"], row["view"]): float(row["value"])
        for row in scores
        if metric.get(row["task"]) == row["metric"] and row["selection"] in (selection, "")
    }


def _views(totals: Sequence[Record], values: Mapping[tuple[str, str], float]) -> dict[str, list[str]]:
    """The views of each task that a run must score.

    A run stored before they were kept tells only how many they are: where some lack, all of the run's languages are
    taken to be expected, so that a group that may lack one is not averaged.
    """
    views: dict[str, list[str]] = {}
    for row in (row for row in totals if row["task"] != AVERAGE):
        scored = [view for task, view in values if task == row["task"]]
        known = row["views"].get(row["task"])
        views[row["task"]] = known or (scored if row["complete"] else list(dict.fromkeys([*scored, *row["languages"]])))
    return views


def _means(part: _Part, group: str) -> Iterator[dict[str, Any]]:
    """Records of the shape of summaries, one for each run and each of its tasks that the group has views of."""
    members = set(part.groups[group])
    for run, values in part.values.items():
        rows = {row["task"]: row for row in part.runs[run]}
        expected = {task: [v for v in views if v in members] for task, views in part.views[run].items()}
        expected = {task: views for task, views in expected.items() if views}
        metric = {task: rows[task]["metric"] for task in expected}
        for figure in summarise(values, expected, metric):
            if figure.task in rows:
                languages = expected.get(figure.task, sorted({v for views in expected.values() for v in views}))
                behind = (None if figure.task == AVERAGE else figure.task, tuple(languages))
                row = {**rows[figure.task], **figure._asdict(), "group": group, "languages": languages}
                yield {**row, "behind": behind}


def _table(part: _Part, means: Sequence[Record], column: Column, by: str, selection: str) -> ResultTable:
    task, metric = column
    means = [row for row in means if row["task"] == task]
    behind = (None if task == AVERAGE else task, None)
    every = [row for rows in part.runs.values() for row in rows]
    totals = [{**row, "task": AVERAGE, "behind": behind} for row in every if row["task"] == task]
    held = {row["group"]: row["languages"] for row in means}
    columns = (*(Column(name, metric) for name in held), Column(AVERAGE, metric))
    records = [{**row, "task": row["group"], "languages": totals[0]["languages"]} for row in means]
    results = build_table(part.key, [*records, *totals], task, selection, columns)
    told = "; ".join(f"{name}: {' '.join(listed)}" for name, listed in held.items())
    return replace(results, grouping=by, notes=(f"Groups by {by}: {told}.", *results.notes))
