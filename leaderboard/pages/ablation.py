"""Ablation: what each change does, where a gain comes from, what was set differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from harness.results.rendering import escape, format_signed
from harness.results.tables import CONTROLS, ResultRow, version_notes
from harness.storage.store import AVERAGE
from leaderboard import data
from leaderboard.analysis import ablation, board
from leaderboard.analysis.ablation import RowFamily
from leaderboard.components import charts, difference_charts, filters, messages, tables
from leaderboard.components.filters import RunGroup
from leaderboard.components.state import Address

BASE = CONTROLS[-1]  # continued-mlm: the same text, no alignment
MAX_ROWS = 20  # rows that are compared with the base
MAX_FILES = 150  # files of item statistics that are read without a click
WIDE, NAME_WIDTH = 116, 180  # pixels of columns
INTERVAL_NOTE = "Intervals are 95 % over seeds and items; below three seeds over items alone, which is no test."
FAMILY_HELP = (
    "Narrows the rows: a table of the literature, the rows of one method, or rows that differ in one field of their "
    "recipe and agree in all others."
)


class AblationChoice(NamedTuple):
    """A family of rows, its base row, the rows to compare with it, and one task."""

    group: RunGroup
    family: RowFamily
    base: ResultRow
    others: list[ResultRow]
    task: str
    recipes: Mapping[str, Mapping[str, Any]]

    @property
    def base_name(self) -> str:
        return board.row_name(self.base.label)

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(name for row in (self.base, *self.others) for name in row.runs)

    def comparisons(self) -> ablation.Comparisons:
        """The differences of the other rows from the base row, with what their intervals need."""
        others = tuple(row.label for row in self.others)
        found: ablation.Comparisons = data.comparisons(
            data.location(), self.group.key, self.group.selection, self.base.label, others
        )
        return found


def choose(address: Address) -> AblationChoice:
    """The filters. The family comes first: it narrows the base row and the rows that are compared with it."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        group = filters.select_group(address)
        rows = group.table.rows
        recipes = ablation.row_recipes(rows, group.summaries)
        families = ablation.row_families(rows, recipes, ablation.named_tables(rows, group.summaries))
        by_name = {escape(str(family), most=60): family for family in families}
        family = by_name[address.select("Family", list(by_name), "family", width=200, help=FAMILY_HELP)]
        members = ablation.family_rows(rows, families[family])
        bases = {name: row for name, row in group.rows.items() if row in members}
        index = next((at for at, row in enumerate(members) if row.method == BASE and not row.transform), 0)
        base = bases[address.select("Base row", list(bases), "base_row", width=230, always=True, index=index)]
        others = ablation.comparable_rows(base, members, families[family])
        wanted = address.select_many("Rows", [board.row_name(row.label) for row in others], "rows", width=260)
        task = address.select("Task", board.tasks(group.summaries), "task", width=150)
    others = ablation.comparable_rows(base, members, families[family], wanted)
    return AblationChoice(group, family, base, others, task, recipes)


def show_tasks(address: Address, choice: AblationChoice) -> None:
    """The differences in every task, with intervals if they are cheap to read or asked for."""
    base, others, group = choice.base, choice.others, choice.group
    differences = ablation.task_differences(base, others, group.table, board.tasks(group.summaries))
    names = list(differences.columns[2:])
    files = len(choice.runs) * (len(names) - 1)
    with_intervals = files <= MAX_FILES or address.switch(f"With intervals (reads {files} files)", "intervals")
    widths = pd.DataFrame(index=differences.index, columns=names, dtype=float)
    if with_intervals:
        widths = ablation.interval_half_widths(others, names, choice.comparisons())
    texts = {
        name: [
            ablation.format_difference(gap, width) for gap, width in zip(differences[name], widths[name], strict=True)
        ]
        for name in names
    }
    config: dict[str, Any] = {
        "row": st.column_config.TextColumn("Method", pinned=True, width=NAME_WIDTH),
        "role": st.column_config.TextColumn("Role", width=90),
    }
    for name in names:
        heading = "Average" if name == AVERAGE else escape(name, most=30)
        config[name] = st.column_config.NumberColumn(heading, width=WIDE if with_intervals else None)
    order = ["row", *names, *(["role"] if differences["role"].any() else [])]  # on a phone the figures come first
    shown = differences[order].dropna(axis="columns", how="all")
    tables.show_frame(shown, "deltas", config, {name: text for name, text in texts.items() if name in shown})
    if with_intervals:
        messages.write_notes([INTERVAL_NOTE])
        both = pd.concat([differences, widths.add_suffix(" ±")], axis="columns")
        differences = both[["row", "role", *(column for name in names for column in (name, f"{name} ±"))]]
    title = f"Differences to {choice.base_name} in points"
    tables.offer_frame(differences, title, "deltas", [INTERVAL_NOTE])


def show_task(choice: AblationChoice) -> None:
    """The differences in one task: with intervals, by language, by distance from the pivot."""
    task, group, base = choice.task, choice.group, choice.base_name
    cells = data.cells(data.location(), choice.runs, "test", task)
    metric = board.task_metric(group.summaries, task)
    where: Any = (choice.base, choice.others, cells, task, group.selection, metric)
    lines = ablation.differences_with_intervals(choice.base, choice.others, group.table, task, choice.comparisons())
    dots = difference_charts.difference_dots(lines.rename(columns={"row": "view"}))
    about = f"Difference to {base}. {INTERVAL_NOTE}"
    charts.show_chart(dots, f"What does each change do on {task}?", "intervals", about)
    differences = ablation.language_differences(*where)
    if differences.empty:
        return
    on_page, printed = (difference_charts.heat_map(differences, dark=dark) for dark in (charts.is_dark(), False))
    about = f"Difference to {base} in points, by language: blue is a gain, orange a loss, grey none."
    charts.show_chart(on_page, f"Where does it help on {task}?", "heat", about, printed)
    tables.offer_frame(differences, f"Differences on {task} by language", "by-language")
    placed, axis = ablation.add_distances(differences, group.key.source)
    about = "A dot is a language, a line the mean over the languages of one distance."
    more = "" if len(choice.others) <= difference_charts.NAMED else " Only the first rows are labelled."
    lines_by_distance = difference_charts.distance_lines(placed, axis)
    charts.show_chart(lines_by_distance, "Does it help distant languages?", "distance", about + more)


def show_gains(address: Address, choice: AblationChoice) -> None:
    """Where gains come from: the steps of every method side by side, then those of one method."""
    methods = [row.method for row in (choice.base, *choice.others)]
    steps_of = ablation.gain_steps_by_method(choice.group.table, choice.group.summaries, methods)
    if not steps_of:
        return
    about = (
        "From the base encoder to the method: masked LM on the same text, the objective on shuffled pairs, the true "
        "pairs. A control without runs is skipped, and the next step includes its part. Averages over all tasks."
    )
    bars = difference_charts.attribution_bars(steps_of)
    charts.show_chart(bars, "Where does the gain come from?", "attribution", about)
    lines = pd.DataFrame(
        {"method": name, "step": s.name, "before": s.before, "after": s.after, "gain": s.after - s.before}
        for name, steps in steps_of.items()
        for s in steps
    )
    tables.offer_frame(lines, "Attribution of the gain in the average", "attribution")
    names = {escape(name, most=60): name for name in steps_of}
    name = address.select("Method", list(names), "method", width=220, always=True)
    waterfall = difference_charts.waterfall(steps_of[names[name]])
    charts.show_chart(waterfall, f"Step by step to {name}", "waterfall")
    own = lines[lines["method"] == names[name]].drop(columns="method").reset_index(drop=True)
    config = {
        "step": st.column_config.TextColumn("What is added", pinned=True),
        "before": st.column_config.NumberColumn("Average before", format="%.1f"),
        "after": st.column_config.NumberColumn("after", format="%.1f"),
        "gain": st.column_config.NumberColumn("Gain"),
    }
    tables.show_frame(own, "steps", config, {"gain": format_signed})


def show_recipes(address: Address, choice: AblationChoice) -> None:
    """The fields in which the recipe of one row differs from that of the base row."""
    st.subheader("What is set differently?", anchor=False)
    rows = board.rows_by_name(choice.others)
    name = address.select("Recipe of", list(rows), "beside", width=230)
    recipes = [choice.recipes.get(row.label, {}) for row in (choice.base, rows[name])]
    fields = ablation.recipe_differences(*recipes)
    if fields.empty:
        st.text("No field of the recipe.")
        return
    config = {
        "field": st.column_config.TextColumn("Field", pinned=True, width=180),
        "first": st.column_config.TextColumn(choice.base_name),
        "second": st.column_config.TextColumn(name),
    }
    tables.show_frame(fields, "recipes", config)
    tables.offer_frame(fields, f"Recipes of {choice.base_name} and {name}", "recipes")


def show_ablation(address: Address, choice: AblationChoice) -> None:
    if not choice.others:
        st.info("There is no other row to compare with this one. Run another method, or choose another base row.")
        st.code(messages.FIRST_ROWS, language="bash")
        return
    messages.write(f"Differences to {choice.base_name} in points, means over seeds.")
    count = len(choice.others)
    notes: Sequence[str] = [choice.family.title] if choice.family.title else []
    if count > MAX_ROWS:
        notes = [*notes, f"The first {MAX_ROWS} of {count} rows. Choose others under Rows."]
    choice = choice._replace(others=choice.others[:MAX_ROWS])
    messages.write_notes([*notes, *version_notes([choice.base, *choice.others])])
    show_tasks(address, choice)
    show_task(choice)
    show_gains(address, choice)
    show_recipes(address, choice)


st.title("Ablation", anchor=False)
address = Address()
choice = choose(address)
notices = st.container()
show_ablation(address, choice)
with notices:
    address.show_notices()
