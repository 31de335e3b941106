"""What items add to the variance of differences between rows, read from the artifacts of score stages or the store."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.code import code_hash
from harness.errors import UserError
from harness.evaluation import item_statistics, statistics
from harness.evaluation.statistics import ItemVariances
from harness.files import STATISTICS, json_digest
from harness.results.labels import Record
from harness.results.tables import frame_records
from harness.storage.shared import open_artifacts
from harness.storage.store import Store
from harness.storage.store.averages import origin
from harness.storage.store.verdicts import read_item_variances, write_item_variances

NOTHING = ""  # in the place of a row: its differences from others are their scores


class SelectedRun(NamedTuple):
    """The test scores of a run under one checkpoint selection; tasks that select none have the same under each."""

    run: str
    selection: str


class ItemReader:
    """The item statistics of some runs, and their scores; `summaries` are the records of their averages."""

    def __init__(self, store: Store, artifacts: Path, summaries: Sequence[Record]) -> None:
        self.store, self.artifacts = store, artifacts
        self.summaries = {(row["run"], row["task"], row["selection"]): row for row in summaries}
        self.runs: dict[str, Record] = {row["run"]: row for row in summaries}
        self._cells: dict[str, dict[str, list[Record]]] = {}
        self._task = ""
        self._tables: dict[SelectedRun, pd.DataFrame | None] = {}

    def summary(self, task: str, run: SelectedRun) -> Record | None:
        """The task's score in a run; None where it has none under this selection."""
        return self.summaries.get((run.run, task, run.selection)) or self.summaries.get((run.run, task, ""))

    def complete(self, task: str, runs: Sequence[SelectedRun]) -> bool:
        return all((row := self.summary(task, run)) is not None and row["complete"] for run in runs)

    def views(self, task: str, runs: Iterable[SelectedRun]) -> list[str]:
        """The views of a task that all runs have a score of."""
        each = [{row["view"] for row in self.scores(task, run)} if self.summary(task, run) else set() for run in runs]
        return sorted(set.intersection(*each))

    def values(self, task: str, runs: Sequence[SelectedRun], view: str | None = None) -> np.ndarray:
        """(S,) the scores of a task, or of one view."""
        if view is None:
            return np.array([self._known(task, run)["value"] for run in runs], dtype=float)
        return np.array([float(self.scores(task, run, view)[0]["value"]) for run in runs])

    def scores(self, task: str, run: SelectedRun, view: str | None = None) -> list[Record]:
        """The scores that a run's task score is the mean of, or the one of a view."""
        summary = self._known(task, run)
        selections = (summary["selection"], "")
        return [
            row
            for row in self._scores_of(task, run.run)
            if row["metric"] == summary["metric"] and row["selection"] in selections and view in (None, row["view"])
        ]

    def item_variances(
        self, task: str, rows: Sequence[Sequence[SelectedRun]], view: str | None = None
    ) -> ItemVariances:
        """The item parts of all pairs of rows and of nothing; each row lists its runs, one per seed."""
        keys = [json_digest([self._origin(task, run, view) for run in runs]) for runs in rows] + [NOTHING]
        code = code_hash(statistics.__name__, item_statistics.__name__)
        pairs = [_sorted(*pair) for pair in itertools.combinations(keys, 2)]
        known = read_item_variances(self.store, code, keys)
        if not known.keys() >= set(pairs):
            tables = self._read_tables(task, rows, view)
            parts = None if tables is None else variances_of(tables)
            if parts is None:
                unknown = np.full((len(keys), len(keys)), np.nan)
                return ItemVariances(unknown, unknown, 0)
            places = itertools.combinations(range(len(keys)), 2)
            known = {
                pair: (float(parts.between[place]), float(parts.interaction[place]), parts.clusters)
                for pair, place in zip(pairs, places, strict=True)
            }
            write_item_variances(self.store, code, known)
        between, interaction = np.zeros((2, len(keys), len(keys)))
        clusters = 0
        for (a, first), (b, second) in itertools.combinations(enumerate(keys), 2):
            between[a, b], interaction[a, b], clusters = known[_sorted(first, second)]
        return ItemVariances(between + between.T, interaction + interaction.T, clusters)

    def _known(self, task: str, run: SelectedRun) -> Record:
        summary = self.summary(task, run)
        assert summary is not None, f"{run} has no score of {task}"
        return summary

    def _origin(self, task: str, run: SelectedRun, view: str | None) -> str:
        """A digest of what a score is computed from."""
        summary = self._known(task, run)
        if view is not None:
            return origin(summary["metric"], summary["selection"], self.scores(task, run, view))
        return summary["origin"] or run.run  # a program of an earlier version writes none

    def _scores_of(self, task: str, run: str) -> list[Record]:
        """All test scores of a task in a run. They are many, so they are read where one of them is asked for."""
        if run not in self._cells:
            wanted = ("task", "view", "selection", "metric", "stage", "value")
            own = self._cells[run] = {}
            for row in frame_records(self.store.cells(wanted, run=run, split="test")):
                own.setdefault(row["task"], []).append(row)
        return self._cells[run].get(task, [])

    def _read_tables(
        self, task: str, rows: Sequence[Sequence[SelectedRun]], view: str | None
    ) -> list[list[pd.DataFrame]] | None:
        """The items of all runs; None as soon as one lacks them, since the others are large."""
        tables: list[list[pd.DataFrame]] = []
        for runs in rows:
            tables.append([])
            for run in runs:
                if (table := self._items(task, run, view)) is None:
                    return None
                tables[-1].append(table)
        return tables

    def _items(self, task: str, run: SelectedRun, view: str | None) -> pd.DataFrame | None:
        if task != self._task:  # the tables of one task are kept, since comparisons by view read each several times
            self._task, self._tables = task, {}
        if run not in self._tables:
            self._tables[run] = read_items(self.artifacts, self.scores(task, run))
        table = self._tables[run]
        return table if table is None or view is None else table[table["view"] == view].reset_index(drop=True)


def read_items(artifacts: Path, scores: Sequence[Record]) -> pd.DataFrame | None:
    """What each item adds to the numerator (`above`) and the denominator (`below`) of its view's score, in a fixed
    order: `view`, `item`, `cluster`, `above`, `below`.

    `scores` are those of one run, task and metric. None where the statistics behind one of them are not on this
    machine, or do not declare the metric. Raises UserError where the items give another score.
    """
    frames, ratio = [], None
    views: dict[tuple[str, str], list[str]] = {}
    for row in scores:
        views.setdefault((row["stage"], row["selection"]), []).append(row["view"])
    for (stage, selection), own in views.items():
        if not stage.isalnum() or (path := open_artifacts(artifacts).find_file(stage, STATISTICS)) is None:
            return None  # a store may name any path
        ratio = item_statistics.read_ratios(path).get(scores[0]["metric"])
        if ratio is None:
            return None
        table = pd.read_parquet(path, columns=["selection", "view", "item", "cluster", *ratio.columns])
        table = table[table["selection"].isin([selection, ""]) & table["view"].isin(own)]
        above, below = ratio.parts(table)
        clusters = table["cluster"].where(table["cluster"] != "", table["item"])
        frames.append(table[["view", "item"]].assign(cluster=clusters, above=above, below=below))
    if ratio is None:
        return None
    found = pd.concat(frames).sort_values(["view", "item"], kind="stable", ignore_index=True)
    sums = found.groupby("view")[["above", "below"]].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        computed = (100 * sums["above"] / sums["below"]).fillna(ratio.empty or 0.0)
    for view, stored in ((row["view"], row["value"]) for row in scores):
        if not abs(computed.get(view, np.nan) - stored) < 1e-6:
            raise UserError(
                "item statistics do not give the stored score",
                found=f"{view}: {computed.get(view)} instead of {stored}, score stage {scores[0]['stage']}",
                remedy="`alignboard verify` finds what is damaged; run the command again to recompute it",
            )
    return found


def variances_of(rows: Sequence[Sequence[pd.DataFrame | None]]) -> ItemVariances | None:
    """The item parts of all pairs of rows and of nothing, the last; each row has the tables of `read_items` of its
    seeds. None where a table is missing, or has other items."""
    first = rows[0][0]
    if first is None:
        return None
    codes, names = pd.factorize(first["cluster"])
    views = first["view"].to_numpy()
    parts = np.empty((2, len(rows), len(rows[0]), len(first)), dtype=np.float32)  # counts, and shares of items
    for method, own in enumerate(rows):
        for seed, table in enumerate(own):
            if table is None or not table[["view", "item"]].equals(first[["view", "item"]]):
                return None
            parts[:, method, seed] = table[["above", "below"]].to_numpy().T
    moves = np.zeros((len(rows) + 1, len(rows[0]), len(names)))
    weight = 1 / len(set(views))
    for name in set(views):
        where = views == name
        above, below = parts[:, :, :, where].astype(float)
        moves[:-1] += statistics.contributions(above, below, codes[where], len(names), weight)
    return statistics.item_variances(moves)


def _sorted(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first < second else (second, first)
