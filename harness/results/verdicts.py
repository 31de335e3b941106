"""Verdicts on a table of results: which rows differ over seeds and items, from the statistics of the score stages.

Rows are compared under the seeds that they share. What items add to the variance of a difference is read from artifacts
once, and kept in the store under the content that it was computed from; all else follows from the scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.errors import UserError
from harness.evaluation import statistics
from harness.evaluation.statistics import MIN_SEEDS, Difference, Differences, ItemVariances, RankIntervals
from harness.results.item_reader import NOTHING, ItemReader
from harness.results.tables import ResultRow, ResultTable, tables_by_task
from harness.storage.store import AVERAGE, Store


class ComparedColumn(NamedTuple):
    """The rows of one column that are compared under the same seeds.

    `labels` are their names; `pairs` has one method more, the last, which is none: a difference from it is a score.
    """

    labels: tuple[str, ...]
    pairs: Differences
    ranks: RankIntervals

    def difference(self, first: str, second: str = NOTHING) -> Difference:
        names = [*self.labels, NOTHING]
        return self.pairs.pair(names.index(first), names.index(second))


@dataclass(frozen=True)
class Verdicts:
    """What the seeds and items of a table can tell: its compared columns by name, under the shared `seeds`.

    `reason` says why nothing is compared. `controls` maps a row to its baseline.
    """

    columns: Mapping[str, ComparedColumn]
    seeds: tuple[str, ...]
    controls: Mapping[str, str]
    reason: str = ""

    def against_controls(self, tasks: Iterable[str]) -> dict[tuple[str, str], tuple[Difference, float | None]]:
        """The difference of each row from its control on each task, by (row, task), with Holm's p over all of them."""
        found = {}
        for task in tasks:
            column = self.columns.get(task)
            for row, control in self.controls.items():
                if column is not None and {row, control} <= set(column.labels):
                    found[row, task] = column.difference(row, control)
        p_values = correct_p_values(found.values())
        return {cell: (found[cell], p) for cell, p in zip(found, p_values, strict=True)}


def correct_p_values(differences: Iterable[Difference]) -> list[float | None]:
    """The p-values of differences, corrected for their number; None where there is no test."""
    p = statistics.holm(np.array([np.nan if one.p is None else one.p for one in differences], dtype=float))
    return [None if np.isnan(value) else float(value) for value in p]


def table_verdicts(store: Store, table: ResultTable, summaries: pd.DataFrame, artifacts: Path) -> Verdicts:
    """The verdicts on a table by task, whose `summaries` the store gave.

    Raises UserError where stored statistics do not give the stored scores.
    """
    runs = _runs_by_seed(table, summaries)
    seeds = _shared_seeds(runs)
    rows = [row for row in table.rows if seeds and runs.get(row.label, {}).keys() >= set(seeds)]
    if len(rows) < 2 or len(seeds) < MIN_SEEDS:
        return Verdicts({}, seeds, {}, f"no two rows share {MIN_SEEDS} seeds")
    chosen = {row.label: [runs[row.label][seed] for seed in seeds] for row in rows}
    reader = ItemReader(store, artifacts, summaries, [run for own in chosen.values() for run in own])
    parts: dict[str, ItemVariances] = {}
    scores: dict[str, dict[str, np.ndarray]] = {}
    tasks = [column.name for column in table.columns if column.name != AVERAGE]
    for task in tasks:
        complete = {label: own for label, own in chosen.items() if reader.complete(task, own)}
        if len(complete) > 1:
            parts[task] = reader.item_variances(task, list(complete.values()))
            scores[task] = {label: reader.values(task, own) for label, own in complete.items()}
    columns = {task: _column(scores[task], parts[task]) for task in parts}
    if len(parts) == len(tasks) and len({tuple(own) for own in scores.values()}) == 1:
        means = {label: np.mean([scores[task][label] for task in tasks], axis=0) for label in scores[tasks[0]]}
        columns[AVERAGE] = _column(means, statistics.average(list(parts.values())))
    return Verdicts(columns, seeds, _controls(rows, summaries))


def add_verdicts(table: ResultTable, verdicts: Verdicts) -> ResultTable:
    """The table with each row's rank interval by the average (or the only column), and each cell's sign against the
    row's control, with a note that explains them."""
    tasks = [column.name for column in table.columns if column.name != AVERAGE]
    signs: dict[tuple[str, str], int] = {}
    for family in (tasks, [AVERAGE]):
        for cell, (difference, p) in verdicts.against_controls(family).items():
            if p is not None:
                signs[cell] = int(np.sign(difference.estimate)) if p < 1 - statistics.LEVEL else 0
    ranked = verdicts.columns.get(AVERAGE if len(tasks) != 1 else tasks[0])
    ranks = {}
    if ranked:
        ranges = zip(ranked.labels, ranked.ranks.best, ranked.ranks.worst, strict=True)
        ranks = {label: (int(best), int(worst)) for label, best, worst in ranges}
    rows = [
        replace(
            row,
            rank=ranks.get(row.label),
            cells={name: cell._replace(sign=signs.get((row.label, name))) for name, cell in row.cells.items()},
        )
        for row in table.rows
    ]
    if not verdicts.columns:
        return table
    note = (
        f"Rank: the places that a row may have, for all rows at once with 95% confidence, over {len(verdicts.seeds)} "
        "seeds and the test items. ▲ ▼: better or worse than the row's control (p < 0.05, Holm)."
    )
    return replace(table, rows=tuple(rows), notes=(note, *table.notes))


class ComparedLine(NamedTuple):
    """A task, or one of its views, with the means of two rows, their difference, and its corrected p-value."""

    task: str
    view: str
    first: float
    second: float
    difference: Difference
    p: float | None


def compare_rows(
    store: Store, table: ResultTable, summaries: pd.DataFrame, artifacts: Path, rows: tuple[str, str], by_view: bool
) -> list[ComparedLine]:
    """The differences of two rows by task and on average, or by view; p-values are corrected over tasks or views.

    Raises UserError where the rows have other seeds, or other views of a task.
    """
    seeds = _runs_by_seed(table, summaries)
    own = [seeds[label] for label in rows]
    if own[0].keys() != own[1].keys():
        raise UserError(
            "the rows were trained with other seeds",
            found="; ".join(f"{label}: {_list_seeds(seeds[label])}" for label in rows),
            expected="the same seeds, since differences are taken seed by seed",
            remedy="run the missing seeds",
        )
    runs = [[each[seed] for seed in sorted(own[0])] for each in own]
    reader = ItemReader(store, artifacts, summaries, [run for each in runs for run in each])
    tasks = [column.name for column in table.columns if column.name != AVERAGE]
    tasks = [task for task in tasks if all(reader.complete(task, each) for each in runs)]
    lines = []
    parts, scores = [], []  # of the tasks, for their average
    for task in tasks:
        if by_view:
            views = sorted({view for each in runs for run in each for view in reader.scores(task, run)["view"]})
            for view in views:
                values = [reader.values(task, each, view) for each in runs]
                lines.append(_compared_line(task, view, values, reader.item_variances(task, runs, view)))
        else:
            scores.append([reader.values(task, each) for each in runs])
            parts.append(reader.item_variances(task, runs))
            lines.append(_compared_line(task, "", scores[-1], parts[-1]))
    p_values = correct_p_values(line.difference for line in lines)
    lines = [line._replace(p=p) for line, p in zip(lines, p_values, strict=True)]
    if len(parts) > 1:
        lines.append(_compared_line(AVERAGE, "", np.mean(scores, axis=0), statistics.average(parts)))
    return lines


def _list_seeds(runs: Mapping[str, str]) -> str:
    return ", ".join(sorted(seed.partition("/")[0] for seed in runs)) or "none"


def _compared_line(task: str, view: str, scores: Sequence[np.ndarray], items: ItemVariances) -> ComparedLine:
    """The line of two rows' scores (2, S), with its uncorrected p-value."""
    pair = statistics.differences(np.array([*scores, np.zeros_like(scores[0])]), items).pair(0, 1)
    return ComparedLine(task, view, float(scores[0].mean()), float(scores[1].mean()), pair, pair.p)


def describe(line: ComparedLine, first: str, second: str) -> str:
    """The verdict in words."""
    difference = line.difference
    where = "on average" if line.task == AVERAGE else f"on {' '.join(filter(None, (line.task, line.view)))}"
    if difference.reason:
        return f"{where.capitalize()} there is no verdict: {difference.reason}."
    p = line.p if line.p is not None else 1.0
    if p < 1 - statistics.LEVEL:
        better, worse = (first, second) if difference.estimate > 0 else (second, first)
        return f"{where.capitalize()} {better} is better than {worse} by {abs(difference.estimate):.1f} points."
    sentence = f"{where.capitalize()} the two cannot be told apart with {difference.seeds} seeds"
    smallest = difference.detectable()
    if smallest is not None:
        sentence += f", which find differences from {smallest:.1f} points on"
    for points in (0.5, 1.0, 2.0):
        needed = difference.seeds_to_see(points)
        if needed is not None and needed > difference.seeds:
            return f"{sentence}; {needed} would find {points:g} points."
    return f"{sentence}."


def judged_tables(store: Store, summaries: pd.DataFrame, artifacts: Path, selection: str) -> list[ResultTable]:
    """The tables by task with ranks and marks."""
    tables = tables_by_task(summaries, selection)
    return [add_verdicts(table, table_verdicts(store, table, summaries, artifacts)) for table in tables]


def _column(scores: Mapping[str, np.ndarray], items: ItemVariances) -> ComparedColumn:
    values = list(scores.values())
    pairs = statistics.differences(np.array([*values, np.zeros_like(values[0])]), items)
    return ComparedColumn(tuple(scores), pairs, statistics.rank_intervals(pairs.among(len(scores))))


def _runs_by_seed(table: ResultTable, summaries: pd.DataFrame) -> dict[str, dict[str, str]]:
    """The run of each seed, by the label of the row."""
    known = summaries.drop_duplicates("run").set_index("run")
    seeds = (known["align_seed"].astype(str) + "/" + known["finetune_seed"].astype(str)).to_dict()
    trained = set(known.index[known["kind"] == "trained"])
    return {row.label: {seeds[run]: run for run in row.runs if run in trained} for row in table.rows}


def _shared_seeds(runs: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """The seeds that the most rows share, of those sets that a row has; the largest set where several tie."""
    candidates = {tuple(sorted(own)) for own in runs.values() if len(own) >= MIN_SEEDS}
    if not candidates:
        return ()

    def size(seeds: tuple[str, ...]) -> tuple[int, int]:
        return sum(own.keys() >= set(seeds) for own in runs.values()), len(seeds)

    return max(sorted(candidates), key=size)


def _controls(rows: Sequence[ResultRow], summaries: pd.DataFrame) -> dict[str, str]:
    """The row of the baseline that each row's card names."""
    cards = summaries.drop_duplicates("run").set_index("run")["card"]
    labels = {row.method: row.label for row in rows if not row.transform}
    wanted = {row.label: (cards[row.runs[0]] or {}).get("control") for row in rows}
    return {label: labels[name] for label, name in wanted.items() if name in labels and labels[name] != label}
