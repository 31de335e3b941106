"""The results table: methods by tasks, or by the languages of one task, averaged over seeds.

Runs stand in one table only when suite, protocol, recipe, base, source and list of languages are equal. A row is a
method with one configuration; its seeds are averaged. A figure that lacks a view is never averaged: it is a dash with
the count of what is there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from harness.errors import counted
from harness.results.labels import Record, mismatch_notes, row_identity, row_labels
from harness.results.overlaps import LIMIT, ContaminatedSet, contaminated_sets, overlap_counts
from harness.storage.store.schema import AVERAGE

CONTROLS = ("mbert", "continued-mlm")  # whom gains are attributed against; a transformed corpus makes one too
HEADLINE = "english"
VERDICT_SEEDS = 3
MARK = "†"  # a figure with test items in the alignment text behind it
SHOWN = 5  # test sets that a note names
_ORDER = {"trained": 1, "external": 2, "published": 3}


class TableKey(NamedTuple):
    """What all runs of one table have in common."""

    suite: str
    protocol: str
    recipe: str
    base: str
    source: str
    languages_hash: str


class Column(NamedTuple):
    """A task, a language, or the average; `metric` names the unit."""

    name: str
    metric: str


class ResultCell(NamedTuple):
    """One figure: the `values` of the complete seeds. `have` and `expected` count the views of the fullest seed.

    `contaminated`: more than `harness.results.overlaps.LIMIT` of a test set behind it occurs in the alignment text.
    """

    values: tuple[float, ...]
    have: int
    expected: int
    contaminated: bool = False

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds, with n - 1; None for a single seed."""
        if len(self.values) < 2:
            return None
        mean = statistics.fmean(self.values)
        return math.sqrt(math.fsum((value - mean) ** 2 for value in self.values) / (len(self.values) - 1))


NOTHING = ResultCell((), 0, 1)


@dataclass(frozen=True)
class ResultRow:
    """A method with one configuration, and its `runs`, one per seed. `badge`: control, external, published or empty."""

    label: str
    method: str
    transform: str
    badge: str
    seeds: int
    cells: Mapping[str, ResultCell]
    runs: tuple[str, ...] = ()

    def cell(self, column: str) -> ResultCell:
        return self.cells.get(column, NOTHING)


@dataclass(frozen=True)
class ResultTable:
    """One table: controls first, then methods from the best average down; the average is the last column."""

    key: TableKey
    view: str  # "task", or the name of the task (or the average) whose languages or groups are the columns
    selection: str
    languages: int
    columns: tuple[Column, ...]
    rows: tuple[ResultRow, ...]
    notes: tuple[str, ...] = ()
    grouping: str = ""  # by which property languages are grouped, where the columns are groups


def tables_by_task(summaries: pd.DataFrame, selection: str = HEADLINE) -> list[ResultTable]:
    """Tables of methods by tasks from `Store.summaries(split="test")`, one for each key, sorted by key."""
    return [
        build_table(key, records, "task", selection, task_columns(records))
        for key, records in group_by_key(select_newest(summaries, selection)).items()
    ]


def tables_by_language(
    scores: pd.DataFrame, summaries: pd.DataFrame, task: str, selection: str = HEADLINE
) -> list[ResultTable]:
    """Tables of methods by the views of one task, its mean over them last.

    `scores` and `summaries` come from the store with split="test"; the official metric is the one summarised.
    """
    kept = scores[(scores["task"] == task) & scores["selection"].isin([selection, ""])]
    views_of = group_by_run(frame_records(kept[["run", "view", "metric", "value"]]))
    tables = []
    for key, totals in group_by_key(
        [row for row in select_newest(summaries, selection) if row["task"] == task]
    ).items():
        metric = totals[0]["metric"]
        views = [
            _view_record(total, row)
            for total in totals
            for row in views_of.get(total["run"], ())
            if row["metric"] == metric
        ]
        names = sorted({row["task"] for row in views})
        columns = (*(Column(name, metric) for name in names), Column(AVERAGE, metric))
        records = [*views, *({**row, "task": AVERAGE, "behind": (task, None)} for row in totals)]
        tables.append(build_table(key, records, task, selection, columns))
    return tables


def table_caption(results: ResultTable) -> str:
    """What a table shows, in words: "6 methods, xtreme-align, protocol mini, 9 languages, 3 seeds"."""
    key, seeds = results.key, sorted({row.seeds for row in results.rows})
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    parts = [
        _rows_and_methods(results.rows),
        key.suite if results.view == "task" else f"{results.view} of {key.suite}",
        f"protocol {key.protocol}",
        f"{key.recipe} recipe",
        f"source {key.source}" if key.source else "",
        f"base {key.base}" if key.base else "",
        counted(results.languages, "language") if results.languages else "",
        f"{span} seed{'' if span == '1' else 's'}",
        f"by {results.grouping}" if results.grouping else "",
        "" if results.selection == HEADLINE else f"{results.selection} selection",
    ]
    return ", ".join(part for part in parts if part)


def _rows_and_methods(rows: Sequence[ResultRow]) -> str:
    methods = counted(len({row.method for row in rows}), "method")
    return methods if methods == counted(len(rows), "method") else f"{len(rows)} rows of {methods}"


def score_records(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """One JSON-like record per score, as `alignboard show --format json` prints them."""
    renamed = {"recipe_kind": "recipe"}
    same = ("method", "base", "suite", "task", "language", "split", "metric", "value", "n")
    more = ("view", "protocol", "recipe_kind", "selection", "source", "transform", "kind", "run")
    return [
        {"seed": seed_label(row), **{renamed.get(name, name): _plain(row[name]) for name in (*same, *more)}}
        | {"contamination": _contamination(row)}
        for row in frame_records(scores)
    ]


def frame_records(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame, as dictionaries."""
    names = list(frame.columns)
    columns = [frame[name].to_numpy(dtype=object) for name in names]  # Arrow's strings are slow one by one
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def select_newest(frame: pd.DataFrame, selection: str) -> list[Record]:
    """The records of this selection and of tasks that select nothing, of the newest run for each row and seed pair."""
    records = [row for row in frame_records(frame) if row["selection"] in (selection, "")]
    runs = {row["run"]: row for row in records}  # what tells runs apart is the same in all records of a run
    newest = {(_key(row), row_identity(row), _seeds(row)): row["run"] for row in sorted(runs.values(), key=_born)}
    kept = set(newest.values())
    return [row for row in records if row["run"] in kept]


def group_by_run(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by their run, in the order of its first."""
    runs: dict[str, list[Record]] = {}
    for row in records:
        runs.setdefault(row["run"], []).append(row)
    return runs


def _born(row: Record) -> Any:
    return row["created"]


def group_by_key(records: Iterable[Record]) -> dict[TableKey, list[Record]]:
    """Records by what all runs of one table have in common, sorted by it."""
    groups: dict[TableKey, list[Record]] = {}
    for row in records:
        groups.setdefault(_key(row), []).append(row)
    return dict(sorted(groups.items()))


def _key(row: Record) -> TableKey:
    return TableKey(
        row["suite"], row["protocol"], row["recipe_kind"], row["base"], row["source"], row["languages_hash"]
    )


def _seeds(row: Record) -> tuple[int | None, int | None]:
    return _integer(row["align_seed"]), _integer(row["finetune_seed"])


def seed_label(row: Record) -> int | str | None:
    """A run's seed: one number on the diagonal, else "alignment/fine-tuning"."""
    align, finetune = _seeds(row)
    if align == finetune or finetune is None:
        return align
    return finetune if align is None else f"{align}/{finetune}"


def _integer(value: Any) -> int | None:
    return None if value is None or pd.isna(value) else int(value)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def task_columns(records: Sequence[Record]) -> tuple[Column, ...]:
    """The tasks in the order of the suite; runs may know different lists of them."""
    position: dict[str, int] = {}
    for row in records:
        position[row["task"]] = max(position.get(row["task"], 0), int(row["position"]))
    metric = {row["task"]: row["metric"] for row in records}
    names = sorted(position, key=lambda name: (name == AVERAGE, position[name], name))
    return tuple(Column(name, "" if name == AVERAGE else metric[name]) for name in names)


def _view_record(total: Record, row: Record) -> Record:
    """The score of one view in the shape of the summary of its task."""
    counts = {"n_views": 1, "expected_views": 1, "complete": True}
    return {**total, "task": row["view"], "value": row["value"], **counts, "behind": (total["task"], (row["view"],))}


def _contamination(row: Record) -> dict[str, Any] | None:
    """What is known of the test items behind a score; None for a score on dev."""
    return overlap_counts(row["alignment"], row["task"], (row["view"],)) if row["split"] == "test" else None


def _contaminated(row: Record) -> list[ContaminatedSet]:
    """The test sets above the limit behind a record; `behind` names task and views where `task` names a column."""
    task, views = row.get("behind", (None if row["task"] == AVERAGE else row["task"], None))
    return contaminated_sets(row["alignment"], task, views)


def build_table(
    key: TableKey, records: Sequence[Record], view: str, selection: str, columns: tuple[Column, ...]
) -> ResultTable:
    """The table of one key from records of the shape of summaries, whose `task` names a column."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for of_run in group_by_run(records).values():
        groups.setdefault(row_identity(of_run[0]), []).extend(of_run)
    labels = row_labels(groups)
    rows = sorted((_row(labels[identity], group) for identity, group in groups.items()), key=_rank)
    languages = max(len(row["languages"]) for row in records)
    return ResultTable(key, view, selection, languages, columns, tuple(rows), _notes(records, rows))


def _row(label: str, records: Sequence[Record]) -> ResultRow:
    first = records[0]
    control = first["kind"] == "trained" and (first["method"] in CONTROLS or bool(first["transform"]))
    badge = "control" if control else "" if first["kind"] == "trained" else first["kind"]
    columns: dict[str, list[Record]] = {}
    for row in records:
        columns.setdefault(row["task"], []).append(row)
    cells = {name: _cell(rows) for name, rows in columns.items()}
    runs = tuple(dict.fromkeys(row["run"] for row in records))
    seeds = len({_seeds(row) for row in records})
    return ResultRow(label, first["method"], first["transform"], badge, seeds, cells, runs)


def _cell(records: Sequence[Record]) -> ResultCell:
    values = tuple(float(row["value"]) for row in records if row["complete"])
    fullest = max(records, key=lambda row: int(row["n_views"]))
    return ResultCell(values, int(fullest["n_views"]), int(fullest["expected_views"]), any(map(_contaminated, records)))


def _rank(row: ResultRow) -> tuple[Any, ...]:
    average = row.cell(AVERAGE).mean
    place = 0 if row.badge == "control" else _ORDER.get(row.badge, 1)
    order = CONTROLS.index(row.method) if row.method in CONTROLS else len(CONTROLS)
    best_first = math.inf if average is None or not place else -average
    return (place, order if not place else 0, best_first, row.label)


def _notes(records: Sequence[Record], rows: Sequence[ResultRow]) -> tuple[str, ...]:
    """What a reader must know before comparing rows."""
    notes = []
    if min(row.seeds for row in rows) < VERDICT_SEEDS:
        notes.append(f"Fewer than {VERDICT_SEEDS} seeds: differences carry no verdict.")
    labels = {run: row.label for row in rows for run in row.runs}
    notes += mismatch_notes([row for row in records if row["recipe_kind"] == "matched" and row["recipe"]], labels)
    for column, what in (("data_fingerprint", "the data"), ("base_fingerprint", "the base encoder")):
        versions = {row[column] for row in records if row[column]}
        if len(versions) > 1:
            notes.append(f"These runs used {len(versions)} different versions of {what}.")
    shares: dict[str, float] = {}
    for cell in (cell for row in records for cell in _contaminated(row)):
        name = f"{cell.task} {cell.view}"
        shares[name] = max(cell.share, shares.get(name, 0.0))
    if shares:
        worst = sorted(shares, key=lambda name: (-shares[name], name))
        told = ", ".join(f"{name} {shares[name]:.1%}" for name in worst[:SHOWN])
        more = f" and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
        notes.append(f"{MARK} Over {LIMIT:.0%} of the test items stand in text that was aligned on: {told}{more}.")
    unfinished = {row["run"] for row in records if row["status"] != "done"}
    if unfinished:
        notes.append(f"{counted(len(unfinished), 'run')} not finished.")
    return tuple(notes)
