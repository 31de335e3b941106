"""The filters that choose one group of runs, shared by most pages."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import streamlit as st

from harness.errors import UserError
from harness.results.rendering import escape
from harness.results.tables import HEADLINE, ResultRow, ResultTable, TableKey
from harness.storage.store import AVERAGE
from leaderboard import data
from leaderboard.analysis import board
from leaderboard.analysis.board import FACETS, Facet, TableChoice
from leaderboard.components import messages
from leaderboard.components.state import Address

SELECTION_HELP = (
    "Which checkpoint of the fine-tuning is scored: english, the best on the English development set, is the headline; "
    "oracle, the best on each language's own, shows what better selection could gain."
)


class RunGroup(NamedTuple):
    """A group of runs: its key among all groups, its summaries, its table, the rows by name, the groups of tasks."""

    key: TableKey
    groups: pd.DataFrame
    summaries: pd.DataFrame
    table: ResultTable
    selection: str
    rows: dict[str, ResultRow]
    task_groups: dict[str, tuple[str, ...]]

    @property
    def scopes(self) -> list[str]:
        """What a figure may be about: a group of tasks, the average, a task."""
        return [*self.task_groups, AVERAGE, *board.tasks(self.summaries)]

    def query(self, **more: str) -> dict[str, str]:
        """The query string that leads to this group on another page.

        It names no choice that the page makes by itself: Streamlit would take it out of the address again, and each
        such change is one more press of Back.
        """
        found, left = {}, self.groups
        for facet, value in zip(FACETS, self.key, strict=True):
            if value != left[facet.column].iloc[0]:
                found[facet.name] = _option(facet, value)
            left = left.loc[left[facet.column] == value]
        more = {"selection": self.selection if self.selection != HEADLINE else "", **more}
        return found | {name: value for name, value in more.items() if value}

    def row_query(self, name: str) -> dict[str, str]:
        """The query string that leads to one row on the page Method."""
        default = list(self.rows)[board.default_row(self.table.rows)]
        return self.query(row="" if name == default else name)

    def pair_query(self, one: str, two: str, task: str = "") -> dict[str, str]:
        """The query string that leads to the comparison of two rows."""
        first, second = (list(self.rows)[index] for index in board.default_pair(self.table.rows))
        task = "" if task == board.tasks(self.summaries)[0] else task
        return self.query(a="" if one == first else one, b="" if two == second else two, task=task)


def scored_groups() -> pd.DataFrame:
    """The groups of runs with scores. Without any, or without a store, says what to do and ends the page."""
    try:
        groups = data.groups(data.location())
    except UserError as error:
        messages.report_store_error(error)
        st.stop()
    scored = groups[groups["scored"] > 0]
    if scored.empty:
        messages.suggest_first_run(int(groups["open"].sum()))
        st.stop()
    return scored


def select_key(address: Address, groups: pd.DataFrame) -> TableKey:
    """The filters that choose one group of runs. A filter with a single option is not drawn."""
    left = groups
    for facet in FACETS:
        values = {_option(facet, value): value for value in dict.fromkeys(left[facet.column])}
        value = values[address.select(facet.label, list(values), facet.name, help=facet.help)]
        left = left.loc[left[facet.column] == value]
    return board.table_key(dict(zip(left.columns, left.iloc[0], strict=True)))


def _option(facet: Facet, value: str) -> str:
    """A setting as an option; a list of languages appears as its hash."""
    return escape(value, most=6 if facet.name == "languages_hash" else board.NAME_LENGTH) or "none"


def select_group(address: Address) -> RunGroup:
    """The filters of the group and of the checkpoint selection. Ends the page if there is nothing to show."""
    groups = scored_groups()
    key = select_key(address, groups)
    summaries = data.summaries(data.location(), key)
    selection = address.select("Selection", board.selections(summaries), "selection", help=SELECTION_HELP)
    group = build_group(key, groups, summaries, selection)
    if group is None:
        st.info("No run of this group has been scored under this selection.")
        st.stop()
    return group


def build_group(key: TableKey, groups: pd.DataFrame, summaries: pd.DataFrame, selection: str) -> RunGroup | None:
    """A group of runs with its table by task; None if nothing was scored under this selection."""
    tables = board.build_tables(summaries, pd.DataFrame(), TableChoice(selection=selection))
    if not tables:
        return None
    parts = board.task_groups(summaries)
    table = board.arrange_columns(tables[0], parts)
    return RunGroup(key, groups, summaries, table, selection, board.rows_by_name(table.rows), parts)


def select_mapped_rows(address: Address) -> tuple[RunGroup, list[ResultRow]]:
    """A group of runs, and its rows with a run that `alignboard project` has mapped."""
    group = select_group(address)
    runs = tuple(name for row in group.table.rows for name in row.runs)
    mapped = set(data.links(data.location(), runs, ("project",))["run"])
    return group, [row for row in group.table.rows if mapped & set(row.runs)]
