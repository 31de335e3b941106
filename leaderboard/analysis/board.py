"""The leaderboard's table: the scores over chosen languages or groups, averaged anew and never over gaps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from harness.data.languages import Alignment, groups, language
from harness.results.grouping import tables_by_group
from harness.results.labels import Record
from harness.results.rendering import clean
from harness.results.tables import (
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

TASKS, LANGUAGES, GROUPS = "Tasks", "Languages", "Groups"
SECONDS, TOKENS = Column("time", "s"), Column("tokens", "M")
COSTS = (SECONDS, TOKENS)
VALUES = ("run", "task", "view", "selection", "metric", "value")  # of a score, what tables are made of


class Facet(NamedTuple):
    """A setting that tells tables apart, as a filter: its place in `Key`, its column, what newcomers should know."""

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
class Choice:
    """What is to be shown: columns (tasks, languages of a task, groups of languages), and over which languages."""

    columns: str = TASKS
    task: str = ""
    grouping: str = "family"
    selection: str = HEADLINE
    languages: frozenset[str] | None = None  # None: all of them


def key_of(record: Mapping[str, Any]) -> TableKey:
    return TableKey(*(record[facet.column] for facet in FACETS))


def selections(summaries: pd.DataFrame) -> list[str]:
    """The checkpoint selections that were scored, the headline first."""
    return [HEADLINE, *sorted(set(summaries["selection"]) - {"", HEADLINE})]


def tasks(summaries: pd.DataFrame) -> list[str]:
    """The tasks in the order of the suite."""
    placed = summaries[summaries["task"] != AVERAGE].groupby("task", sort=False)["position"].max()
    return [str(name) for name in placed.sort_values(kind="stable").index]


def languages(summaries: pd.DataFrame) -> list[str]:
    """The languages of the views that the runs are to be scored on; of those that were, where that is not known."""
    runs = summaries.drop_duplicates("run")
    listed = {view for views in runs["views"] for names in views.values() for view in names}
    known = listed or {code for codes in runs["languages"] for code in codes}
    return sorted({view.partition(".")[0] for view in known})


def views_of(summaries: pd.DataFrame, keep: Collection[str] | None) -> tuple[str, ...] | None:
    """The views that some languages have in any task; None asks for all, as it must where runs do not tell theirs."""
    listed = list(summaries.drop_duplicates("run")["views"])
    if keep is None or not all(listed):
        return None
    return tuple(
        sorted({view for views in listed for names in views.values() for view in names if _language(view) in keep})
    )


def alignment(summaries: pd.DataFrame) -> Alignment | None:
    """Which languages the group was aligned on, as the first run tells of which it is known."""
    return next((found for facts in summaries["alignment"] if (found := Alignment.of(facts))), None)


def having(names: Iterable[str], by: str, group: str, source: str, aligned: Alignment | None) -> frozenset[str]:
    """The languages of one group."""
    return frozenset(groups(by, names, source, aligned).get(group, ()))


def language_name(code: str, source: str) -> str:
    """A code with the language's name, where it has one."""
    name = language(code, source).name
    return clean(code) if name == code else f"{clean(code)} {clean(name)}"


def table(summaries: pd.DataFrame, cells: pd.DataFrame, choice: Choice) -> list[ResultTable]:
    """The tables of a choice, one for each group of runs in `summaries`. `cells` are the test scores of its runs; they
    are not looked at for all tasks over all languages."""
    if choice.columns == LANGUAGES:
        return _of_languages(summaries, cells, choice)
    if choice.columns == GROUPS:
        return _grouped(summaries, cells, choice)
    if choice.languages is not None:
        summaries = restricted(summaries, cells, choice.languages)
    return [_told(results, choice) for results in tables_by_task(summaries, choice.selection)] if len(summaries) else []


def _told(results: ResultTable, choice: Choice) -> ResultTable:
    if choice.languages is None:
        return results
    note = f"Over {len(choice.languages)} of {results.languages} languages; tasks without one of them are left out."
    return replace(results, languages=len(choice.languages), notes=(note, *results.notes))


def _of_languages(summaries: pd.DataFrame, cells: pd.DataFrame, choice: Choice) -> list[ResultTable]:
    if choice.languages is not None:
        summaries = restricted(summaries, cells, choice.languages)
        cells = _of(cells, choice.languages)
    if summaries.empty:
        return []
    return [_told(found, choice) for found in tables_by_language(cells, summaries, choice.task, choice.selection)]


def _of(cells: pd.DataFrame, keep: Collection[str]) -> pd.DataFrame:
    """The scores of some languages."""
    return cells[cells["view"].isin([view for view in cells["view"].unique() if _language(view) in keep])]


def _language(view: str) -> str:
    return view.partition(".")[0]


def restricted(summaries: pd.DataFrame, cells: pd.DataFrame, keep: Collection[str]) -> pd.DataFrame:
    """`summaries` computed again over the views of some languages alone. Tasks that have none of them are left out."""
    scored = group_by_run(frame_records(_of(cells, keep)[list(VALUES)]))
    every = _views(summaries, cells)
    records: list[Record] = []
    for name, rows in group_by_run(frame_records(summaries)).items():
        metric = {row["task"]: row["metric"] for row in rows if row["task"] != AVERAGE}
        listed = {task: rows[0]["views"].get(task, every.get(task, ())) for task in metric}
        expected = {task: [v for v in views if _language(v) in keep] for task, views in listed.items()}
        expected = {task: views for task, views in expected.items() if views}
        if not expected:
            continue
        settings = {**rows[0], "split": "test", "views": expected}
        for selection, found in by_selection(scored.get(name, []), metric).items():
            records += [
                {**settings, "selection": selection, **one._asdict()} for one in summarise(found, expected, metric)
            ]
    return pd.DataFrame(records, columns=list(summaries.columns))


def _views(summaries: pd.DataFrame, cells: pd.DataFrame) -> dict[str, list[str]]:
    """The views of each task that any of the runs has, for runs of which the list is not known."""
    found = cells.drop_duplicates(["task", "view"]).groupby("task")["view"]
    return {str(task): sorted(views) for task, views in found}


def _grouped(summaries: pd.DataFrame, cells: pd.DataFrame, choice: Choice) -> list[ResultTable]:
    """The suite's averages by group of languages; several where runs were aligned on different languages."""
    if choice.languages is not None:
        summaries = restricted(summaries, cells, choice.languages)
    if summaries.empty:
        return []
    tables = tables_by_group(cells, summaries, choice.grouping, choice.selection)
    return [_told(results, choice) for results in tables if results.view == AVERAGE]


def with_costs(results: ResultTable, links: pd.DataFrame) -> ResultTable:
    """The table with what the alignment of each row cost, mean over seeds: device seconds, million tokens seen."""
    of_run = dict(iter(links[links["kind"] == "align"].groupby("run", sort=False)))
    rows = tuple(replace(row, cells={**row.cells, **_costs(row, of_run)}) for row in results.rows)
    if not any(row.cell(SECONDS.name).values for row in rows):
        return results
    return replace(results, columns=(*results.columns, *COSTS), rows=rows)


def _costs(row: ResultRow, of_run: Mapping[Any, pd.DataFrame]) -> dict[str, ResultCell]:
    used = [of_run[name] for name in row.runs if name in of_run]
    seconds = [float(rows["device_seconds"].sum()) for rows in used if rows["device_seconds"].notna().any()]
    tokens = [float(rows["tokens"].sum()) / 1e6 for rows in used if rows["tokens"].notna().any()]
    return {
        SECONDS.name: ResultCell(tuple(seconds), len(seconds), max(1, len(seconds))),
        TOKENS.name: ResultCell(tuple(tokens), len(tokens), max(1, len(tokens))),
    }


def with_foreign(results: ResultTable, others: Sequence[ResultTable]) -> ResultTable:
    """The table with the rows of other groups below it: figures of other settings, named by their base."""
    own = {name for row in results.rows for name in row.runs}
    rows = [_named(row, other.key) for other in others for row in other.rows if not own & set(row.runs)]
    return replace(results, rows=(*results.rows, *sorted(rows, key=_band)))


def _named(row: ResultRow, key: TableKey) -> ResultRow:
    told = key.base or key.source
    return replace(row, label=f"{row.label} ({told})" if told and told not in row.label else row.label)


def _band(row: ResultRow) -> tuple[bool, float, str]:
    average = row.cell(AVERAGE).mean
    return row.badge == "published", -average if average is not None else 1.0, row.label


def band(results: ResultTable, *badges: str) -> ResultTable:
    """The rows with one of these badges, which are shown apart from the others."""
    return replace(results, rows=tuple(row for row in results.rows if row.badge in badges))


def without_costs(results: ResultTable) -> ResultTable:
    """The table without columns of cost, which rows from elsewhere do not tell."""
    return replace(results, columns=tuple(column for column in results.columns if column not in COSTS))


def with_columns(results: ResultTable, names: Collection[str]) -> ResultTable:
    """The table with some of its columns; averages stay what they are."""
    return replace(results, columns=tuple(column for column in results.columns if column.name in names))
