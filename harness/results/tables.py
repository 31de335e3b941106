"""The results table: methods by tasks, or by the languages of one task, averaged over seeds.

Runs share a table only if suite, protocol, recipe, base, source and list of languages are equal. A row is a method with
one configuration, averaged over its seeds on one version of data and base. A figure that lacks a view is not averaged:
it is a dash with the count of views that have a score.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import counted, list_first
from harness.results.labels import Record, mismatch_notes, row_identity, row_labels, version_identity
from harness.results.overlaps import LIMIT, ContaminatedSet, contaminated_sets
from harness.results.versions import data_cells, differing_cells
from harness.storage.store.schema import AVERAGE

if TYPE_CHECKING:
    import pandas as pd

CONTROLS = ("mbert", "continued-mlm")  # a method on a transformed corpus is a control too
HEADLINE = "english"
VERDICT_SEEDS = 3
MARK = "†"  # on a figure with test items in the alignment text
_BADGE_ORDER = {"external": 2, "published": 3}  # after controls (0) and own methods (1)


class TableKey(NamedTuple):
    """What all runs of one table have in common."""

    suite: str
    protocol: str
    recipe: str
    base: str
    source: str
    languages_hash: str


class Column(NamedTuple):
    """A task, a language, a group of languages, or the average; `metric` is the unit."""

    name: str
    metric: str


class ResultCell(NamedTuple):
    """One figure: the `values` of the complete seeds. `have` and `expected` count the views of the fullest seed.

    `contaminated`: more than `harness.results.overlaps.LIMIT` of a test set behind it occurs in the alignment text.
    `sign` is 1 or -1 where it is better or worse than the row's control, 0 where neither is shown, None without a test.
    """

    values: tuple[float, ...]
    have: int
    expected: int
    contaminated: bool = False
    sign: int | None = None

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
    """A method with one configuration on one version of data and base; `runs` has one run per seed. `badge`: control,
    external, published or empty. `data` has a fingerprint of each cell of the data that the runs have read, `base` that
    of their base. `rank` is the best and the worst place that the row may have in its table; None without a test."""

    label: str
    method: str
    transform: str
    badge: str
    seeds: int
    cells: Mapping[str, ResultCell]
    runs: tuple[str, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    rank: tuple[int, int] | None = None

    def cell(self, column: str) -> ResultCell:
        return self.cells.get(column, NOTHING)


@dataclass(frozen=True)
class ResultTable:
    """One table: controls first, then methods from the best average down; the average is the last column."""

    key: TableKey
    view: str  # "task", or the task (or the average) whose languages or groups are the columns
    selection: str
    languages: int
    columns: tuple[Column, ...]
    rows: tuple[ResultRow, ...]
    notes: tuple[str, ...] = ()
    grouping: str = ""  # the property that languages are grouped by, if the columns are groups


class Marks(NamedTuple):
    """What the verdicts on a table add to it: the best and the worst rank of each row, and the sign of each figure
    against the row's control by (row, column), under so many `seeds`; none where nothing is compared."""

    seeds: int
    ranks: Mapping[str, tuple[int, int]]
    signs: Mapping[tuple[str, str], int]

    def to_json(self) -> dict[str, Any]:
        return {"seeds": self.seeds, "ranks": self.ranks, "signs": [[*cell, sign] for cell, sign in self.signs.items()]}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Marks:
        ranks = {row: (best, worst) for row, (best, worst) in found["ranks"].items()}
        return cls(found["seeds"], ranks, {(row, column): sign for row, column, sign in found["signs"]})


def add_marks(table: ResultTable, marks: Marks) -> ResultTable:
    """The table with each row's rank interval and each cell's sign, with a note that explains them."""
    if not marks.seeds:
        return table
    rows = [
        replace(
            row,
            rank=marks.ranks.get(row.label),
            cells={name: cell._replace(sign=marks.signs.get((row.label, name))) for name, cell in row.cells.items()},
        )
        for row in table.rows
    ]
    note = (
        f"Rank: simultaneous 95% interval of the row's place, over {marks.seeds} seeds and the test items. "
        "▲ ▼: better or worse than the row's control (p < 0.05, Holm)."
    )
    return replace(table, rows=tuple(rows), notes=(note, *table.notes))


def tables_by_task(summaries: Sequence[Record], selection: str = HEADLINE) -> list[ResultTable]:
    """Tables of methods by tasks from `Store.summaries(split="test")`, one for each key, sorted by key."""
    return [
        build_table(key, records, "task", selection, task_columns(records))
        for key, records in group_by_key(select_newest(summaries, selection)).items()
    ]


def tables_by_language(
    scores: pd.DataFrame, summaries: Sequence[Record], task: str, selection: str = HEADLINE
) -> list[ResultTable]:
    """Tables of methods by the views of one task; the last column is the mean over them.

    `scores` and `summaries` come from the store with split="test". The metric is that of the summaries.
    """
    kept = scores[(scores["task"] == task) & scores["selection"].isin([selection, ""])]
    views_of = group_by_run(frame_records(kept[["run", "view", "metric", "value"]]))
    summaries_of_task = [row for row in select_newest(summaries, selection) if row["task"] == task]
    one_view = {"n_views": 1, "expected_views": 1, "complete": True}
    tables = []
    for key, totals in group_by_key(summaries_of_task).items():
        metric = totals[0]["metric"]
        views = [  # in the shape of summaries
            {**total, "task": row["view"], "value": row["value"], **one_view, "behind": (task, (row["view"],))}
            for total in totals
            for row in views_of.get(total["run"], ())
            if row["metric"] == metric
        ]
        names = sorted({row["task"] for row in views})
        columns = (*(Column(name, metric) for name in names), Column(AVERAGE, metric))
        means = [{**row, "task": AVERAGE, "behind": (task, None)} for row in totals]
        tables.append(build_table(key, [*views, *means], task, selection, columns))
    return tables


def table_caption(table: ResultTable) -> str:
    """A summary of a table: "6 methods, xtreme-align, protocol mini, 9 languages, 3 seeds"."""
    key, seeds = table.key, sorted({row.seeds for row in table.rows})
    methods = counted(len({row.method for row in table.rows}), "method")
    several = methods != counted(len(table.rows), "method")
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    parts = [
        f"{len(table.rows)} rows of {methods}" if several else methods,
        key.suite if table.view == "task" else f"{table.view} of {key.suite}",
        f"protocol {key.protocol}",
        f"{key.recipe} recipe",
        f"source {key.source}" if key.source else "",
        f"base {key.base}" if key.base else "",
        counted(table.languages, "language") if table.languages else "",
        f"{span} seed{'' if span == '1' else 's'}",
        f"by {table.grouping}" if table.grouping else "",
        "" if table.selection == HEADLINE else f"{table.selection} selection",
    ]
    return ", ".join(part for part in parts if part)


def frame_records(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame as dictionaries."""
    names = list(frame.columns)
    columns = [frame[name].to_numpy(dtype=object) for name in names]  # Arrow's strings are slow one by one
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def select_newest(summaries: Sequence[Record], selection: str) -> list[Record]:
    """The records of one checkpoint selection, and of tasks without one, of the newest run of each row and seed: the
    one that was added last."""
    records = [row for row in summaries if row["selection"] in (selection, "")]
    runs = sorted({row["run"]: row for row in records}.values(), key=lambda row: row["serial"])
    newest = {(_key(row), row_identity(row), run_seeds(row)): row["run"] for row in runs}
    kept = set(newest.values())
    return [row for row in records if row["run"] in kept]


def group_by_run(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by run, in the order of each run's first record."""
    runs: dict[str, list[Record]] = {}
    for row in records:
        runs.setdefault(row["run"], []).append(row)
    return runs


def group_by_key(records: Iterable[Record]) -> dict[TableKey, list[Record]]:
    """Records by the key of their table, sorted by key."""
    groups: dict[TableKey, list[Record]] = {}
    for row in records:
        groups.setdefault(_key(row), []).append(row)
    return dict(sorted(groups.items()))


def _key(row: Record) -> TableKey:
    names = ("suite", "protocol", "recipe_kind", "base", "source", "languages_hash")
    return TableKey(*(row[name] for name in names))


def run_seeds(row: Record) -> tuple[int | None, int | None]:
    """The seeds of alignment and fine-tuning. In a record of a table None is NaN, and integers beside it are floats."""
    seeds = (row["align_seed"], row["finetune_seed"])
    align, finetune = (None if seed is None or seed != seed else int(seed) for seed in seeds)
    return align, finetune


def seed_label(row: Record) -> int | str | None:
    """A run's seed: one number if both are equal, else "alignment/fine-tuning"."""
    align, finetune = run_seeds(row)
    if align == finetune or finetune is None:
        return align
    return finetune if align is None else f"{align}/{finetune}"


def task_columns(records: Sequence[Record]) -> tuple[Column, ...]:
    """The tasks in the order of the suite. Runs may know different lists of tasks."""
    position: dict[str, int] = {}
    for row in records:
        position[row["task"]] = max(position.get(row["task"], 0), int(row["position"]))
    metric = {row["task"]: row["metric"] for row in records}
    names = sorted(position, key=lambda name: (name == AVERAGE, position[name], name))
    return tuple(Column(name, "" if name == AVERAGE else metric[name]) for name in names)


def build_table(
    key: TableKey, records: Sequence[Record], view: str, selection: str, columns: tuple[Column, ...]
) -> ResultTable:
    """The table of one key from records in the shape of summaries; `task` names the column of each.

    Where the column is no task, `behind` gives the task and the views that the record is made of.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for own in group_by_run(records).values():
        groups.setdefault(version_identity(own[0]), []).extend(own)
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
    cells = {}
    for name, own in columns.items():
        values = tuple(float(row["value"]) for row in own if row["complete"])
        fullest = max(own, key=lambda row: int(row["n_views"]))
        marked = any(map(_contaminated_sets, own))
        cells[name] = ResultCell(values, int(fullest["n_views"]), int(fullest["expected_views"]), marked)
    runs = tuple(dict.fromkeys(row["run"] for row in records))
    seeds = len({run_seeds(row) for row in records})
    versions = data_cells(first), first["base_fingerprint"]
    return ResultRow(label, first["method"], first["transform"], badge, seeds, cells, runs, *versions)


def _contaminated_sets(row: Record) -> list[ContaminatedSet]:
    """The test sets above the limit that a record is made of."""
    task, views = row.get("behind", (None if row["task"] == AVERAGE else row["task"], None))
    return contaminated_sets(row["alignment"], task, views)


def _rank(row: ResultRow) -> tuple[Any, ...]:
    """Sorts controls first in a fixed order, then own, external and published rows from the best average down."""
    average = row.cell(AVERAGE).mean
    if row.badge == "control":
        order = CONTROLS.index(row.method) if row.method in CONTROLS else len(CONTROLS)
        return (0, order, math.inf, row.label)
    return (_BADGE_ORDER.get(row.badge, 1), 0, math.inf if average is None else -average, row.label)


def _notes(records: Sequence[Record], rows: Sequence[ResultRow]) -> tuple[str, ...]:
    """What a reader must know before comparing rows."""
    notes = []
    if min(row.seeds for row in rows) < VERDICT_SEEDS:
        notes.append(f"Fewer than {VERDICT_SEEDS} seeds: differences carry no verdict.")
    labels = {run: row.label for row in rows for run in row.runs}
    notes += mismatch_notes([row for row in records if row["recipe_kind"] == "matched" and row["recipe"]], labels)
    notes += version_notes(rows)
    if headless := {row["run"] for row in records if row["alignment"].get("initialised")}:
        runs = counted(len(headless), "run")
        notes.append(f"The base of {runs} has no masked-LM head; one was initialised from the run's seed.")
    shares: dict[str, float] = {}
    for one in (one for row in records for one in _contaminated_sets(row)):
        name = f"{one.task} {one.view}"
        shares[name] = max(one.share, shares.get(name, 0.0))
    if shares:
        worst = sorted(shares, key=lambda name: (-shares[name], name))
        listed = list_first([f"{name} {shares[name]:.1%}" for name in worst])
        notes.append(f"{MARK} Over {LIMIT:.0%} of the test items occur in the alignment text: {listed}.")
    unfinished = {row["run"] for row in records if row["status"] != "done"}
    if unfinished:
        notes.append(f"{counted(len(unfinished), 'run')} not finished.")
    return tuple(notes)


def version_notes(rows: Sequence[ResultRow]) -> list[str]:
    """Notes on data and bases that are not the same in all rows."""
    notes, cells = [], differing_cells(row.data for row in rows)
    if cells:
        named = list_first([cell for cell in cells if cell])
        count = max(cells.values())
        notes.append(f"These runs used {count} different versions of the data{': ' if named else ''}{named}.")
    bases = {row.base for row in rows if row.base}
    if len(bases) > 1:
        notes.append(f"These runs used {len(bases)} different versions of the base encoder.")
    return notes
