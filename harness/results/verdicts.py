"""Verdicts on a table of results: which rows differ over seeds and items, from the statistics of the score stages.

Rows are compared under the seeds that they share. What items add to the variance of a difference is read from artifacts
once, and kept in the store under the content that it was computed from; all else follows from the scores.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.errors import UserError, list_first
from harness.evaluation import statistics
from harness.evaluation.statistics import MIN_SEEDS, Difference, Differences, ItemVariances, RankIntervals
from harness.results.item_reader import NOTHING, ItemReader, SelectedRun
from harness.results.labels import Record
from harness.results.tables import Marks, ResultRow, ResultTable, run_seeds
from harness.results.versions import cells_of_test_items, differing_cells
from harness.storage.store import AVERAGE


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

    def rank(self, label: str) -> tuple[int, int]:
        """The best and the worst place that a row may have."""
        place = self.labels.index(label)
        return int(self.ranks.best[place]), int(self.ranks.worst[place])

    def tie_groups(self) -> dict[str, int]:
        """A number for each row, from the best down: it grows by one where a row is separable from the first row of the
        group before it. Rows of one number cannot be told apart from the best of them."""
        order = np.argsort(-self.pairs.estimate[:-1, -1], kind="stable").tolist()
        groups = statistics.tie_groups(order, self.ranks.better)
        return {self.labels[place]: group for place, group in zip(order, groups, strict=True)}


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

    @property
    def known(self) -> bool:
        """Whether this machine or the store has the item statistics behind every column."""
        return all(column.pairs.clusters for column in self.columns.values())

    def marks(self, table: ResultTable, groups: Collection[str] = ()) -> Marks:
        """Each row's rank interval by the average (or the only column), and the signs against controls. P-values are
        corrected over all tasks, and over all `groups`."""
        tasks = [column.name for column in table.columns if column.name not in {AVERAGE, *groups}]
        signs: dict[tuple[str, str], int] = {}
        for family in (tasks, groups, [AVERAGE]):
            for cell, (difference, p) in self.against_controls(family).items():
                if p is not None:
                    signs[cell] = int(np.sign(difference.estimate)) if statistics.is_significant(p) else 0
        ranked = self.columns.get(AVERAGE if len(tasks) != 1 else tasks[0])
        ranks = {label: ranked.rank(label) for label in ranked.labels} if ranked else {}
        return Marks(len(self.seeds) if self.columns else 0, ranks, signs)


def correct_p_values(differences: Iterable[Difference]) -> list[float | None]:
    """The p-values of differences, corrected for their number; None where there is no test."""
    p = statistics.holm(np.array([np.nan if one.p is None else one.p for one in differences], dtype=float))
    return [None if np.isnan(value) else float(value) for value in p]


def table_verdicts(
    reader: ItemReader, table: ResultTable, groups: Mapping[str, Sequence[str]] | None = None
) -> Verdicts:
    """The verdicts on a table by task, whose runs the reader knows. Each of the `groups` of tasks has a column.

    Raises UserError where stored statistics do not give the stored scores.
    """
    runs = runs_by_seed(table, reader.runs)
    seeds = _shared_seeds(runs)
    rows = [row for row in table.rows if seeds and runs.get(row.label, {}).keys() >= set(seeds)]
    if len(rows) < 2 or len(seeds) < MIN_SEEDS:
        return Verdicts({}, seeds, {}, f"no two rows share {MIN_SEEDS} seeds")
    chosen = {row.label: selected_runs(runs[row.label], seeds, table) for row in rows}
    parts: dict[str, ItemVariances] = {}
    scores: dict[str, dict[str, np.ndarray]] = {}
    tasks = [column.name for column in table.columns if column.name != AVERAGE]
    for task in tasks:
        same = _same_items([row for row in rows if reader.complete(task, chosen[row.label])], task)
        complete = {label: chosen[label] for label in same}
        if len(complete) > 1:
            parts[task] = reader.item_variances(task, list(complete.values()))
            scores[task] = {label: reader.values(task, own) for label, own in complete.items()}
    columns = {task: _column(scores[task], parts[task]) for task in parts}
    for name, members in {AVERAGE: tasks, **(groups or {})}.items():
        if parts.keys() >= set(members) and len({tuple(scores[task]) for task in members}) == 1:
            means = {label: np.mean([scores[task][label] for task in members], axis=0) for label in scores[members[0]]}
            columns[name] = _column(means, statistics.average([parts[task] for task in members]))
    return Verdicts(columns, seeds, _controls(rows, reader.runs))


class ComparedLine(NamedTuple):
    """A task, or one of its views, with the means of two rows, their difference, and its corrected p-value."""

    task: str
    view: str
    first: float
    second: float
    difference: Difference
    p: float | None


def compare_rows(
    reader: ItemReader,
    table: ResultTable,
    rows: tuple[str, str],
    by_view: bool,
    tasks: Sequence[str] | None = None,
    views: Collection[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> list[ComparedLine]:
    """The differences of two rows by task, on average and by `groups` of tasks; or by view. P-values are corrected over
    tasks or views.

    `tasks` and, in a comparison by view, `views` limit it. Raises UserError where the rows have other seeds, or were
    scored on other test items.
    """
    seeds = runs_by_seed(table, reader.runs)
    if seeds[rows[0]].keys() != seeds[rows[1]].keys():
        raise UserError(
            "the rows were trained with other seeds",
            found="; ".join(f"{label}: {list_seeds(seeds[label])}" for label in rows),
            expected="the same seeds, since differences are taken seed by seed",
            remedy="run the missing seeds",
        )
    runs = {label: selected_runs(seeds[label], sorted(seeds[label]), table) for label in rows}
    names = [column.name for column in table.columns if column.name != AVERAGE and (not tasks or column.name in tasks)]
    refuse_other_items([row for row in table.rows if row.label in rows], names, views)
    return compare_pairs(reader, runs, [rows], names, by_view, views, groups)[0]


def refuse_other_items(rows: Sequence[ResultRow], tasks: Sequence[str], views: Collection[str] | None = None) -> None:
    """Raises UserError where rows were scored on other versions of the test items of a task, in any view or in some."""
    if changed := differing_cells(cells_of_test_items(row.data, task, views) for row in rows for task in tasks):
        raise UserError(
            "the rows were scored on other test items",
            found=f"other versions of {list_first(list(changed))}",
            expected="the same items, since differences are taken item by item",
            remedy="run the older row again, or compare the other tasks with --task",
        )


def compare_pairs(
    reader: ItemReader,
    runs: Mapping[str, Sequence[SelectedRun]],
    pairs: Sequence[tuple[str, str]],
    tasks: Sequence[str],
    by_view: bool = False,
    views: Collection[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> list[list[ComparedLine]]:
    """The lines of each pair of rows by task, on average and by the `groups` of tasks; or by view, of all or some.

    `runs` has those of each row, under the same seeds in the same order. P-values are corrected over all pairs and
    tasks (or views, or groups); those of the average over the pairs.
    """
    labels = list(runs)
    every = list(runs.values())
    lines: list[list[ComparedLine]] = [[] for _ in pairs]
    averages: list[list[ComparedLine]] = [[] for _ in pairs]
    grouped: list[list[ComparedLine]] = [[] for _ in pairs]

    def add(to: list[list[ComparedLine]], task: str, view: str, scores: np.ndarray, items: ItemVariances) -> None:
        means = scores.mean(-1)
        found = statistics.differences(np.concatenate([scores, np.zeros_like(scores[:1])]), items)
        for own, pair in zip(to, pairs, strict=True):
            first, second = map(labels.index, pair)
            one = found.pair(first, second)
            own.append(ComparedLine(task, view, float(means[first]), float(means[second]), one, one.p))

    parts: dict[str, ItemVariances] = {}  # of complete tasks, for their averages
    scores: dict[str, np.ndarray] = {}
    for task in tasks:
        if by_view:
            for view in reader.views(task, itertools.chain(*every)):
                if views is not None and view not in views:
                    continue
                values = np.array([reader.values(task, own, view) for own in every])
                add(lines, task, view, values, reader.item_variances(task, every, view))
        elif all(reader.complete(task, own) for own in every):
            scores[task] = np.array([reader.values(task, own) for own in every])
            parts[task] = reader.item_variances(task, every)
            add(lines, task, "", scores[task], parts[task])
    for name, members in {**(groups or {}), AVERAGE: list(parts)}.items():
        if (len(members) > 1 or name != AVERAGE) and parts.keys() >= set(members):
            means = np.mean([scores[task] for task in members], axis=0)
            items = statistics.average([parts[task] for task in members])
            add(averages if name == AVERAGE else grouped, name, "", means, items)
    corrected = (_correct_lines(each) for each in (lines, grouped, averages))
    return [own + group + average for own, group, average in zip(*corrected, strict=True)]


def _correct_lines(lines: Sequence[Sequence[ComparedLine]]) -> list[list[ComparedLine]]:
    p_values = iter(correct_p_values(line.difference for own in lines for line in own))
    return [[line._replace(p=next(p_values)) for line in own] for own in lines]


def score_estimates(reader: ItemReader, table: ResultTable) -> dict[tuple[str, str], Difference]:
    """The figures of a table by task, each as a difference from nothing, by (row, column).

    `interval()` is over seeds and items, `item_interval()` over items alone, which needs no second seed. Each row has
    its own seeds. A figure without item statistics on this machine has no interval.
    """
    found: dict[tuple[str, str], Difference] = {}
    for label, seeds in runs_by_seed(table, reader.runs).items():
        runs = selected_runs(seeds, sorted(seeds), table)
        names = [column.name for column in table.columns if column.name != AVERAGE]
        complete = [name for name in names if runs and reader.complete(name, runs)]
        parts = {name: reader.item_variances(name, [runs]) for name in complete}
        scores = {name: reader.values(name, runs) for name in complete}
        if complete == names:
            parts[AVERAGE] = statistics.average(list(parts.values()))
            scores[AVERAGE] = np.mean(list(scores.values()), axis=0)
        for name, part in parts.items():
            values = np.array([scores[name], np.zeros_like(scores[name])])
            found[label, name] = statistics.differences(values, part).pair(0, 1)
    return found


def list_seeds(runs: Iterable[str]) -> str:
    return ", ".join(sorted(seed.partition("/")[0] for seed in runs)) or "none"


def describe(line: ComparedLine, first: str, second: str) -> str:
    """The verdict in words."""
    difference = line.difference
    where = "on average" if line.task == AVERAGE else f"on {' '.join(filter(None, (line.task, line.view)))}"
    if difference.reason:
        return f"{where.capitalize()} there is no verdict: {difference.reason}."
    if statistics.is_significant(line.p):
        better, worse = (first, second) if difference.estimate > 0 else (second, first)
        return f"{where.capitalize()} {better} is better than {worse} by {abs(difference.estimate):.1f} points."
    sentence = f"{where.capitalize()} {first} and {second} cannot be told apart with {difference.seeds} seeds"
    smallest = difference.detectable()
    if smallest is not None:
        sentence += f", which find differences from {smallest:.1f} points on"
    for points in (0.5, 1.0, 2.0):
        needed = difference.seeds_to_see(points)
        if needed is not None and needed > difference.seeds:
            return f"{sentence}; {needed} would find {points:g} points."
    return f"{sentence}."


def _column(scores: Mapping[str, np.ndarray], items: ItemVariances) -> ComparedColumn:
    values = list(scores.values())
    pairs = statistics.differences(np.array([*values, np.zeros_like(values[0])]), items)
    return ComparedColumn(tuple(scores), pairs, statistics.rank_intervals(pairs.among(len(scores))))


def runs_by_seed(table: ResultTable, runs: Mapping[str, Record]) -> dict[str, dict[str, str]]:
    """The run of each seed, by the label of the row; `runs` has a record of each."""

    def seed(run: str) -> str:
        return "/".join(map(str, run_seeds(runs[run])))

    trained = {name for name, record in runs.items() if record["kind"] == "trained"}
    return {row.label: {seed(run): run for run in row.runs if run in trained} for row in table.rows}


def selected_runs(runs: Mapping[str, str], seeds: Iterable[str], table: ResultTable) -> list[SelectedRun]:
    """The runs of some seeds under the selection of a table."""
    return [SelectedRun(runs[seed], table.selection) for seed in seeds]


def _same_items(rows: Sequence[ResultRow], task: str) -> list[str]:
    """The labels of those rows that were scored on the same test items of a task: of the largest such set."""
    sets: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for row in rows:
        sets.setdefault(tuple(cells_of_test_items(row.data, task).items()), []).append(row.label)
    return max(sets.values(), key=len, default=[])


def _shared_seeds(runs: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """The seeds that the most rows share, of those sets that a row has; the largest set where several tie."""
    candidates = {tuple(sorted(own)) for own in runs.values() if len(own) >= MIN_SEEDS}
    if not candidates:
        return ()

    def size(seeds: tuple[str, ...]) -> tuple[int, int]:
        return sum(own.keys() >= set(seeds) for own in runs.values()), len(seeds)

    return max(sorted(candidates), key=size)


def _controls(rows: Sequence[ResultRow], runs: Mapping[str, Record]) -> dict[str, str]:
    """The row of the baseline that each row's card names."""
    labels = {row.method: row.label for row in rows if not row.transform}
    wanted = {row.label: (runs[row.runs[0]]["card"] or {}).get("control") for row in rows}
    return {label: labels[name] for label, name in wanted.items() if name in labels and labels[name] != label}
