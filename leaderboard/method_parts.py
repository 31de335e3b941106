"""The parts of the page Method."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from harness.results.rendering import escape
from harness.results.tables import ResultRow, ResultTable, TableKey
from leaderboard import data
from leaderboard.analysis import board, item_errors, method, runs
from leaderboard.analysis.board import Choice
from leaderboard.components import formulas, parts, score_charts, tables
from leaderboard.components.state import Address

SCORES = {
    "view": st.column_config.TextColumn("Language", pinned=True, width=110),
    "score": st.column_config.NumberColumn("Score, %", format="%.1f", width=90, help="Mean over seeds."),
    "sd": st.column_config.NumberColumn("Spread", format="%.1f", width=80, help="Standard deviation over seeds."),
    "seeds": st.column_config.NumberColumn("Seeds", width=70),
    "standard error": st.column_config.NumberColumn(
        "Standard error", format="%.2f", width=120, help="Over items, of the first run alone."
    ),
    "items": st.column_config.NumberColumn("Items", width=80),
}
COSTS = {
    "kind": st.column_config.TextColumn("Stage", pinned=True, width=100),
    "stages": st.column_config.NumberColumn("Made", width=70, help="Different stages over all runs of this row."),
    "seconds": st.column_config.NumberColumn("Device seconds", format="%.1f", width=120),
    "million tokens": st.column_config.NumberColumn("Tokens, million", format="%.2f", width=120),
    "tokens per second": st.column_config.NumberColumn("Tokens / s", format="%.0f", width=100),
    "peak MiB": st.column_config.NumberColumn("Peak MiB", format="%.0f", width=90),
}


class Chosen(NamedTuple):
    """The row that is shown, in its table."""

    key: TableKey
    groups: pd.DataFrame
    summaries: pd.DataFrame
    results: ResultTable
    row: ResultRow
    task: str
    selection: str


class Group(NamedTuple):
    """A group of runs as its filters choose it: its key among all groups, its table, and its rows by name."""

    key: TableKey
    groups: pd.DataFrame
    summaries: pd.DataFrame
    results: ResultTable
    selection: str
    names: dict[str, ResultRow]


def group(address: Address) -> Group:
    """Draws the filters of the group and of the selection; ends the page where there is nothing to show."""
    groups = parts.groups()
    key = parts.key(address, groups)
    summaries = data.summaries(data.location(), key)
    selection = address.select("Selection", board.selections(summaries), "selection", help=tables.SELECTION_HELP)
    made = board.table(summaries, pd.DataFrame(), Choice(selection=selection))
    if not made:
        st.info("No run of this group has been scored under this selection.")
        st.stop()
    return Group(key, groups, summaries, made[0], selection, tables.named(made[0].rows))


def filters(address: Address) -> Chosen:
    """The row of filters."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        key, groups, summaries, results, selection, names = group(address)
        first = next((at for at, row in enumerate(results.rows) if not row.badge), 0)
        row = names[address.select("Method", list(names), "row", index=first, width=260, always=True)]
        task = address.select("Task", board.tasks(summaries), "task", width=150)
    return Chosen(key, groups, summaries, results, row, task, selection)


def body(chosen: Chosen) -> None:
    """What the method is, how it does, what it cost, where it is from."""
    own = chosen.summaries[chosen.summaries["run"].isin(chosen.row.runs)]
    first = {str(name): value for name, value in own.iloc[0].to_dict().items()}
    _card(chosen.row, first.get("card") or {})
    _scores(chosen)
    _curves(chosen)
    _cost(chosen)
    _recipe(first)
    _links(chosen)


def _card(row: ResultRow, card: dict[str, Any]) -> None:
    st.subheader(escape(row.label, "label", 120), anchor=False)
    if row.badge:
        st.badge(row.badge, color="gray")
    if card.get("objective"):
        parts.told(str(card["objective"]))
    draw_formula(card)
    facts = {
        "Reference": card.get("reference"),
        "Measured against": card.get("control"),
        "Needs": ", ".join(map(str, card.get("needs") or ())),
    }
    parts.notes([f"{name}: {value}" for name, value in facts.items() if value])
    with st.expander("What it does"):
        found = method.sections(str(card.get("docstring") or ""))
        if not found:
            st.text("This run has no description.")
        for part in found:
            if part.title:
                st.caption(part.title)
            for line in part.text.splitlines():
                formula = line.startswith("    ")
                (st.code if formula else st.text)(escape(line.strip(), most=2000), **_plain(formula))


def draw_formula(card: Mapping[str, Any]) -> None:
    """The objective as its method declares it: typeset where it is plain mathematics, else as it is written."""
    text = str(card.get("formula") or "")
    if not text.strip():
        return
    drawn = formulas.typeset(text)
    if drawn is None:
        st.code(escape(text, most=formulas.MOST), language=None, wrap_lines=True)
    else:
        st.latex(drawn, width="content")
    parts.notes([str(card["symbols"])] if card.get("symbols") else ())


def _plain(formula: bool) -> dict[str, Any]:
    return {"language": None, "wrap_lines": True} if formula else {}


def _scores(chosen: Chosen) -> None:
    place = data.location()
    cells = data.cells(place, chosen.row.runs, "test", chosen.task)
    lines = method.by_view(chosen.row, cells, chosen.summaries, chosen.task, chosen.selection)
    name = tables.name_of(chosen.row.label)
    if lines.empty:
        st.info(f"No score of {escape(chosen.task, 'markdown', 40)} yet.")
        return
    parts.chart(
        score_charts.views(lines),
        f"How does it do on {chosen.task}?",
        "views",
        "Dots are seeds, bars their mean. The line is the 95 % interval of the first run over its items.",
    )
    shown = method.spread(lines)
    parts.frame(shown, "scores", SCORES)
    parts.offer_frame(shown, f"{name}, {chosen.task}, by language", "scores", notes=[tables.ERROR_NOTE])


def _curves(chosen: Chosen) -> None:
    place = data.location()
    links = data.links(place, chosen.row.runs, ("align",))
    traces = [trace for name in links["fingerprint"].unique() if (trace := item_errors.trace(str(name)))]
    terms = score_charts.losses(method.losses(traces))
    if terms:
        st.subheader("How did the alignment learn?", anchor=False)
        st.caption("Loss terms, mean over seeds.")
        for column, (term, drawn) in zip(itertools.cycle(st.columns(min(3, len(terms)))), terms.items(), strict=False):
            with column:
                with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                    st.caption(escape(term, "label", 40), width="content")
                    parts.chart_downloads(drawn, f"Loss term {term}", f"loss-{term}")
                parts.plain_chart(drawn, f"loss-{term}")
    dev = data.cells(place, chosen.row.runs, "dev", chosen.task)
    curve = method.dev_curve(dev, chosen.task, method.metric_of(chosen.summaries, chosen.task))
    parts.chart(score_charts.dev(curve), "How did the fine-tuning learn?", "dev")


def _cost(chosen: Chosen) -> None:
    links = data.links(data.location(), chosen.row.runs)
    if links.empty:
        return
    st.subheader("What did it cost?", anchor=False)
    shown = method.throughput(links)
    parts.frame(shown, "costs", COSTS)
    parts.offer_frame(shown, "Cost of all seeds together", "costs")


def _recipe(run: dict[str, Any]) -> None:
    with st.expander("Recipe and data"):
        flat = runs.settings(run.get("recipe") or {})
        facts = {"data": run["data_fingerprint"], "base": run["base_fingerprint"], "recipe": run["recipe_hash"]}
        pairs = flat | {f"fingerprint of the {name}": value for name, value in facts.items()}
        fields = pd.DataFrame({"field": list(pairs), "value": [str(value) for value in pairs.values()]})
        parts.frame(fields, "recipe-fields")
        parts.offer_frame(fields, "Recipe", "recipe")


def _links(chosen: Chosen) -> None:
    here = parts.query(chosen.key, chosen.groups)
    name = tables.name_of(chosen.row.label)
    with st.container(horizontal=True):
        parts.link("compare", f"Compare {name}", ":material/compare:", here | {"a": name})
        for run in chosen.row.runs[:5]:
            parts.link("runs", f"Run {run[:8]}", ":material/list:", {"run": run})
