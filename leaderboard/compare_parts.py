"""The parts of the page Compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
import streamlit as st

from harness.results.rendering import escape
from harness.results.tables import ResultRow, ResultTable, TableKey
from harness.storage.store import AVERAGE
from leaderboard import data
from leaderboard.analysis import board, compare, method
from leaderboard.components import difference_charts, look, parts, tables
from leaderboard.components.state import Address
from leaderboard.method_parts import group

WIDTHS = {"text": 480, "gold": 150, "first": 150, "second": 150}  # pixels of the columns of items
ONE_LINE, MORE, MOST_LINES = 34, 20, 5  # pixels of a row of one line and of each further one
WRAPPED = 66  # pixels of a row in which Streamlit begins to wrap text
SIGNED = ("difference", "low", "high")


class Chosen(NamedTuple):
    """Two rows of one table, and the task in whose languages they are compared."""

    key: TableKey
    groups: pd.DataFrame
    summaries: pd.DataFrame
    results: ResultTable
    first: ResultRow
    second: ResultRow
    task: str
    selection: str


def filters(address: Address) -> Chosen:
    """The row of filters; with a single row in the table there is nothing to compare, and the page ends."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        key, groups, summaries, results, selection, names = group(address)
        if len(names) < 2:
            st.info("There is one row here; a comparison needs two. Run another method, or choose another group.")
            st.code(parts.FIRST_ROWS, language="bash")
            st.stop()
        last = next((at for at, row in enumerate(results.rows) if not row.badge), 1)
        one = address.select("First", list(names), "a", width=230, always=True, index=last - 1 if last else 1)
        two = address.select("Second", list(names), "b", width=230, always=True, index=last)
        task = address.select("Task", board.tasks(summaries), "task", width=150)
    return Chosen(key, groups, summaries, results, names[one], names[two], task, selection)


def body(address: Address, chosen: Chosen) -> None:
    """Tasks, then the languages of one task, then its items."""
    one, two = (tables.name_of(row.label) for row in (chosen.first, chosen.second))
    if chosen.first.label == chosen.second.label:
        st.info("Both are the same row. Choose another one.")
        return
    parts.told(f"{two} less {one}: positive differences are gains of {two}")
    _tasks(chosen, one, two)
    cells = data.cells(data.location(), (*chosen.first.runs, *chosen.second.runs), "test", chosen.task)
    metric = method.metric_of(chosen.summaries, chosen.task)
    found = compare.sides(chosen.first, chosen.second, cells, chosen.task, chosen.selection, metric)
    lines = compare.by_view(found)
    _languages(chosen, lines, one, two)
    if len(lines):
        _items(address, found, lines, one, two)


def _config(one: str, two: str, name: str, label: str) -> dict[str, object]:
    number = st.column_config.NumberColumn
    over = "Standard deviation over seeds."
    return {
        name: st.column_config.TextColumn(label, pinned=True, width=110),
        "first": number(escape(one, most=30), format="%.1f"),
        "first sd": number(f"± {escape(one, most=20)}", format="%.1f", width=110, help=over),
        "second": number(escape(two, most=30), format="%.1f"),
        "second sd": number(f"± {escape(two, most=20)}", format="%.1f", width=110, help=over),
        "difference": number("Difference", width=100),
        "error": number("Standard error", format="%.2f", width=120, help="Of the difference, over paired items."),
        "low": number("95 % from", width=90),
        "high": number("to", width=80),
    }


def _drawn(shown: pd.DataFrame, name: str, config: Mapping[str, object]) -> None:
    """A table of differences: what is empty in all rows is left out, zero has no sign."""
    kept = shown.dropna(axis="columns", how="all")
    parts.frame(kept, name, config, {column: look.signed for column in SIGNED if column in kept})


def _tasks(chosen: Chosen, one: str, two: str) -> None:
    shown = compare.by_task(chosen.first, chosen.second, board.tasks(chosen.summaries))
    if shown.empty:
        st.info("No task has a complete score in both rows.")
        return
    named = shown.replace({"task": {AVERAGE: "Average"}})
    _drawn(named, "tasks", _config(one, two, "task", "Task"))
    parts.offer_frame(named, f"{two} less {one}, by task", "tasks")


def _languages(chosen: Chosen, lines: pd.DataFrame, one: str, two: str) -> None:
    if lines.empty:
        st.info(f"No language of {escape(chosen.task, 'markdown', 40)} has a score in both rows.")
        return
    task = chosen.task
    about = "The line is the 95 % interval over paired items, for the runs that were made; it is no test."
    parts.chart(
        difference_charts.differences(lines), f"In which languages of {task} do they differ?", "differences", about
    )
    _drawn(lines, "languages", _config(one, two, "view", "Language"))
    parts.offer_frame(lines, f"{two} less {one}, {chosen.task} by language", "languages", [tables.ERROR_NOTE])
    drawn = difference_charts.scatter(lines, one, two)
    parts.chart(drawn, "Language by language", "scatter", f"A point is a language. Above the line {two} leads.")


def _items(address: Address, found: compare.Sides, lines: pd.DataFrame, one: str, two: str) -> None:
    st.subheader("Which items does one get right and the other wrong?", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        view = address.select("Language", sorted(lines["view"]), "language", width=150)
        outcomes = address.several("Right", list(compare.OUTCOMES), "right", width=300)
        words = address.text("Search", "words", placeholder="in texts and predictions")
    every = compare.items(found, view)
    if every.empty:
        st.info("The items of these runs are not on this machine, or the runs are older than the keeping of examples.")
        st.text("The board reads them from the artifacts in ALIGNBOARD_HOME; the command of the runs makes them again.")
        return
    shown = compare.searched(every, outcomes, words)
    counts = every["outcome"].value_counts()
    parts.told(
        f"{len(shown)} of {len(every)} items that are kept, first seed each: "
        + ", ".join(f"{counts.get(name, 0)} {name}" for name in compare.OUTCOMES)
    )
    config = {
        "outcome": st.column_config.TextColumn("Right", width=120),
        "text": st.column_config.TextColumn("Text", width=WIDTHS["text"]),
        "gold": st.column_config.TextColumn("Gold", width=WIDTHS["gold"]),
        "first": st.column_config.TextColumn(escape(one, most=30), width=WIDTHS["first"]),
        "second": st.column_config.TextColumn(escape(two, most=30), width=WIDTHS["second"]),
        "item": st.column_config.TextColumn("Item"),
    }
    if shown.empty:
        st.info("No item is left. Search for other words, or clear the filter.")
        return
    lines_ = min(MOST_LINES, compare.lines_of(shown, WIDTHS))
    row = ONE_LINE if lines_ == 1 else max(WRAPPED, ONE_LINE + MORE * (lines_ - 1))
    parts.frame(shown, "items", config, height=min(480, 38 + row * len(shown)), row_height=row)
    parts.offer_frame(shown, f"Items of {view}: {one}, {two}", "items")
