"""The leaderboard's table: averages over chosen languages or groups of them, costs, rows from elsewhere.

Averages are computed again from single scores by the official rule; a figure that lacks a score is never averaged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd

from harness.data.languages import Alignment, groups, language
from harness.errors import counted
from harness.results import findings
from harness.results.grouping import tables_by_group
from harness.results.labels import Record
from harness.results.rendering import clean, escape
from harness.results.tables import (
    CONTROLS,
    HEADLINE,
    Column,
    ResultCell,
    ResultRow,
    ResultTable,
    TableKey,
    frame_records,
    group_by_run,
    tables_by_language,
    tables_by_task,
)
from harness.storage.store import AVERAGE
from harness.storage.store.averages import by_selection, summarise
from harness.storage.store.queries import SUMMARY
from leaderboard.analysis import item_errors

TASKS, LANGUAGES, GROUPS = "Tasks", "Languages", "Groups"
GAIN = "gain"  # the column of differences from the controls
SECONDS, TOKENS = Column("time", "s"), Column("tokens", "M")
COSTS = (SECONDS, TOKENS)
VALUES = ("run", "task", "view", "selection", "metric", "value")  # the columns of scores that tables are made of
BASE, UNTRAINED = "mbert", "base (untrained)"  # the method that trains nothing, and its name on other bases
NAME_LENGTH = 60  # characters of a row's name on a page
METRIC_NAMES = {"f1": "F1", "exact_match": "EM"}


class Facet(NamedTuple):
    """A setting that separates tables, as a filter: its name in `TableKey`, its column in the store, label and help."""

    name: str
    column: str
    label: str
    help: str


FACETS = (
    Facet("suite", "suite", "Suite", "A named list of tasks; averages are over all of them."),
    Facet("protocol", "protocol", "Protocol", "Settings of fine-tuning and scoring. mini is for small encoders."),
    Facet(
        "recipe",
        "recipe_kind",
        "Recipe",
        "matched: same sample, steps and tuning for all; paper: each paper's own settings.",
    ),
    Facet("base", "base", "Base encoder", "The encoder that all methods start from."),
    Facet("source", "source", "Source", "Where text and task data come from."),
    Facet("languages_hash", "languages_hash", "Language list", "The list of languages behind the averages."),
)


@dataclass(frozen=True)
class TableChoice:
    """What to show: the columns (tasks, languages of one task, groups of languages) and the languages to average."""

    columns: str = TASKS
    task: str = ""
    grouping: str = "family"
    selection: str = HEADLINE
    languages: frozenset[str] | None = None  # None: all of them


def table_key(record: Mapping[str, Any]) -> TableKey:
    return TableKey(*(record[facet.column] for facet in FACETS))


def row_name(label: str) -> str:
    """A row's name on pages and in addresses, escaped so that a spreadsheet does not read it as a formula."""
    return escape(label, "csv", NAME_LENGTH)


def rows_by_name(rows: Sequence[ResultRow]) -> dict[str, ResultRow]:
    """Rows by their names; equal names are numbered from the second on."""
    names: dict[str, ResultRow] = {}
    for row in rows:
        name, count = row_name(row.label), 2
        while name in names:
            name, count = f"{row_name(row.label)} ({count})", count + 1
        names[name] = row
    return names


def default_row(rows: Sequence[ResultRow]) -> int:
    """The place of the row that a page about one row begins with: the best method, or else the first row."""
    return next((at for at, row in enumerate(rows) if not row.badge), 0)


def default_control(rows: Sequence[ResultRow]) -> int:
    """The place of the control that others are compared with: continued-mlm, which reads the same text and aligns
    nothing, or else the first row."""
    return next((at for at, row in enumerate(rows) if row.method == CONTROLS[-1] and not row.transform), 0)


def default_pair(rows: Sequence[ResultRow]) -> tuple[int, int]:
    """The places of the control and of the best method, with which a comparison begins. Of two rows at least."""
    control, method = default_control(rows), next((at for at, row in enumerate(rows) if not row.badge), 1)
    return (control if control != method else int(method == 0)), method


def selections(summaries: pd.DataFrame) -> list[str]:
    """The checkpoint selections that were scored, the headline first."""
    return [HEADLINE, *sorted(set(summaries["selection"]) - {"", HEADLINE})]


def tasks(summaries: pd.DataFrame) -> list[str]:
    """The tasks in the order of the suite."""
    positions = summaries[summaries["task"] != AVERAGE].groupby("task", sort=False)["position"].max()
    return [str(name) for name in positions.sort_values(kind="stable").index]


def task_groups(summaries: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The groups of tasks that have an average of their own."""
    return findings.task_groups(tasks(summaries), frame_records(summaries.drop_duplicates("run")[["serial", "card"]]))


def task_metric(summaries: pd.DataFrame, task: str) -> str:
    """The official metric of a task; empty where the task was not scored, and for the average."""
    metrics = summaries.loc[(summaries["task"] == task) & (summaries["task"] != AVERAGE), "metric"]
    return str(metrics.iloc[0]) if len(metrics) else ""


def languages(summaries: pd.DataFrame) -> list[str]:
    """The languages of the views that the runs must score; of old runs, which do not list them, those they scored."""
    runs = summaries.drop_duplicates("run")
    listed = {view for views in runs["views"] for names in views.values() for view in names}
    known = listed or {code for codes in runs["languages"] for code in codes}
    return sorted({_language(view) for view in known})


def _language(view: str) -> str:
    return view.partition(".")[0]


def views_in_languages(summaries: pd.DataFrame, keep: Collection[str] | None) -> tuple[str, ...] | None:
    """The views of any task in some languages; None means all, also where a run does not list its views."""
    listed = list(summaries.drop_duplicates("run")["views"])
    if keep is None or not all(listed):
        return None
    every = {view for views in listed for names in views.values() for view in names}
    return tuple(sorted(view for view in every if _language(view) in keep))


def group_alignment(summaries: pd.DataFrame) -> Alignment | None:
    """The languages that the group was aligned on, from the first run that records them."""
    return next((found for facts in summaries["alignment"] if (found := Alignment.of(facts))), None)


def languages_in_group(
    codes: Iterable[str], by: str, group: str, source: str, aligned: Alignment | None
) -> frozenset[str]:
    return frozenset(groups(by, codes, source, aligned).get(group, ()))


def view_name(view: str, source: str) -> str:
    """The languages of a view by name: "Swahili (sw)", "German (de) / English (en)"; a code without a name alone."""
    names = {code: clean(language(code, source).name) for code in view.split(".")}
    return " / ".join(clean(code) if name == code else f"{name} ({clean(code)})" for code, name in names.items())


def view_label(view: str, source: str) -> str:
    """A view by name with its group: "Swahili (sw) · Niger-Congo · class 2", "qah · SOV, 7 steps from the pivot"."""
    known = language(_language(view), source)
    parts = [view_name(view, source)]
    if known.family.startswith("babel "):
        steps = counted(len(known.departs), "step")
        parts.append(f"{known.family.removeprefix('babel ')}, {f'{steps} from' if known.departs else ''} the pivot")
    else:
        parts += [known.family, f"class {known.resource}" if known.resource else ""]
    return " · ".join(" ".join(part.split()) for part in parts if part)


def view_order(view: str, source: str) -> tuple[int, int, str]:
    """Sorts views by distance: made-up languages by their steps from the pivot, others from much data to little."""
    known = language(_language(view), source)
    return len(known.departs), -int(known.resource) if known.resource.isdigit() else 1, view


def sort_by_distance(lines: pd.DataFrame, source: str) -> pd.DataFrame:
    """The lines of a frame with a column `view` in the order of `view_order`."""
    order = {view: view_order(view, source) for view in lines["view"].unique()}
    return lines.sort_values("view", key=lambda views: views.map(order), kind="stable", ignore_index=True)


def label_views(lines: pd.DataFrame, source: str) -> pd.DataFrame:
    """The lines of a frame with its column `view` as `view_label` writes it."""
    return lines.assign(view=[view_label(view, source) for view in lines["view"]])


def record_frame(records: Sequence[Record], columns: Sequence[str] = SUMMARY) -> pd.DataFrame:
    """Records that the store gave, averages by default, one line each; with all columns where there is none."""
    return pd.DataFrame({name: [record[name] for record in records] for name in columns})


def build_tables(summaries: pd.DataFrame, cells: pd.DataFrame, choice: TableChoice) -> list[ResultTable]:
    """The tables of a choice, one for each group of runs in `summaries`.

    `cells` are the test scores of these runs; all tasks over all languages do not need them.
    """
    if choice.languages is not None:
        summaries = restrict_to_languages(summaries, cells, choice.languages)
    records = frame_records(summaries)
    if not records:
        return []
    if choice.columns == LANGUAGES:
        kept = cells if choice.languages is None else _in_languages(cells, choice.languages)
        tables = tables_by_language(kept, records, choice.task, choice.selection)
    elif choice.columns == GROUPS:
        grouped = tables_by_group(cells, records, choice.grouping, choice.selection)
        tables = [table for table in grouped if table.view == AVERAGE]
    else:
        tables = tables_by_task(records, choice.selection)
    tables = list(map(_name_base, tables))
    if choice.languages is None:
        return tables
    count = len(choice.languages)
    note = "Over {} of {} languages; tasks without any of them are left out."
    return [
        replace(table, languages=count, notes=(note.format(count, table.languages), *table.notes)) for table in tables
    ]


def _name_base(table: ResultTable) -> ResultTable:
    """The table with the row of the base without alignment under that name, unless the base is mBERT."""
    if "bert-base-multilingual" in table.key.base or BASE in table.key.base.lower():
        return table
    rows = [
        replace(row, label=row.label.replace(BASE, UNTRAINED, 1)) if row.method == BASE else row for row in table.rows
    ]
    return replace(table, rows=tuple(rows))


def arrange_columns(table: ResultTable, groups: Mapping[str, Sequence[str]]) -> ResultTable:
    """The table with its average first, then the average of each group of tasks, then the tasks."""

    def mean(row: ResultRow, members: Sequence[str]) -> ResultCell:
        cells = [row.cell(task) for task in members]
        have, expected = sum(cell.have for cell in cells), sum(cell.expected for cell in cells)
        complete = {len(cell.values) for cell in cells} == {row.seeds}
        values = tuple(fmean(seed) for seed in zip(*(cell.values for cell in cells), strict=True)) if complete else ()
        return ResultCell(values, have, expected, any(cell.contaminated for cell in cells))

    names = {column.name for column in table.columns}
    shown = {group: members for group, members in groups.items() if names >= set(members)}
    rows = [
        replace(row, cells={**row.cells, **{group: mean(row, tasks) for group, tasks in shown.items()}})
        for row in table.rows
    ]
    first = [column for column in table.columns if column.name == AVERAGE]
    rest = [column for column in table.columns if column.name != AVERAGE]
    return replace(table, rows=tuple(rows), columns=(*first, *(Column(group, "") for group in shown), *rest))


def _in_languages(cells: pd.DataFrame, keep: Collection[str]) -> pd.DataFrame:
    return cells[cells["view"].isin([view for view in cells["view"].unique() if _language(view) in keep])]


def restrict_to_languages(summaries: pd.DataFrame, cells: pd.DataFrame, keep: Collection[str]) -> pd.DataFrame:
    """`summaries` computed again over the views in some languages. Tasks without such views are left out."""
    scored = group_by_run(frame_records(_in_languages(cells, keep)[list(VALUES)]))
    seen = cells.drop_duplicates(["task", "view"]).groupby("task")["view"]
    views_seen = {str(task): sorted(views) for task, views in seen}  # for runs that do not list their views
    records: list[Record] = []
    for name, rows in group_by_run(frame_records(summaries)).items():
        metric = {row["task"]: row["metric"] for row in rows if row["task"] != AVERAGE}
        listed = {task: rows[0]["views"].get(task, views_seen.get(task, ())) for task in metric}
        expected = {task: [v for v in views if _language(v) in keep] for task, views in listed.items()}
        expected = {task: views for task, views in expected.items() if views}
        if not expected:
            continue
        settings = {**rows[0], "split": "test", "views": expected, "origin": ""}
        for selection, values in by_selection(scored.get(name, []), metric).items():
            records += [
                {**settings, "selection": selection, **summary._asdict()}
                for summary in summarise(values, expected, metric)
            ]
    return pd.DataFrame(records, columns=list(summaries.columns))


def add_costs(table: ResultTable, links: pd.DataFrame) -> ResultTable:
    """The table with the cost of each row's alignment, mean over seeds: device seconds and million tokens."""
    by_run = dict(iter(links[links["kind"] == "align"].groupby("run", sort=False)))

    def costs(row: ResultRow) -> dict[str, ResultCell]:
        used = [by_run[name] for name in row.runs if name in by_run]
        seconds = [float(rows["device_seconds"].sum()) for rows in used if rows["device_seconds"].notna().any()]
        tokens = [float(rows["tokens"].sum()) / 1e6 for rows in used if rows["tokens"].notna().any()]
        return {
            column.name: ResultCell(tuple(values), len(values), max(1, len(values)))
            for column, values in ((SECONDS, seconds), (TOKENS, tokens))
        }

    rows = tuple(replace(row, cells={**row.cells, **costs(row)}) for row in table.rows)
    if not any(row.cell(SECONDS.name).values for row in rows):
        return table
    return replace(table, columns=(*table.columns, *COSTS), rows=rows)


def add_foreign_rows(table: ResultTable, others: Sequence[ResultTable]) -> ResultTable:
    """The table with the rows of other groups below its own. These have other settings and are named by their base."""
    own = {name for row in table.rows for name in row.runs}
    rows = []
    for other in others:
        base = other.key.base or other.key.source
        for row in other.rows:
            if not own & set(row.runs):
                named = f"{row.label} ({base})" if base and base not in row.label else row.label
                rows.append(replace(row, label=named))
    averages = {row.label: row.cell(AVERAGE).mean for row in rows}

    def order(row: ResultRow) -> tuple[bool, float, str]:
        average = averages[row.label]
        return row.badge == "published", -average if average is not None else 1.0, row.label

    return replace(table, rows=(*table.rows, *sorted(rows, key=order)))


def with_badges(table: ResultTable, *badges: str) -> ResultTable:
    """The table with only the rows that have one of these badges."""
    return replace(table, rows=tuple(row for row in table.rows if row.badge in badges))


def without_costs(table: ResultTable) -> ResultTable:
    """The table without cost columns, which rows from elsewhere do not have."""
    return replace(table, columns=tuple(column for column in table.columns if column not in COSTS))


def with_columns(table: ResultTable, names: Collection[str]) -> ResultTable:
    """The table with some of its columns. Averages do not change."""
    return replace(table, columns=tuple(column for column in table.columns if column.name in names))


def runs_behind(
    row: ResultRow,
    column: str,
    summaries: pd.DataFrame,
    cells: pd.DataFrame,
    selection: str,
    languages: Collection[str] | None,
) -> pd.DataFrame:
    """The runs behind one figure, a line each: `seed`, `value`, `standard error` over items, `error from`, `views`,
    `items`, `status`, `run`. `column` is a task or the average."""
    cells = cells[cells["selection"].isin([selection, ""])]
    if languages is not None:
        cells = cells[[_language(view) in languages for view in cells["view"]]]
    lines = []
    for run in row.runs:
        own = summaries[summaries["run"] == run]
        metric = dict(zip(own["task"], own["metric"], strict=True))
        names = [task for task in metric if task != AVERAGE] if column == AVERAGE else [column]
        scores = cells[cells["run"] == run]
        by_task = {task: scores[(scores["task"] == task) & (scores["metric"] == metric.get(task))] for task in names}
        by_task = {task: rows for task, rows in by_task.items() if len(rows)}
        errors = [item_errors.task_error(rows, metric[task]) for task, rows in by_task.items()]
        means = [float(rows["value"].mean()) for rows in by_task.values()]
        lines.append(
            {
                "seed": own.iloc[0]["align_seed"],
                "value": sum(means) / len(means) if means else None,
                "standard error": item_errors.error_of_mean(error for error, _ in errors),
                "error from": "; ".join(dict.fromkeys(basis for _, basis in errors)),
                "views": sum(map(len, by_task.values())),
                "items": int(sum(rows["n"].sum() for rows in by_task.values())),
                "status": own.iloc[0]["status"],
                "run": run,
            }
        )
    return pd.DataFrame(lines)
