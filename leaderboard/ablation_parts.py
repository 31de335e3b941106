"""The parts of the page Ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from harness.results.rendering import escape
from harness.results.tables import CONTROLS, ResultRow, ResultTable, TableKey
from harness.storage.store import AVERAGE
from leaderboard import data
from leaderboard.analysis import ablation, board, method
from leaderboard.analysis.ablation import Family
from leaderboard.components import difference_charts, look, parts, tables
from leaderboard.components.state import Address
from leaderboard.method_parts import group

CONTROL = CONTROLS[-1]  # continued-mlm: the same text, no alignment

MOST = 20  # rows that are laid beside a base
CHEAP = 150  # files of item statistics that are read unasked
WIDE, NAME_WIDTH = 116, 180  # pixels of columns
INTERVAL_NOTE = "Intervals are 95 % over paired items, for the runs that were made; they are no test."
FAMILY_HELP = (
    "Narrows the rows: a table of the literature, the rows of one method, or rows that differ in one field of their "
    "recipe and agree in all else."
)


class Chosen(NamedTuple):
    """A family of rows, its base row, the rows beside it, and the task that is looked into."""

    key: TableKey
    summaries: pd.DataFrame
    results: ResultTable
    family: Family
    base: ResultRow
    others: list[ResultRow]
    task: str
    selection: str
    recipes: Mapping[str, Mapping[str, Any]]


def filters(address: Address) -> Chosen:
    """The row of filters. The family comes first: it narrows the base row and what is laid beside it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        key, _, summaries, results, selection, names = group(address)
        recipes = ablation.recipes(results.rows, summaries)
        families = ablation.families(results.rows, recipes, ablation.tables(results.rows, summaries))
        by_name = {escape(str(family), most=60): family for family in families}
        family = by_name[address.select("Family", list(by_name), "family", width=200, help=FAMILY_HELP)]
        rows = ablation.of_family(results.rows, families[family])
        kept = {name: row for name, row in names.items() if row in rows}
        base = kept[address.select("Base row", list(kept), "base_row", width=230, always=True, index=_first(rows))]
        others = ablation.members(base, rows, families[family])
        wanted = address.several("Rows", [tables.name_of(row.label) for row in others], "rows", width=260)
        task = address.select("Task", board.tasks(summaries), "task", width=150)
    others = ablation.members(base, rows, families[family], wanted)
    return Chosen(key, summaries, results, family, base, others, task, selection, recipes)


def _first(rows: Sequence[ResultRow]) -> int:
    """The place of the row that others are laid beside unless another one is asked for: the control on the same text,
    else the first one."""
    return next((at for at, row in enumerate(rows) if row.method == CONTROL and not row.transform), 0)


def body(address: Address, chosen: Chosen) -> None:
    """Differences by task and language, where gains come from, and the recipes beside each other."""
    if not chosen.others:
        st.info("There is no other row to lay beside this one. Run another method, or choose another base row.")
        st.code(parts.FIRST_ROWS, language="bash")
        return
    base = tables.name_of(chosen.base.label)
    parts.told(f"Differences to {base} in points, means over seeds.")
    many = f"The first {MOST} of {len(chosen.others)} rows; choose others under Rows."
    parts.notes([line for line in (chosen.family.title, many if len(chosen.others) > MOST else "") if line])
    chosen = chosen._replace(others=chosen.others[:MOST])
    _tasks(address, chosen, base)
    _one_task(chosen, base)
    _attribution(address, chosen)
    _recipes(address, chosen, base)


def _tasks(address: Address, chosen: Chosen, base: str) -> None:
    """The differences of every task, with their intervals where they are at hand or asked for."""
    shown = ablation.deltas(chosen.base, chosen.others, chosen.results, board.tasks(chosen.summaries))
    names = list(shown.columns[2:])
    runs = tuple(name for row in (chosen.base, *chosen.others) for name in row.runs)
    files = len(runs) * (len(names) - 1)
    asked = files <= CHEAP or address.switch(f"With intervals ({files} files are read)", "intervals")
    widths = _widths(chosen, runs, names) if asked else pd.DataFrame(index=shown.index, columns=names, dtype=float)
    told = {
        name: [ablation.told(gap, wide) for gap, wide in zip(shown[name], widths[name], strict=True)] for name in names
    }
    number = st.column_config.NumberColumn
    config: dict[str, Any] = {
        name: number("Average" if name == AVERAGE else escape(name, most=30), width=WIDE if asked else None)
        for name in names
    }
    config |= {
        "row": st.column_config.TextColumn("Method", pinned=True, width=NAME_WIDTH),
        "role": st.column_config.TextColumn("Role", width=90),
    }
    order = ["row", *names, *(["role"] if shown["role"].any() else [])]  # on a phone the figures come first
    kept = shown[order].dropna(axis="columns", how="all")
    parts.frame(kept, "deltas", config, {name: words for name, words in told.items() if name in kept})
    wide = widths.add_suffix(" ±")
    both = pd.concat([shown, wide], axis="columns")[[*shown.columns[:2], *(n for m in names for n in (m, f"{m} ±"))]]
    if asked:
        parts.notes([INTERVAL_NOTE])
    parts.offer_frame(both if asked else shown, f"Differences to {base} in points", "deltas", [INTERVAL_NOTE])


def _widths(chosen: Chosen, runs: tuple[str, ...], names: Sequence[str]) -> pd.DataFrame:
    metrics = {name: method.metric_of(chosen.summaries, name) for name in names if name != AVERAGE}
    cells = data.cells(data.location(), runs, "test")
    found = ablation.widths(chosen.base, chosen.others, cells, metrics, chosen.selection)
    return found[list(names)]


def _one_task(chosen: Chosen, base: str) -> None:
    runs = tuple(name for row in (chosen.base, *chosen.others) for name in row.runs)
    cells = data.cells(data.location(), runs, "test", chosen.task)
    metric = method.metric_of(chosen.summaries, chosen.task)
    where: Any = (chosen.base, chosen.others, cells, chosen.task, chosen.selection, metric)
    lines = ablation.intervals(*where)
    drawn = difference_charts.differences(lines.rename(columns={"row": "view"}))
    about = f"Difference to {base}. {INTERVAL_NOTE}"
    parts.chart(drawn, f"What does each change of {chosen.task}?", "intervals", about)
    found = ablation.by_language(*where)
    if found.empty:
        return
    heat, printed = (difference_charts.heat(found, dark=dark) for dark in (parts.is_dark(), False))
    about = f"Difference to {base} in points, by language: blue a gain, orange a loss, grey none."
    parts.chart(heat, f"Where does it help on {chosen.task}?", "heat", about, printed)
    parts.offer_frame(found, f"Differences on {chosen.task} by language", "by-language")
    placed, axis = ablation.by_distance(found, chosen.key.source)
    about = "A dot is a language, a line the mean over the languages of one distance."
    more = "" if len(chosen.others) <= difference_charts.NAMED else " The first rows are named, the others are grey."
    parts.chart(difference_charts.by_distance(placed, axis), "Does it help far languages?", "distance", about + more)


def _attribution(address: Address, chosen: Chosen) -> None:
    """Where gains come from: the steps of every method beside each other, and one method's on top of each other."""
    taken = ablation.attributions(chosen.results, [row.method for row in (chosen.base, *chosen.others)])
    if not taken:
        return
    about = (
        "From the base encoder to the method: masked LM on the same text, the objective on shuffled partners, the true "
        "pairs. A control that was not run is left out, and the next step takes its part. Averages over all tasks."
    )
    parts.chart(difference_charts.attribution(taken), "Where does the gain come from?", "attribution", about)
    lines = [
        {"method": name, "step": s.name, "before": s.before, "after": s.after, "gain": s.after - s.before}
        for name, steps in taken.items()
        for s in steps
    ]
    parts.offer_frame(pd.DataFrame(lines), "Attribution of the gain in the average", "attribution")
    names = {escape(name, most=60): name for name in taken}
    name = address.select("Method", list(names), "method", width=220, always=True)
    steps = taken[names[name]]
    parts.chart(difference_charts.waterfall(steps), f"Step by step to {name}", "waterfall")
    shown = pd.DataFrame(lines)
    shown = shown[shown["method"] == names[name]].drop(columns="method").reset_index(drop=True)
    number = st.column_config.NumberColumn
    config = {
        "step": st.column_config.TextColumn("What is added", pinned=True),
        "before": number("Average before", format="%.1f"),
        "after": number("after", format="%.1f"),
        "gain": number("Gain"),
    }
    parts.frame(shown, "steps", config, {"gain": look.signed})


def _recipes(address: Address, chosen: Chosen, base: str) -> None:
    st.subheader("What is set differently?", anchor=False)
    names = tables.named(chosen.others)
    name = address.select("Recipe of", list(names), "beside", width=230)
    label = names[name].label
    shown = ablation.diff(chosen.recipes.get(chosen.base.label, {}), chosen.recipes.get(label, {}))
    if shown.empty:
        st.text("No field of the recipe.")
        return
    config = {
        "field": st.column_config.TextColumn("Field", pinned=True, width=180),
        "first": st.column_config.TextColumn(base),
        "second": st.column_config.TextColumn(name),
    }
    parts.frame(shown, "recipes", config)
    parts.offer_frame(shown, f"Recipes of {base} and {name}", "recipes")
