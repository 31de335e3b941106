"""The parts of the page Leaderboard: its filters, its bands of rows, what lies behind a figure, score against cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import streamlit as st

from harness.data.languages import GROUPINGS, groups
from harness.errors import UserError
from harness.results.rendering import escape
from harness.results.tables import ResultRow, ResultTable, TableKey, table_caption
from harness.storage.store import AVERAGE
from leaderboard import data
from leaderboard.analysis import behind, board, printed
from leaderboard.analysis.board import COSTS, GROUPS, LANGUAGES, TASKS, Choice
from leaderboard.components import downloads, parts, score_charts, tables
from leaderboard.components.state import Address

ANY = "any"
GROUPING_HELP = {
    "family": "Genealogical family; babel's made-up languages are grouped by their word order.",
    "script": "The script that the benchmark's files are written in.",
    "resource": "Class of data at hand, 0 to 5 (Joshi et al. 2020).",
    "aligned": "Whether the language was in the data that methods were aligned on.",
}
LABELS = {"family": "Family", "script": "Script", "resource": "Resources", "aligned": "Alignment data"}
NARROWING = ("languages", "columns_shown", *GROUPINGS)


class View(NamedTuple):
    """One state of the page: the group of runs, what was chosen of it, and all that was read for it."""

    key: TableKey
    choice: Choice
    groups: pd.DataFrame
    summaries: pd.DataFrame
    cells: pd.DataFrame
    results: ResultTable | None


def filters(address: Address, found: pd.DataFrame) -> View:
    """The rows of filters, and the table that they leave; None where they leave nothing."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        columns = address.pick("Columns", [TASKS, LANGUAGES, GROUPS], "columns")
        key = parts.key(address, found)
        summaries = _read(key)
        task = address.select("Task", board.tasks(summaries), "task", width=150) if columns == LANGUAGES else ""
        grouping = _grouping(address, summaries) if columns == GROUPS else "family"
        selection = address.select("Selection", board.selections(summaries), "selection", help=tables.SELECTION_HELP)
    asked = any(name in st.query_params for name in NARROWING)
    with st.expander("Languages and columns", expanded=asked, key="narrowing", on_change="rerun") as more:
        # what is closed and narrows nothing is not drawn: the browser need not load it before the first table
        drawn = more.open or asked or any(st.session_state.get(name, ANY) not in (ANY, []) for name in NARROWING)
        languages = _languages(address, summaries, key) if drawn else None
        choice = Choice(columns, task, grouping, selection, languages)
        cells = _cells(choice, summaries)
        made = board.table(summaries, cells, choice)
        shown = _finished(made[0], summaries, choice) if made and made[0].rows else None
        shown = _columns(address, shown) if shown and drawn else shown
    return View(key, choice, found, summaries, cells, shown)


def _read(key: TableKey) -> pd.DataFrame:
    try:
        return data.summaries(data.location(), key)
    except UserError as error:
        parts.trouble(error)
        st.stop()


def _grouping(address: Address, summaries: pd.DataFrame) -> str:
    known = [by for by in GROUPINGS if by != "aligned" or board.alignment(summaries) is not None]
    names = {LABELS[by]: by for by in known}
    return names[address.select("Groups by", list(names), "by", width=150)]


def _languages(address: Address, summaries: pd.DataFrame, key: TableKey) -> frozenset[str] | None:
    """The languages that the figures are computed over; None where nothing narrows them."""
    every, aligned = board.languages(summaries), board.alignment(summaries)
    kept = frozenset(every)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = {board.language_name(code, key.source): code for code in every}
        chosen = address.several("Languages", list(names), "languages", help="Scores are averaged over these alone.")
        if chosen:
            kept &= {names[name] for name in chosen}
        for by in GROUPINGS:
            if by == "aligned" and aligned is None:
                continue
            options = list(groups(by, every, key.source, aligned))
            if len(options) > 1:
                name = address.select(LABELS[by], [ANY, *options], by, help=GROUPING_HELP[by], width=150)
                kept = kept if name == ANY else kept & board.having(every, by, name, key.source, aligned)
    return None if kept == frozenset(every) else kept


def _cells(choice: Choice, summaries: pd.DataFrame) -> pd.DataFrame:
    """Single scores, where averages do not do."""
    if choice.columns == TASKS and choice.languages is None:
        return pd.DataFrame()
    task = choice.task if choice.columns == LANGUAGES and choice.languages is None else None
    views = None if choice.columns == GROUPS else board.views_of(summaries, choice.languages)
    return data.values(data.location(), _runs(summaries), task, views)


def _runs(summaries: pd.DataFrame) -> tuple[str, ...]:
    return tuple(summaries["run"].unique())


def _finished(results: ResultTable, summaries: pd.DataFrame, choice: Choice) -> ResultTable:
    """With costs, and rows from elsewhere."""
    shown = results
    if choice.columns == TASKS:
        shown = board.with_costs(shown, data.links(data.location(), _runs(summaries), ("align",)))
    shown = board.with_foreign(shown, _foreign(shown, choice))
    if choice.columns == TASKS and choice.languages is None:
        shown = printed.with_published(shown, data.printed())
    return shown


def _columns(address: Address, shown: ResultTable) -> ResultTable:
    """The columns that were asked for."""
    names = {tables.heading(column.name): column.name for column in shown.columns}
    wanted = address.several("Columns shown", list(names), "columns_shown", help="Averages stay what they are.")
    return board.with_columns(shown, [names[name] for name in wanted]) if wanted else shown


def _foreign(results: ResultTable, choice: Choice) -> list[ResultTable]:
    """Tables of the same suite's runs that were not trained here."""
    place = data.location()
    others = data.foreign(place, results.key.suite)
    if others.empty:
        return []
    cells = data.values(place, _runs(others))
    return [found for _, rows in others.groupby("protocol", sort=False) for found in board.table(rows, cells, choice)]


def body(view: View) -> None:
    """The table in its bands, its downloads, what lies behind a figure, and the charts."""
    if view.results is None:
        parts.nothing_left(["languages"])
        return
    results = view.results
    own = board.band(results, "control", "")
    parts.told(table_caption(own if own.rows else results))
    _bands(view, results)
    charts_below(results)


@st.fragment
def _bands(view: View, results: ResultTable) -> None:
    own = board.band(results, "control", "")
    clicked = _band(own, "results")
    parts.notes([tables.unit(results), *results.notes, "Click a figure to see the runs behind it."])
    for badge, about in (
        ("external", "Predictions made elsewhere, scored here. Their training is not ours."),
        ("published", "Figures as others printed them, under their own settings. They enter no comparison."),
    ):
        rows = board.without_costs(board.band(results, badge))
        if rows.rows:
            st.subheader(f"{badge.capitalize()} figures", anchor=False)
            st.caption(about)
            clicked = _band(rows, badge) or clicked
            if badge == printed.BADGE:
                parts.notes(printed.sources(data.printed(), results.key.suite))
    parts.offer(lambda: downloads.of_results(results), "board")
    if clicked is not None and clicked[0].runs:
        _behind(view, *clicked)


def _band(rows: ResultTable, name: str) -> tuple[ResultRow, str] | None:
    if not rows.rows:
        return None
    cell = parts.results(rows, name, select=True)
    return (rows.rows[cell[0]], cell[1]) if cell and cell[0] < len(rows.rows) else None


def _behind(view: View, row: ResultRow, column: str) -> None:
    """The runs behind a figure, and where to go from it."""
    name, choice = tables.name_of(row.label), view.choice
    tasks = board.tasks(view.summaries)
    column = column if column in tasks or choice.columns == LANGUAGES else AVERAGE
    st.subheader(escape(f"{name}: {tables.heading(column)}", "label"), anchor=False)
    place = data.location()
    cells = data.cells(place, row.runs)
    if choice.columns == LANGUAGES:
        cells = cells[cells["task"] == choice.task]
        cells = cells if column in ("method", "seeds", "role", AVERAGE) else cells[cells["view"] == column]
        column = choice.task
    lines = behind.figure(row, column, view.summaries, cells, choice.selection, choice.languages)
    if not lines.empty:
        parts.frame(lines, "behind", tables.BEHIND)
        parts.notes([tables.ERROR_NOTE])
    here = parts.query(view.key, view.groups)
    with st.container(horizontal=True):
        parts.link("method", f"Method {name}", ":material/article:", here | {"row": name})
        control = _control(view, row)
        if control:
            parts.link("compare", f"Compare with {control}", ":material/compare:", here | {"a": name, "b": control})
        for run in row.runs[:5]:
            parts.link("runs", f"Run {run[:8]}", ":material/list:", {"run": run})


def _control(view: View, row: ResultRow) -> str:
    """The control to compare with: the one that its card names, else another one of the table."""
    assert view.results is not None
    cards = view.summaries.loc[view.summaries["run"].isin(row.runs), "card"]
    wanted = cards.iloc[0].get("control", "") if len(cards) else ""
    rows: Sequence[ResultRow] = [other for other in view.results.rows if other.badge == "control" and other is not row]
    rows = [other for other in rows if other.label != row.label]
    named = [other for other in rows if other.label == wanted] or rows
    return tables.name_of(named[0].label) if named else ""


@st.fragment
def charts_below(results: ResultTable) -> None:
    """How far the seeds lie apart, and what a score costs."""
    parts.chart(score_charts.seeds(board.band(results, "control", "")), "How far apart are the seeds?", "seeds")
    if {column.name for column in COSTS} <= {column.name for column in results.columns}:
        about = "A point on the line is beaten by none that is cheaper. Costs are of the alignment alone."
        parts.chart(score_charts.pareto(results), "What does a point of score cost?", "pareto", about)
