"""Tables on a page: how results are drawn, how other frames are drawn, and their downloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler
from streamlit.delta_generator import DeltaGenerator

from harness.results.rendering import DASH, clean, escape, format_cell, format_rank
from harness.results.tables import ResultTable
from harness.storage.store import AVERAGE
from leaderboard.analysis.board import METRIC_NAMES, row_name
from leaderboard.components import downloads
from leaderboard.components.charts import is_dark
from leaderboard.components.downloads import TableFiles

TASK_HELP = {
    "xnli": "Natural language inference: does the second sentence follow from the first? Accuracy over three classes.",
    "pawsx": "Paraphrase detection with high word overlap. Accuracy over two classes.",
    "udpos": "Part-of-speech tagging. F1 as XTREME computes it.",
    "panx": "Named entities in Wikipedia text. F1 over whole entities.",
    "xquad": "Question answering: the answer is a span of the paragraph. F1 over words.",
    "mlqa": "Question answering with question and paragraph in given languages. F1 over words.",
    "tydiqa": "Question answering on questions written in each language. F1 over words.",
    "bucc2018": "Bitext mining: find translations in two large pools, where most sentences have none. F1 of the pairs.",
    "tatoeba": "Nearest neighbour among translations of 1,000 short sentences. Accuracy.",
    "time": "Device seconds of the alignment, mean over seeds. Fine-tuning costs the same for all rows.",
    "tokens": "Million tokens seen in the alignment, mean over seeds.",
    AVERAGE: "Plain mean. It exists only if every task and language has a score.",
}
ERROR_NOTE = (
    "Standard error: of one run, over the items of the test sets, clustered; seeds are fixed. It is not a test of a "
    "difference."
)
_SHORT_METRICS = {**METRIC_NAMES, "accuracy": "acc"}  # in column headings
_QUIET = {False: "#667077", True: "#94a0a6"}  # by whether the theme is dark; contrast at least 4.5 : 1
CellTexts = Sequence[str] | Callable[[float], str]  # for a column of numbers


def table_unit(table: ResultTable) -> str:
    """The unit of the figures, for the line below the table."""
    metric = table.columns[0].metric
    name = METRIC_NAMES.get(metric, clean(metric).capitalize())
    unit = "Percent" if table.view == "task" or not metric else f"{name} in percent"
    return f"{unit}: mean ± standard deviation over seeds. A dash marks missing scores, with the count of those there."


def column_heading(name: str, metric: str = "") -> str:
    """The heading of a column, with its unit in parentheses."""
    words = "Average" if name == AVERAGE else clean(name)
    return f"{words} ({_SHORT_METRICS.get(metric, clean(metric))})" if metric else words


def table_frame(table: ResultTable) -> pd.DataFrame:
    """One line per row, one column per task or language, as `alignboard show` formats them.

    Figures are padded to the width of "100.0", so that sorting their text sorts the numbers. A table of one badge has
    no role column, and published rows have no number of seeds.
    """
    badges = {row.badge for row in table.rows}
    ranked = any(row.rank for row in table.rows)

    def padded(text: str) -> str:
        number = text.split(" ")[0]
        return " " * (len("100.0") - len(number)) + text if number[0].isdigit() else text

    return pd.DataFrame(
        {"method": row_name(row.label)}
        | ({"rank": format_rank(row)} if ranked else {})
        | {column.name: padded(format_cell(row.cell(column.name), row.seeds)) for column in table.columns}
        | ({} if badges == {"published"} else {"seeds": row.seeds})
        | ({} if len(badges) == 1 else {"role": row.badge})
        for row in table.rows
    )


def style_table(table: ResultTable, *, dark: bool) -> Styler:
    """The frame of a table, with the figures of controls in a quieter colour."""
    controls = [position for position, row in enumerate(table.rows) if row.badge == "control"]
    names = [column.name for column in table.columns]
    return table_frame(table).style.set_properties(pd.IndexSlice[controls, names], color=_QUIET[dark])


def table_columns(table: ResultTable) -> dict[str, Any]:
    """How Streamlit draws each column: names stay in view, figures are as wide as their text needs."""
    column = st.column_config

    def width(texts: Sequence[str]) -> int:
        return min(240, max(64, round(6.4 * max(map(len, texts), default=0)) + 20))  # from a mean character in pixels

    names = [row_name(row.label) for row in table.rows]
    config: dict[str, Any] = {
        "method": column.TextColumn("Method", pinned=True, width=width(names)),
        "rank": column.TextColumn("Rank", width=60, help="The places that the row may have: 95% over seeds and items."),
        "seeds": column.NumberColumn("Seeds", width=60, help="Runs averaged, each with its own random seeds."),
        "role": column.TextColumn("Role", width=76, help="control: a baseline that gains are measured against."),
    }
    for name, metric in table.columns:
        heading = column_heading(name, metric if table.view == "task" else "")
        texts = [format_cell(row.cell(name), row.seeds) for row in table.rows]
        about = TASK_HELP.get(name if table.view == "task" or name == AVERAGE else table.view)
        config[name] = column.TextColumn(heading, help=about, width=width([heading, *texts]), alignment="right")
    return config


def reserve_table(place: DeltaGenerator) -> None:
    """On the first page of a visit draws an empty table where the table will be: the browser loads what draws tables
    while the store is read."""
    if "expected" not in st.session_state:
        st.session_state["expected"] = True
        place.dataframe(pd.DataFrame({"Method": []}), hide_index=True, key="expected-table")


def show_table(table: ResultTable, name: str) -> tuple[int, str] | None:
    """A table of results. Returns the row and the column of the cell that was clicked."""
    event: Any = st.dataframe(
        style_table(table, dark=is_dark()),
        hide_index=True,
        column_config=table_columns(table),
        height="content",
        row_height=34,
        key=name,
        on_select="rerun",
        selection_mode="single-cell",
        placeholder=DASH,
    )
    cells = event.selection.cells
    return (int(cells[0][0]), str(cells[0][1])) if cells else None


def show_frame(
    frame: pd.DataFrame,
    name: str,
    config: Mapping[str, Any] | None = None,
    texts: Mapping[str, CellTexts] | None = None,
    **options: Any,
) -> Any:
    """Any other table. The browser can save it as CSV, so its texts are escaped for spreadsheets.

    `texts` replaces what is drawn for columns of numbers, which still sort as numbers; missing numbers are dashes.
    """

    def safe(text: str) -> str:
        try:
            float(text)
        except ValueError:
            return escape(text, "csv", 2000)
        return text

    shown: Any = frame.map(lambda value: safe(value) if isinstance(value, str) else value)
    if texts:
        styler = shown.style
        for column, formats in texts.items():
            if callable(formats):
                styler = styler.format(formats, subset=[column], na_rep=DASH)
                continue
            for row, text in zip(shown.index, formats, strict=True):
                styler = styler.format(_constant(text), subset=pd.IndexSlice[row, column], na_rep=DASH)
        shown = styler
    return st.dataframe(
        shown,
        hide_index=True,
        column_config=dict(config or {}),
        key=name,
        placeholder=DASH,
        **{"height": "content", "row_height": 34, **options},
    )


def _constant(text: str) -> Callable[[object], str]:
    return lambda _: text


@st.fragment
def offer_files(make: Callable[[], TableFiles], name: str) -> None:
    """A menu of downloads in four forms, made when it is opened."""
    with st.popover(
        "Download", icon=":material/download:", help="The table as it is shown.", key=f"{name}-files", on_change="rerun"
    ) as menu:
        if not menu.open:
            return
        files = make()
        kinds = (
            ("CSV", files.csv, "csv", "text/csv"),
            ("JSON", files.json, "json", "application/json"),
            ("Markdown", files.markdown, "md", "text/markdown"),
            ("LaTeX", files.latex, "tex", "application/x-tex"),
        )
        for label, text, ending, mime in kinds:
            st.download_button(
                label,
                text,
                file_name=f"{files.stem}.{ending}",
                mime=mime,
                key=f"{name}-{ending}",
                on_click="ignore",
                width="stretch",
            )


def offer_frame(frame: pd.DataFrame, title: str, name: str, notes: Sequence[str] = ()) -> None:
    """The downloads of a frame."""
    offer_files(lambda: downloads.frame_files(frame, title, name, notes=notes), f"download-{name}")
