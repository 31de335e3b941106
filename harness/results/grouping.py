"""Averages over groups of languages, by the official rule.

A task's average is the plain mean over the group's views, and the suite's is the plain mean over the tasks with such
views. A figure that lacks one of its views is not averaged. Grouped by alignment data, runs share a table only if they
were aligned on the same languages; runs without alignment are in each of these tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

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

if TYPE_CHECKING:
    import pandas as pd

_SCORE_COLUMNS = ("run", "task", "view", "metric", "selection", "value")


class _GroupedRuns(NamedTuple):
    """The contents of one table: summaries of its runs, their official scores, and the groups of languages."""

    key: TableKey
    runs: Mapping[str, Sequence[Record]]
    values: Mapping[str, Mapping[tuple[str, str], float]]  # run -> (task, view) -> score
    views: Mapping[str, Mapping[str, Sequence[str]]]  # run -> task -> the views that it must score
    groups: Mapping[str, Sequence[str]]


def tables_by_group(
    scores: pd.DataFrame, summaries: Sequence[Record], by: str, selection: str = HEADLINE
) -> list[ResultTable]:
    """For each key a table of the suite's averages by group, then one for each task; the last column is the mean.

    `scores` and `summaries` come from the store with split="test". Summaries without an average over tasks give no
    table for the suite. Raises UserError if languages are grouped by alignment and no run was aligned.
    """
    tables = []
    for part in _grouped_runs(scores, summaries, by, selection):
        means = [row for group in part.groups for row in _group_means(part, group)]
        columns = task_columns([row for rows in part.runs.values() for row in rows])
        for column in sorted(columns, key=lambda column: column.name != AVERAGE):
            tables.append(_task_table(part, means, column, by, selection))
    return tables


def group_records(
    scores: pd.DataFrame, summaries: Sequence[Record], by: str, selection: str = HEADLINE
) -> list[dict[str, Any]]:
    """One JSON-like record per run, task (or the average over tasks) and group; `value` is None unless complete."""
    same = ("method", "base", "suite", "task", "metric", "value", "n_views", "expected_views", "complete")
    more = ("protocol", "source", "transform", "kind", "run", "group", "languages")
    return [
        {name: row[name] for name in (*same, *more)}
        | {"grouping": by, "seed": seed_label(row), "recipe": row["recipe_kind"], "selection": selection}
        | {"contamination": overlap_counts(row["alignment"], *row["behind"])}
        for part in _grouped_runs(scores, summaries, by, selection)
        for group in part.groups
        for row in _group_means(part, group)
    ]


def _grouped_runs(scores: pd.DataFrame, summaries: Sequence[Record], by: str, selection: str) -> Iterator[_GroupedRuns]:
    totals = select_newest(summaries, selection)
    if by == "aligned" and totals and not any(_alignment(row) for row in totals):
        raise UserError(
            "no run of this store records the languages it was aligned on",
            expected="a run of a method that trains, made or resumed since alignment data are stored",
            remedy="run it again: finished stages are reused",
        )
    scores_of = group_by_run(frame_records(scores[list(_SCORE_COLUMNS)]))
    for key, rows in group_by_key(totals).items():
        aligned = sorted({alignment for row in rows if (alignment := _alignment(row))})
        for alignment in aligned if by == "aligned" else [None]:
            chosen = rows if alignment is None else [row for row in rows if _alignment(row) in (None, alignment)]
            runs, values, views = group_by_run(chosen), {}, {}
            for run, own in runs.items():
                metric = {row["task"]: row["metric"] for row in own}
                values[run] = {
                    (row["task"], row["view"]): float(row["value"])
                    for row in scores_of.get(run, ())
                    if metric.get(row["task"]) == row["metric"] and row["selection"] in (selection, "")
                }
                views[run] = _expected_views(own, values[run])
            every = [view for own_views in views.values() for listed in own_views.values() for view in listed]
            yield _GroupedRuns(key, runs, values, views, groups(by, every, key.source, alignment))


def _alignment(row: Record) -> Alignment | None:
    return Alignment.of(row["alignment"])


def _expected_views(totals: Sequence[Record], values: Mapping[tuple[str, str], float]) -> dict[str, list[str]]:
    """The views of each task that a run must score.

    An old run only knows how many there are. If it lacks some, all of its languages are expected, so that a group that
    may be incomplete is not averaged.
    """
    views: dict[str, list[str]] = {}
    for row in (row for row in totals if row["task"] != AVERAGE):
        scored = [view for task, view in values if task == row["task"]]
        known = row["views"].get(row["task"])
        views[row["task"]] = known or (scored if row["complete"] else list(dict.fromkeys([*scored, *row["languages"]])))
    return views


def _group_means(part: _GroupedRuns, group: str) -> Iterator[dict[str, Any]]:
    """Records in the shape of summaries, one for each run and each of its tasks with views in the group."""
    members = set(part.groups[group])
    for run, values in part.values.items():
        rows = {row["task"]: row for row in part.runs[run]}
        expected = {task: [v for v in views if v in members] for task, views in part.views[run].items()}
        expected = {task: views for task, views in expected.items() if views}
        metric = {task: rows[task]["metric"] for task in expected}
        for mean in summarise(values, expected, metric):
            if mean.task in rows:
                languages = expected.get(mean.task, sorted({v for views in expected.values() for v in views}))
                behind = (None if mean.task == AVERAGE else mean.task, tuple(languages))
                row = {**rows[mean.task], **mean._asdict(), "group": group, "languages": languages}
                yield {**row, "behind": behind}


def _task_table(part: _GroupedRuns, means: Sequence[Record], column: Column, by: str, selection: str) -> ResultTable:
    task, metric = column
    means = [row for row in means if row["task"] == task]
    behind = (None if task == AVERAGE else task, None)
    summaries = [row for rows in part.runs.values() for row in rows]
    totals = [{**row, "task": AVERAGE, "behind": behind} for row in summaries if row["task"] == task]
    members = {row["group"]: row["languages"] for row in means}
    columns = (*(Column(name, metric) for name in members), Column(AVERAGE, metric))
    records = [{**row, "task": row["group"], "languages": totals[0]["languages"]} for row in means]
    table = build_table(part.key, [*records, *totals], task, selection, columns)
    listed = "; ".join(f"{name}: {' '.join(languages)}" for name, languages in members.items())
    return replace(table, grouping=by, notes=(f"Groups by {by}: {listed}.", *table.notes))
