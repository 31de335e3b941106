"""Method: one row's objective, scores, learning curves, costs and recipe."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from harness.errors import UserError
from harness.results.findings import describe_row
from harness.results.labels import shown_recipe
from harness.results.rendering import escape
from harness.results.tables import ResultRow
from leaderboard import data
from leaderboard.analysis import board, method
from leaderboard.artifacts import load_trace
from leaderboard.components import charts, filters, formulas, messages, score_charts, tables
from leaderboard.components.filters import RunGroup
from leaderboard.components.state import Address

SCORES = {
    "view": st.column_config.TextColumn("Language", width=230),
    "score": st.column_config.NumberColumn("Score, %", format="%.1f", width=90, help="Mean over seeds."),
    "sd": st.column_config.NumberColumn("Spread", format="%.1f", width=80, help="Standard deviation over seeds."),
    "seeds": st.column_config.NumberColumn("Seeds", width=70),
    "standard error": st.column_config.NumberColumn(
        "Standard error", format="%.2f", width=120, help="Over items, of the first run alone."
    ),
    "items": st.column_config.NumberColumn("Items", width=80),
}
COSTS = {
    "kind": st.column_config.TextColumn("Stage", width=100),
    "stages": st.column_config.NumberColumn("Stages", width=70, help="Different stages over all runs of this row."),
    "seconds": st.column_config.NumberColumn("Device seconds", format="%.1f", width=120),
    "million tokens": st.column_config.NumberColumn("Tokens, million", format="%.2f", width=120),
    "tokens per second": st.column_config.NumberColumn("Tokens / s", format="%.0f", width=100),
    "peak MiB": st.column_config.NumberColumn("Peak MiB", format="%.0f", width=90),
}


class MethodChoice(NamedTuple):
    """The row of the page, and the task whose scores are shown."""

    group: RunGroup
    row: ResultRow
    task: str


def choose(address: Address) -> MethodChoice:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        group = filters.select_group(address)
        index = board.default_row(group.table.rows)
        name = address.select("Method", list(group.rows), "row", index=index, width=260, always=True)
        task = address.select("Task", board.tasks(group.summaries), "task", width=150)
    return MethodChoice(group, group.rows[name], task)


def show_card(row: ResultRow, card: Mapping[str, Any]) -> None:
    """What the method is: objective, formula, reference, description."""
    st.subheader(escape(row.label, "label", 120), anchor=False)
    if row.badge:
        st.badge(row.badge, color="gray")
    if card.get("objective"):
        messages.write(str(card["objective"]))
    formulas.draw_formula(card)
    facts = {
        "Reference": card.get("reference"),
        "Baseline": card.get("control"),
        "Needs": ", ".join(map(str, card.get("needs") or ())),
    }
    messages.write_notes([f"{name}: {value}" for name, value in facts.items() if value])
    with st.expander("Description"):
        sections = method.docstring_sections(str(card.get("docstring") or ""))
        if not sections:
            st.text("This run has no description.")
        for section in sections:
            if section.title:
                st.caption(section.title)
            for line in section.text.splitlines():
                text = escape(line.strip(), most=2000)
                if line.startswith("    "):  # a formula
                    st.code(text, language=None, wrap_lines=True)
                else:
                    st.text(text)


def show_strip(choice: MethodChoice) -> None:
    """Score, gain over the control and rank in every column of the table."""
    group, row = choice.group, choice.row
    try:
        verdicts = data.verdicts(data.location(), group.key, group.selection)
    except UserError as error:
        messages.write_notes([f"No ranks: {error}"])
        verdicts = None
    if verdicts:
        messages.write_verdict(describe_row(group.table, row, verdicts, group.task_groups))
    lines = method.score_strip(row, group.scopes, verdicts)
    config = {name: st.column_config.TextColumn(tables.column_heading(name), width=128) for name in group.scopes}
    texts = {name: list(lines[name]) for name in group.scopes}
    tables.show_frame(lines, "strip", {"": st.column_config.TextColumn("", width=70), **config}, texts)
    control = verdicts.controls.get(row.label) if verdicts else None
    messages.write_notes([f"Gain: over {control}, with its 95 % interval over seeds and items."] if control else [])
    cells = data.cells(data.location(), row.runs)
    scores = method.score_map(row, cells, group.summaries, group.selection)
    scores = board.sort_by_distance(scores, group.key.source)
    on_page, printed = (score_charts.score_map(scores, dark=dark) for dark in (charts.is_dark(), False))
    charts.show_chart(on_page, "How does it do in each language?", "map", "Score in percent, mean over seeds.", printed)


def show_scores(choice: MethodChoice) -> None:
    """The scores of the task by language."""
    row, task, group = choice.row, choice.task, choice.group
    cells = data.cells(data.location(), row.runs, "test", task)
    lines = method.scores_by_view(row, cells, group.summaries, task, group.selection)
    if lines.empty:
        st.info(f"No score of {escape(task, 'markdown', 40)} yet.")
        return
    lines = board.sort_by_distance(lines, group.key.source)
    named = board.label_views(lines, group.key.source)
    about = "Dots are seeds, bars are means. The line is the 95 % interval of the first run over its items."
    charts.show_chart(score_charts.view_scores(named), f"How does it do on {task}?", "views", about)
    summary = method.summarise_views(lines)
    tables.show_frame(board.label_views(summary, group.key.source), "scores", SCORES)
    title = f"{board.row_name(row.label)}, {task}, by language"
    tables.offer_frame(summary, title, "scores", notes=[tables.ERROR_NOTE])


def show_curves(choice: MethodChoice) -> None:
    """Loss terms of the alignment, and dev scores of the fine-tuning."""
    place, runs = data.location(), choice.row.runs
    links = data.links(place, runs, ("align",))
    traces = [trace for name in links["fingerprint"].unique() if (trace := load_trace(str(name)))]
    terms = score_charts.loss_charts(method.loss_curves(traces))
    if terms:
        st.subheader("How did the alignment learn?", anchor=False)
        st.caption("Loss terms, mean over seeds.")
        for column, (term, chart) in zip(itertools.cycle(st.columns(min(3, len(terms)))), terms.items(), strict=False):
            with column:
                with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                    st.caption(escape(term, "label", 40), width="content")
                    charts.offer_chart_files(chart, f"Loss term {term}", f"loss-{term}")
                charts.draw_chart(chart, f"loss-{term}")
    dev = data.cells(place, runs, "dev", choice.task)
    curve = method.dev_curve(dev, choice.task, board.task_metric(choice.group.summaries, choice.task))
    charts.show_chart(score_charts.dev_curves(curve), "How did the fine-tuning learn?", "dev")


def show_costs(row: ResultRow) -> None:
    links = data.links(data.location(), row.runs)
    if links.empty:
        return
    st.subheader("What did it cost?", anchor=False)
    costs = method.stage_costs(links)
    tables.show_frame(costs, "costs", COSTS)
    tables.offer_frame(costs, "Cost of all seeds together", "costs")


def show_recipe(run: Mapping[str, Any]) -> None:
    with st.expander("Recipe and data"):
        fingerprints = {"data": run["data_fingerprint"], "base": run["base_fingerprint"], "recipe": run["recipe_hash"]}
        settings = shown_recipe(run)
        settings |= {f"fingerprint of the {name}": value for name, value in fingerprints.items()}
        fields = pd.DataFrame({"field": list(settings), "value": [str(value) for value in settings.values()]})
        tables.show_frame(fields, "recipe-fields")
        tables.offer_frame(fields, "Recipe", "recipe")


def show_links(choice: MethodChoice) -> None:
    group = choice.group
    name = next(name for name, row in group.rows.items() if row is choice.row)
    with st.container(horizontal=True):
        if len(group.rows) > 1:
            control, method = (list(group.rows)[index] for index in board.default_pair(group.table.rows))
            query = group.pair_query(method if name == control else control, name)
            messages.link_page("compare", f"Compare {name}", ":material/compare:", query)
        for run in choice.row.runs[:5]:
            messages.link_page("runs", f"Run {run[:8]}", ":material/list:", {"run": run})


st.title("Method", anchor=False)
address = Address()
choice = choose(address)
address.show_notices()
summaries = choice.group.summaries
first_run = {str(name): value for name, value in summaries[summaries["run"].isin(choice.row.runs)].iloc[0].items()}
show_strip(choice)
show_card(choice.row, first_run.get("card") or {})
show_scores(choice)
show_curves(choice)
show_costs(choice.row)
show_recipe(first_run)
show_links(choice)
