"""Compare: two rows side by side, by task, by language, by item."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from harness.results.findings import describe_comparison, format_estimate
from harness.results.rendering import escape, format_p
from harness.results.tables import ResultRow, version_notes
from harness.results.verdicts import ComparedLine
from harness.storage.store import AVERAGE
from leaderboard import data
from leaderboard.analysis import board, compare
from leaderboard.analysis.ablation import spans_zero
from leaderboard.analysis.compare import PairedScores
from leaderboard.components import charts, difference_charts, filters, look, messages, tables
from leaderboard.components.filters import RunGroup
from leaderboard.components.state import Address

ITEM_WIDTHS = {"text": 400, "other": 300, "gloss": 300, "gold": 130, "first": 130, "second": 130}  # pixels
ONE_LINE, MORE, MOST_LINES = 34, 20, 5  # pixels of a row of one line and of each further line
WRAPPED = 66  # pixels of a row from which Streamlit wraps text
GLOSS = "Each word of the made-up language by its meaning; a/b: a word of two meanings."
NOTE = (
    "[low, high]: 95 % interval over seeds and items; below three seeds over items alone, which is no test. "
    "±: over seeds. p: corrected for the number of tasks (Holm)."
)


class CompareChoice(NamedTuple):
    """A baseline and a method of one table with their names, and the task in whose languages they are compared."""

    group: RunGroup
    first: ResultRow
    second: ResultRow
    one: str
    two: str
    task: str

    def comparison(self, task: str | None = None, views: tuple[str, ...] | None = None) -> list[ComparedLine]:
        """The second row minus the first, by task or by some views of one; empty where they cannot be compared."""
        where = (data.location(), self.group.key, self.group.selection, self.first.label, (self.second.label,))
        found: dict[str, list[ComparedLine]] = data.comparisons(*where, task, views)
        return found.get(self.second.label, [])


def choose(address: Address) -> CompareChoice:
    """The filters. With a single row in the table there is nothing to compare, and the page ends."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        group = filters.select_group(address)
        names = list(group.rows)
        if len(names) < 2:
            st.info("This group has one row; a comparison needs two. Run another method, or choose another group.")
            st.code(messages.FIRST_ROWS, language="bash")
            st.stop()
        control, method = board.default_pair(group.table.rows)
        first = address.select("Baseline", names, "a", width=230, always=True, index=control)
        st.button("Swap", icon=":material/swap_horiz:", on_click=swap_rows)
        second = address.select("Method", names, "b", width=230, always=True, index=method)
        task = address.select("Task", board.tasks(group.summaries), "task", width=150)
    one, two = group.rows[first], group.rows[second]
    return CompareChoice(group, one, two, board.row_name(one.label), board.row_name(two.label), task)


def swap_rows() -> None:
    st.session_state["a"], st.session_state["b"] = st.session_state["b"], st.session_state["a"]


def show_differences(choice: CompareChoice, lines: pd.DataFrame, name: str, label: str) -> None:
    """A table of scores with their spread over seeds and of differences with their intervals."""
    number = st.column_config.NumberColumn
    config = {
        name: st.column_config.TextColumn(label, width=230 if name == "view" else 110),
        "difference": number("Difference", width=150),
        "first": number(escape(choice.one, most=30), width=130),
        "second": number(escape(choice.two, most=30), width=130),
        "p": number("p", width=80, help="Corrected for the number of lines (Holm)."),
    }
    columns = {column: list(lines[column]) for column in lines}
    texts = {
        "difference": [
            format_estimate(*each) for each in zip(lines["difference"], lines["low"], lines["high"], strict=True)
        ],
        **{
            side: [
                f"{mean:.1f}" if pd.isna(sd) else f"{mean:.1f} ± {sd:.1f}"
                for mean, sd in zip(columns[side], columns.get(f"{side} sd", [None] * len(lines)), strict=True)
            ]
            for side in ("first", "second")
        },
        "p": [format_p(None if pd.isna(p) else p) for p in lines["p"]],
    }
    dark, widest = charts.is_dark(), max(look.NARROWEST, float(lines["difference"].abs().max()))
    fills = {
        "difference": [
            look.tile_colours(gap, widest, dark=dark, unsure=spans_zero(low, high))
            for gap, low, high in zip(lines["difference"], lines["low"], lines["high"], strict=True)
        ]
    }
    kept = lines.dropna(axis="columns", how="all")
    texts = {column: shown for column, shown in texts.items() if column in kept}
    tables.show_frame(kept, f"{name}-lines", config, texts, fills, column_order=[c for c in config if c in kept])


def show_tasks(choice: CompareChoice) -> None:
    names = choice.group.scopes
    lines = compare.task_comparison(choice.first, choice.second, names, choice.comparison())
    if lines.empty:
        st.info("No task has a complete score in both rows.")
        return
    lines = lines.replace({"task": {AVERAGE: "Average"}})
    show_differences(choice, lines, "task", "Task")
    messages.write_notes([NOTE])
    tables.offer_frame(lines, f"{choice.two} minus {choice.one}, by task", "tasks")


def show_languages(choice: CompareChoice, lines: pd.DataFrame) -> None:
    task, one, two = choice.task, choice.one, choice.two
    if lines.empty:
        st.info(f"No language of {escape(task, 'markdown', 40)} has a score in both rows.")
        return
    source = choice.group.key.source
    lines = board.sort_by_distance(lines, source)
    named = board.label_views(lines, source)
    dots = difference_charts.difference_dots(named)
    charts.show_chart(
        dots, f"In which languages of {task} do they differ?", "differences", "Grey: the interval spans 0."
    )
    show_differences(choice, named, "view", "Language")
    tables.offer_frame(lines, f"{two} minus {one}, {task} by language", "languages", [tables.ERROR_NOTE])
    scatter = difference_charts.score_scatter(lines, one, two)
    about = f"A point is a language. {two} is better above the line."
    charts.show_chart(scatter, "Language by language", "scatter", about)


def show_items(address: Address, choice: CompareChoice, paired: PairedScores, views: list[str]) -> None:
    one, two = choice.one, choice.two
    st.subheader("Which items does one get right and the other wrong?", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        source = choice.group.key.source
        views = sorted(views, key=lambda view: board.view_order(view, source))
        view = address.select("Language", views, "language", width=150)
        outcome = address.select("Right", list(compare.OUTCOMES), "right", width=180)
        words = address.text("Search", "words", placeholder="in texts and predictions")
    if view in paired.changed:
        st.warning("The two rows were scored on different versions of these items, so they are not compared.")
        return
    every = compare.compare_items(paired, view)
    if every.empty:
        st.info("The items of these runs are not on this machine, or the runs are too old to have stored examples.")
        st.text("The board reads them from the artifacts in ALIGNBOARD_HOME. To make them, run the same command again.")
        return
    items = compare.split_texts(compare.filter_items(every, compare.OUTCOMES[outcome], words))
    items = compare.add_gloss(items, source, view)
    counts = every["outcome"].value_counts()
    right = ", ".join(f"{count} {name}" for name, count in counts.items())
    messages.write(f"{len(items)} of {len(every)} stored items, first seed of each. Right: {right}.")
    if items.empty:
        st.info("No item is left. Search for other words, or clear the filter.")
        return
    config = {
        "outcome": st.column_config.TextColumn("Right", width=120),
        "text": st.column_config.TextColumn("Text", width=ITEM_WIDTHS["text"]),
        "other": st.column_config.TextColumn("Second text", width=ITEM_WIDTHS["other"]),
        "gloss": st.column_config.TextColumn("Meaning", width=ITEM_WIDTHS["gloss"], help=GLOSS),
        "gold": st.column_config.TextColumn("Gold", width=ITEM_WIDTHS["gold"]),
        "first": st.column_config.TextColumn(escape(one, most=30), width=ITEM_WIDTHS["first"]),
        "second": st.column_config.TextColumn(escape(two, most=30), width=ITEM_WIDTHS["second"]),
        "item": st.column_config.TextColumn("Item"),
    }
    lines = min(MOST_LINES, compare.typical_line_count(items, ITEM_WIDTHS))
    height = ONE_LINE if lines == 1 else max(WRAPPED, ONE_LINE + MORE * (lines - 1))
    right_in = {"first": (compare.FIRST, compare.BOTH), "second": (compare.SECOND, compare.BOTH)}
    fills = {
        side: [
            look.tile_colours(1.0 if result in own else -1.0, 3.0, dark=charts.is_dark()) for result in items["outcome"]
        ]
        for side, own in right_in.items()
    }
    tall = {"height": min(480, 38 + height * len(items)), "row_height": height}
    tables.show_frame(items, "items", config, {}, fills, **tall)
    tables.offer_frame(items, f"Items of {view}: {one}, {two}", "items")


def show_comparison(address: Address, choice: CompareChoice) -> None:
    """Tasks, then the languages of one task, then its items."""
    if choice.first.label == choice.second.label:
        st.info("Both are the same row. Choose another one.")
        return
    tasks = board.tasks(choice.group.summaries)
    messages.write_verdict(describe_comparison(choice.comparison(), tasks, choice.one, choice.two))
    messages.write(f"{choice.two} minus {choice.one}: positive differences are gains of {choice.two}")
    messages.write_notes(version_notes([choice.first, choice.second]))
    show_tasks(choice)
    runs = (*choice.first.runs, *choice.second.runs)
    cells: Any = data.cells(data.location(), runs, "test", choice.task)
    metric = board.task_metric(choice.group.summaries, choice.task)
    paired = compare.pair_scores(choice.first, choice.second, cells, choice.task, choice.group.selection, metric)
    unchanged = tuple(sorted({*paired.first["view"]} - paired.changed))
    lines = compare.view_differences(paired, choice.comparison(choice.task, unchanged))
    show_languages(choice, lines)
    if len(lines):
        show_items(address, choice, paired, sorted(lines["view"]))


st.title("Compare", anchor=False)
address = Address()
choice = choose(address)
notices = st.container()
show_comparison(address, choice)
with notices:
    address.show_notices()
