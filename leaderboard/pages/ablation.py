"""Ablation: what each change does, where a gain comes from, what was set differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from harness.results.attribution import SHUFFLED
from harness.results.findings import describe_gains, format_estimate
from harness.results.rendering import escape
from harness.results.tables import ResultRow, version_notes
from harness.storage.store import AVERAGE
from leaderboard import data
from leaderboard.analysis import ablation, board
from leaderboard.analysis.ablation import RowFamily
from leaderboard.components import charts, difference_charts, filters, look, messages, tables
from leaderboard.components.filters import RunGroup
from leaderboard.components.state import Address

MAX_ROWS = 20  # rows that are compared with the base
MAX_FILES = 150  # files of item statistics that are read without a click
WIDE, NAME_WIDTH = 138, 180  # pixels of columns
INTERVAL_NOTE = "[low, high]: 95 % interval over seeds and items; below three seeds over items alone, which is no test."
GREY_NOTE = "Blue is a gain, orange a loss, grey where the interval spans zero."
STEPS_NOTE = (
    "From the base encoder to the method: masked LM on the same text, the objective on shuffled pairs, the true pairs. "
    "A control without runs is skipped, and the next step includes its part. Pale: the interval spans zero."
)
FAMILY_HELP = (
    "Narrows the rows: a table of the literature, the rows of one method, or rows that differ in one field of their "
    "recipe and agree in all others."
)


class AblationChoice(NamedTuple):
    """A family of rows, its base row, the rows to compare with it, and the columns (tasks or groups) to look at."""

    group: RunGroup
    family: RowFamily
    base: ResultRow
    others: list[ResultRow]
    scopes: list[str]
    recipes: Mapping[str, Mapping[str, Any]]
    sets: list[frozenset[str]]  # of rows that may be compared
    intervals: bool  # whether they are cheap to read, or asked for

    @property
    def base_name(self) -> str:
        return board.row_name(self.base.label)

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(name for row in (self.base, *self.others) for name in row.runs)

    def comparisons(self, task: str | None = None, views: tuple[str, ...] | None = None) -> ablation.Comparisons:
        """The differences of the other rows from the base row; by some views of a task, if they are given."""
        others = tuple(row.label for row in self.others)
        where = (data.location(), self.group.key, self.group.selection, self.base.label, others)
        found: ablation.Comparisons = data.comparisons(*where, task, views) if self.intervals else {}
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
        index = board.default_control(members)
        base = bases[address.select("Base row", list(bases), "base_row", width=230, always=True, index=index)]
        others = ablation.comparable_rows(base, members, families[family])
        wanted = address.select_many("Rows", [board.row_name(row.label) for row in others], "rows", width=260)
        both = " and ".join(group.task_groups)
        scopes = {tables.column_heading(name): [name] for name in group.scopes}
        scopes = {both: list(group.task_groups), **scopes} if both else scopes
        task = address.select("Task", list(scopes), "task", width=200)
        others = ablation.comparable_rows(base, members, families[family], wanted)[:MAX_ROWS]
        files = sum(len(row.runs) for row in (base, *others)) * len(board.tasks(group.summaries))
        intervals = files <= MAX_FILES or address.switch(f"With intervals (reads {files} files)", "intervals")
    return AblationChoice(group, family, base, others, scopes[task], recipes, families[family], intervals)


def show_gains(choice: AblationChoice) -> None:
    """Where gains come from: the steps of every method, in each of the columns that are looked at."""
    group, methods = choice.group, [row.method for row in (choice.base, *choice.others)]
    labels = tuple(row.label for row in group.table.rows if not row.badge and row.method in methods)
    found = data.attributions(data.location(), group.key, group.selection, labels) if choice.intervals else {}
    steps = ablation.gain_steps(group.table, group.summaries, choice.scopes, found, methods)
    if steps.empty:
        return
    messages.write_verdict(describe_gains(found.values(), choice.scopes))
    for column, scope in zip(st.columns(len(choice.scopes)), choice.scopes, strict=True):
        with column:
            bars = difference_charts.attribution_bars(steps[steps["column"] == scope])
            question = f"Where does the gain on {in_sentence(scope)} come from?"
            charts.show_chart(bars, question, f"attribution-{scope}")
    messages.write_notes([STEPS_NOTE])
    missing = dict(part for one in found.values() for part in one.missing.items())
    if missing:
        if SHUFFLED in missing:
            messages.write("No row was trained on shuffled pairs, so the objective and the true pairs are one step.")
        with st.expander(f"Without runs: {escape(', '.join(missing), 'label', 80)}"):
            for command in missing.values():
                st.code(escape(command, most=400), language="bash", wrap_lines=True)
    tables.offer_frame(steps, "Attribution of gains", "attribution", [INTERVAL_NOTE])


def show_table(choice: AblationChoice) -> None:
    """The differences in every column. A click on one looks at its column and its row."""
    names = [column.name for column in choice.group.table.columns]
    lines = ablation.row_differences(choice.base, choice.others, names, choice.comparisons())
    dark, texts, fills = charts.is_dark(), {}, {}
    order = [board.row_name(row.label) for row in choice.others]
    for name, own in lines.groupby("column"):
        cells = own.set_index("row").reindex(order)
        widest = max(look.NARROWEST, float(cells["difference"].abs().max()))
        known = list(zip(cells["difference"], cells["low"], cells["high"], strict=True))
        texts[str(name)] = [format_estimate(*each) for each in known]
        fills[str(name)] = [
            None if pd.isna(gap) else look.tile_colours(gap, widest, dark=dark, unsure=ablation.spans_zero(low, high))
            for gap, low, high in known
        ]
    table = lines.pivot(index="row", columns="column", values="difference").reindex(index=order)
    shown = table[[name for name in names if name in table]].reset_index()
    config: dict[str, Any] = {
        name: st.column_config.NumberColumn(tables.column_heading(name), width=WIDE if choice.intervals else None)
        for name in names
    }
    config["row"] = st.column_config.TextColumn("Method", width=NAME_WIDTH)
    st.session_state["delta-cells"] = (order, list(shown.columns))
    click: Any = {"on_select": open_clicked_cell, "selection_mode": "single-cell"}
    tables.show_frame(shown, "deltas", config, texts, fills, **click)
    messages.write_notes(
        [f"{GREY_NOTE} {INTERVAL_NOTE if choice.intervals else ''} Click a difference to look into it."]
    )
    tables.offer_frame(lines, f"Differences to {choice.base_name} in points", "deltas", [INTERVAL_NOTE])


def open_clicked_cell() -> None:
    """Chooses the task and the row of a clicked difference."""
    rows, names = st.session_state["delta-cells"]
    for row, name in st.session_state["deltas"]["selection"]["cells"]:
        if row < len(rows) and name in names[1:]:
            st.session_state["task"] = tables.column_heading(name)
            st.session_state["beside"] = rows[row]


def in_sentence(scope: str) -> str:
    return scope.lower() if scope.istitle() else scope


def show_scope(choice: AblationChoice, scope: str) -> None:
    """The differences in one column: with intervals, by language, by distance from the pivot."""
    group, base, name = choice.group, choice.base_name, in_sentence(scope)
    compared = choice.comparisons()
    lines = ablation.row_differences(choice.base, choice.others, [scope], compared)
    dots = difference_charts.difference_dots(lines.rename(columns={"row": "view"}))
    charts.show_chart(dots, f"What does each change do on {name}?", f"intervals-{scope}", f"Difference to {base}.")
    if choice.family.setting:
        members = [choice.base, *choice.others]
        points = ablation.field_scores(members, choice.recipes, choice.sets, choice.family.name, scope)
        by_value = difference_charts.field_scores(points, choice.family.name)
        charts.show_chart(by_value, f"How does {name} depend on {choice.family.name}?", f"field-{scope}")
    tasks = group.task_groups.get(scope, tuple(board.tasks(group.summaries)) if scope == AVERAGE else (scope,))
    cells = data.cells(data.location(), choice.runs, "test")
    metrics = {task: board.task_metric(group.summaries, task) for task in tasks}
    differences = ablation.language_differences(choice.base, choice.others, cells, metrics, group.selection)
    if differences.empty:
        return
    source = group.key.source
    differences = board.sort_by_distance(differences, source)
    views = tuple(differences["view"].unique())
    grey = len(tasks) == 1 and choice.intervals
    differences = ablation.add_intervals(differences, choice.others, choice.comparisons(scope, views) if grey else {})
    on_page, printed = (difference_charts.heat_map(differences, dark=dark) for dark in (charts.is_dark(), False))
    about = f"Difference to {base} in points. {GREY_NOTE}" if grey else f"Difference to {base} in points, no intervals."
    charts.show_chart(on_page, f"Where does it help on {name}?", f"heat-{scope}", about, printed)
    tables.offer_frame(differences, f"Differences on {name} by language", f"by-language-{scope}")
    placed, axis = ablation.add_distances(differences, source)
    about = "A dot is a language, a line the mean over the languages of one distance."
    more = "" if len(choice.others) <= difference_charts.NAMED else " Only the first rows are labelled."
    lines_by_distance = difference_charts.distance_lines(placed, axis)
    charts.show_chart(lines_by_distance, "Does it help distant languages?", f"distance-{scope}", about + more)


def choose_row(address: Address, choice: AblationChoice) -> str:
    """The row that is looked at beside the base row, with a link to their comparison."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = address.select("Row", list(board.rows_by_name(choice.others)), "beside", width=230)
        task = choice.scopes[0] if choice.scopes[0] in board.tasks(choice.group.summaries) else ""
        query = choice.group.pair_query(choice.base_name, name, task)
        messages.link_page("compare", f"Compare {name} with {choice.base_name}", ":material/compare:", query)
    return name


def show_recipes(choice: AblationChoice, name: str) -> None:
    """The fields in which the recipe of one row differs from that of the base row."""
    st.subheader(f"What is set differently in {escape(name, 'label', 60)}?", anchor=False)
    rows = board.rows_by_name(choice.others)
    recipes = [choice.recipes.get(row.label, {}) for row in (choice.base, rows[name])]
    fields = ablation.recipe_differences(*recipes)
    if fields.empty:
        st.text("No field of the recipe.")
        return
    config = {
        "field": st.column_config.TextColumn("Field", width=180),
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
    notes: Sequence[str] = [choice.family.title] if choice.family.title else []
    if len(choice.others) == MAX_ROWS:
        notes = [*notes, f"The first {MAX_ROWS} rows. Choose others under Rows."]
    messages.write_notes([*notes, *version_notes([choice.base, *choice.others])])
    show_gains(choice)
    messages.write(f"Differences to {choice.base_name} in points, means over seeds.")
    show_table(choice)
    row = choose_row(address, choice)
    for column, scope in zip(st.columns(len(choice.scopes)), choice.scopes, strict=True):
        with column:
            show_scope(choice, scope)
    show_recipes(choice, row)


st.title("Ablation", anchor=False)
address = Address()
choice = choose(address)
notices = st.container()
show_ablation(address, choice)
with notices:
    address.show_notices()
