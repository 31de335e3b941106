"""Leaderboard: methods by tasks, by the languages of one task, or by groups of languages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import streamlit as st

from harness.data.languages import GROUPINGS, groups
from harness.errors import UserError
from harness.results.findings import describe_finding
from harness.results.rendering import escape
from harness.results.tables import ResultRow, ResultTable, TableKey, add_marks, table_caption
from harness.results.verdicts import Verdicts
from harness.storage.store import AVERAGE
from leaderboard import data, published
from leaderboard.analysis import ablation, board
from leaderboard.analysis.board import COSTS, GROUPS, LANGUAGES, TASKS, TableChoice
from leaderboard.components import charts, difference_charts, downloads, filters, messages, score_charts, tables
from leaderboard.components.filters import RunGroup
from leaderboard.components.state import Address, go_to

ANY = "any"
LABELS = {"family": "Family", "script": "Script", "resource": "Resources", "aligned": "Alignment data"}
GROUPING_HELP = {
    "family": "Genealogical family; babel's made-up languages are grouped by their word order.",
    "script": "The script of the benchmark's files.",
    "resource": "Resource class, 0 to 5 (Joshi et al. 2020).",
    "aligned": "Whether the language was in the data that methods were aligned on.",
}
NARROWING = ("languages", "columns_shown", *GROUPINGS)  # filters in the expander
BANDS = {
    "external": "Predictions made elsewhere, scored here. Their training is not ours.",
    published.BADGE: "Figures as published, under other settings. They are in no comparison and no download.",
}
NOT_COMPARABLE = "Published figures: the suite's own data, other bases, not comparable with this table"
RUNS_BEHIND = {
    "seed": st.column_config.NumberColumn("Seed", format="%d", width=64),
    "value": st.column_config.NumberColumn("Score, %", format="%.1f", width=90),
    "standard error": st.column_config.NumberColumn("Standard error", format="%.2f", width=120),
    "error from": st.column_config.TextColumn("Error from"),
    "views": st.column_config.NumberColumn("Views", width=64, help="Languages, or pairs of them, over all tasks."),
    "items": st.column_config.NumberColumn("Items", width=80),
    "status": st.column_config.TextColumn("Status"),
    "run": st.column_config.TextColumn("Run"),
}


class LeaderboardState(NamedTuple):
    """One state of the page: the group of runs, the choice, and the table; None if the filters leave nothing."""

    key: TableKey
    choice: TableChoice
    groups: pd.DataFrame
    summaries: pd.DataFrame
    table: ResultTable | None
    verdicts: Verdicts | None  # on the tasks over all languages

    def group(self) -> RunGroup | None:
        """The group of runs as other pages show it: its tasks over all languages."""
        return filters.build_group(self.key, self.groups, self.summaries, self.choice.selection)


def choose(address: Address, run_groups: pd.DataFrame) -> LeaderboardState:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        columns = address.pick("Columns", [TASKS, LANGUAGES, GROUPS], "columns")
        key = filters.select_key(address, run_groups)
        try:
            summaries = data.summaries(data.location(), key)
        except UserError as error:
            messages.report_store_error(error)
            st.stop()
        task = address.select("Task", board.tasks(summaries), "task", width=150) if columns == LANGUAGES else ""
        grouping = "family"
        if columns == GROUPS:
            names = {LABELS[by]: by for by in known_groupings(summaries)}
            grouping = names[address.select("Groups by", list(names), "by", width=150)]
        selection = address.select("Selection", board.selections(summaries), "selection", help=filters.SELECTION_HELP)
        narrowing = st.popover("Languages and columns", key="narrowing", on_change="rerun")
    in_address = any(name in st.query_params for name in NARROWING)
    with narrowing:
        # a closed one that narrows nothing is not drawn: the browser need not load it before the first table
        narrowed = any(st.session_state.get(name, ANY) not in (ANY, []) for name in NARROWING)
        drawn = narrowing.open or in_address or narrowed
        languages = choose_languages(address, summaries, key) if drawn else None
        choice = TableChoice(columns, task, grouping, selection, languages)
        table, verdicts = load_table(summaries, choice)
        if table and drawn:
            headings = {tables.column_heading(column.name): column.name for column in table.columns}
            shown = address.select_many(
                "Columns shown", list(headings), "columns_shown", help="Averages do not change."
            )
            table = board.with_columns(table, [headings[name] for name in shown]) if shown else table
    return LeaderboardState(key, choice, run_groups, summaries, table, verdicts)


def known_groupings(summaries: pd.DataFrame) -> list[str]:
    aligned = board.group_alignment(summaries) is not None
    return [by for by in GROUPINGS if by != "aligned" or aligned]


def choose_languages(address: Address, summaries: pd.DataFrame, key: TableKey) -> frozenset[str] | None:
    """The languages to average over; None if nothing narrows them."""
    every, aligned = board.languages(summaries), board.group_alignment(summaries)
    kept = frozenset(every)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        every = sorted(every, key=lambda code: board.view_order(code, key.source))
        names = {board.view_label(code, key.source): code for code in every}
        chosen = address.select_many("Languages", list(names), "languages", help="Averages are over these languages.")
        if chosen:
            kept &= {names[name] for name in chosen}
        for by in known_groupings(summaries):
            options = list(groups(by, every, key.source, aligned))
            if len(options) > 1:
                group = address.select(LABELS[by], [ANY, *options], by, help=GROUPING_HELP[by], width=150)
                if group != ANY:
                    kept &= board.languages_in_group(every, by, group, key.source, aligned)
    return None if kept == frozenset(every) else kept


def load_table(summaries: pd.DataFrame, choice: TableChoice) -> tuple[ResultTable | None, Verdicts | None]:
    """The table of a choice with costs and rows from elsewhere; None if it has no rows. The verdicts that it shows."""
    place, runs = data.location(), tuple(summaries["run"].unique())
    cells = pd.DataFrame()
    if choice.columns != TASKS or choice.languages is not None:  # averages alone do not suffice
        task = choice.task if choice.columns == LANGUAGES and choice.languages is None else None
        views = None if choice.columns == GROUPS else board.views_in_languages(summaries, choice.languages)
        cells = data.table_values(place, runs, task, views)
    built = board.build_tables(summaries, cells, choice)
    if not built or not built[0].rows:
        return None, None
    table, verdicts = built[0], None
    if choice.columns == TASKS:
        task_groups = board.task_groups(summaries)
        table = board.arrange_columns(table, task_groups)
        if choice.languages is None:
            table, verdicts = judge(table, choice.selection, tuple(task_groups))
        table = board.add_costs(table, data.links(place, runs, ("align",)))
    foreign = data.foreign_summaries(place, table.key.suite)
    if len(foreign):
        values = data.table_values(place, tuple(foreign["run"].unique()))
        by_protocol = [rows for _, rows in foreign.groupby("protocol", sort=False)]
        others = [other for rows in by_protocol for other in board.build_tables(rows, values, choice)]
        table = board.add_foreign_rows(table, others)
    return table, verdicts


def judge(table: ResultTable, selection: str, task_groups: Collection[str]) -> tuple[ResultTable, Verdicts | None]:
    """The table with ranks and marks, and the verdicts; with a note instead where its statistics are damaged."""
    try:
        verdicts = data.verdicts(data.location(), table.key, selection)
    except UserError as error:
        return replace(table, notes=(f"No ranks: {error}", *table.notes)), None
    return (add_marks(table, verdicts.marks(table, task_groups)), verdicts) if verdicts else (table, None)


def show_bands(state: LeaderboardState, table: ResultTable) -> None:
    """The table in bands: controls and methods, external rows, published rows. A click opens what is behind it."""
    own = board.with_badges(table, "control", "")
    clicked = show_band(own, "results", state.verdicts)
    notes = [tables.table_unit(table), *table.notes, *tables.gain_notes(state.verdicts)]
    notes += [*messages.source_notes(table.key.source), "Click a figure to see the runs behind it."]
    messages.write_notes(notes)
    tables.offer_files(lambda: downloads.table_files(own), "board")
    for badge, about in BANDS.items():
        band = board.without_costs(board.with_badges(table, badge))
        if badge == published.BADGE and state.choice.columns == TASKS and state.choice.languages is None:
            band = published.published_rows(band, data.published_figures())
        if not band.rows:
            continue
        comparable = badge != published.BADGE or published.is_comparable(table.key.source, state.summaries["recipe"])
        if comparable:
            st.subheader(f"{badge.capitalize()} figures", anchor=False)
        with st.container() if comparable else st.expander(NOT_COMPARABLE):
            st.caption(about)
            clicked = show_band(band, badge) or clicked
            if badge == published.BADGE:
                messages.write_notes(published.source_notes(data.published_figures(), table.key.suite))
    if clicked is None or not clicked[0].runs:
        return
    row, column = clicked
    name = board.row_name(row.label)
    if column == "method":
        group = state.group()
        go_to("../pages/method.py", group.query() if group else {}, row=name)
    column = column if column in board.tasks(state.summaries) or state.choice.columns == LANGUAGES else AVERAGE
    title = escape(f"{name}: {tables.column_heading(column)}", "label")
    st.dialog(title, width="large")(show_runs_behind)(state, table, row, column)


def show_band(band: ResultTable, name: str, verdicts: Verdicts | None = None) -> tuple[ResultRow, str] | None:
    """Draws a band; returns the row and column of a click."""
    if not band.rows:
        return None
    cell = tables.show_table(band, name, verdicts)
    return (band.rows[cell[0]], cell[1]) if cell and cell[0] < len(band.rows) else None


def show_runs_behind(state: LeaderboardState, table: ResultTable, row: ResultRow, column: str) -> None:
    """The runs behind a figure, and links to pages about its row."""
    name, choice = board.row_name(row.label), state.choice
    cells = data.cells(data.location(), row.runs)
    if choice.columns == LANGUAGES:
        cells = cells[cells["task"] == choice.task]
        cells = cells[cells["view"] == column] if column in set(cells["view"]) else cells
        column = choice.task
    lines = board.runs_behind(row, column, state.summaries, cells, choice.selection, choice.languages)
    if not lines.empty:
        tables.show_frame(lines, "behind", RUNS_BEHIND)
        messages.write_notes([tables.ERROR_NOTE])
    group = state.group()
    with st.container(horizontal=True):
        if group and name in group.rows:
            messages.link_page("method", f"Method {name}", ":material/article:", group.row_query(name))
            baseline = find_baseline(state, table, row)
            if baseline in group.rows:
                query = group.pair_query(baseline, name)
                messages.link_page("compare", f"Compare with {baseline}", ":material/compare:", query)
        for run in row.runs[:5]:
            messages.link_page("runs", f"Run {run[:8]}", ":material/list:", {"run": run})


def find_baseline(state: LeaderboardState, table: ResultTable, row: ResultRow) -> str:
    """The control to compare a row with: the baseline on its card, else the table's first other control."""
    cards = state.summaries.loc[state.summaries["run"].isin(row.runs), "card"]
    wanted = cards.iloc[0].get("control", "") if len(cards) else ""
    controls = [other for other in table.rows if other.badge == "control" and other.label != row.label]
    controls.sort(key=lambda other: (other.method != wanted, bool(other.transform)))
    return board.row_name(controls[0].label) if controls else ""


@st.fragment
def show_charts(state: LeaderboardState, table: ResultTable) -> None:
    """The spread of the seeds, or with one seed the differences to the control; and the cost of a score."""
    own = board.with_badges(table, "control", "")
    if any(row.seeds > 1 for row in own.rows):
        charts.show_chart(score_charts.seed_dots(own), "How far apart are the seeds?", "seeds")
    elif state.choice.columns == TASKS and state.choice.languages is None:
        show_gains(own, state.choice.selection)
    if {column.name for column in COSTS} <= {column.name for column in table.columns}:
        about = "No cheaper row beats a row on the line. Costs are of the alignment alone."
        charts.show_chart(score_charts.cost_frontier(table), "What does a point of score cost?", "pareto", about)


def show_gains(own: ResultTable, selection: str) -> None:
    """The difference of each row's average to one control, with its interval over the test items."""
    controls = [row for row in own.rows if row.badge == "control" and not row.transform]
    if not controls:
        return
    base = controls[board.default_control(controls)]
    others = [row for row in own.rows if row.label != base.label]
    labels = tuple(row.label for row in others)
    compared = data.comparisons(data.location(), own.key, selection, base.label, labels)
    lines = ablation.row_differences(base, others, [AVERAGE], compared)
    dots = difference_charts.difference_dots(lines.rename(columns={"row": "view"}))
    title = f"How far is each row from {board.row_name(base.label)}?"
    charts.show_chart(dots, title, "gains", "Averages, with 95 % intervals over items; seeds may differ more.")


st.title("Leaderboard", anchor=False)
run_groups = filters.scored_groups()
above, below = st.container(), st.empty()
tables.reserve_table(below)
with above:
    address = Address()
    state = choose(address, run_groups)
    address.show_notices()
with below.container():
    if state.table is None:
        messages.suggest_clearing(["languages"])
    else:
        own = board.with_badges(state.table, "control", "")
        if state.verdicts:
            messages.write_verdict(describe_finding(own, state.verdicts, board.task_groups(state.summaries)))
        messages.write_notes([table_caption(own if own.rows else state.table)])
        show_bands(state, state.table)
        show_charts(state, state.table)
