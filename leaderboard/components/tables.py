"""Tables on a page: how results are drawn, how other frames are drawn, and their downloads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler
from streamlit.delta_generator import DeltaGenerator

from harness.results.findings import format_difference
from harness.results.rendering import DASH, clean, escape, format_cell, format_rank
from harness.results.tables import ResultRow, ResultTable
from harness.results.verdicts import Verdicts
from harness.storage.store import AVERAGE
from leaderboard.analysis.board import COSTS, GAIN, METRIC_NAMES, row_name
from leaderboard.components import downloads
from leaderboard.components.charts import is_dark
from leaderboard.components.downloads import TableFiles
from leaderboard.components.look import BAND, LINK, QUIET, score_tints

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
    GAIN: "The average minus that of the row's control, with its 95% interval over seeds and items; from 3 seeds on.",
    "Transfer": "Mean over the tasks that are fine-tuned in one language and tested in all.",
    "QA": "Mean over the tasks of question answering.",
    "Retrieval": "Mean over the tasks in which translations are searched among embeddings; nothing is trained.",
}
ROLE_HELP = "control: a baseline that gains are measured against."
METHOD_HELP = "Click a name for the page of its method."
ERROR_NOTE = (
    "Standard error: of one run, over the items of the test sets, clustered; seeds are fixed. It is not a test of a "
    "difference."
)
_SHORT_METRICS = {**METRIC_NAMES, "accuracy": "acc"}  # in column headings


def table_unit(table: ResultTable) -> str:
    """The unit of the figures, for the line below the table."""
    metric = table.columns[0].metric
    name = METRIC_NAMES.get(metric, clean(metric).capitalize())
    unit = "Percent" if table.view == "task" or not metric else f"{name} in percent"
    return f"{unit}: mean ± standard deviation over seeds. A dash marks missing scores, with the count of those there."


def gain_notes(verdicts: Verdicts | None) -> list[str]:
    """What gains are over, and what bold figures are."""
    if verdicts is None or not verdicts.controls:
        return []
    rows = sorted(verdicts.controls.items())
    by_control = {control: [row for row, own in rows if own == control] for _, control in rows}
    usual = max(by_control, key=lambda control: (len(by_control[control]), control in verdicts.controls))
    others = [f"of {row} over {control}" for row, control in rows if control != usual]
    gains = ", ".join([f"the average minus that of {usual}", *others])
    return [f"Gain: {gains}, with its 95% interval. Bold: separable from every other row of its column."]


def column_heading(name: str, metric: str = "") -> str:
    """The heading of a column, with its unit in parentheses."""
    words = name.capitalize() if name in (AVERAGE, GAIN) else clean(name)
    return f"{words} ({_SHORT_METRICS.get(metric, clean(metric))})" if metric else words


def table_frame(table: ResultTable, verdicts: Verdicts | None = None) -> pd.DataFrame:
    """One line per row, one column per task or language, as `alignboard show` formats them; the average comes first.

    Figures are padded to the width of "100.0", so that sorting their text sorts the numbers. A table of one badge has
    no role column, and published rows have no number of seeds. With verdicts there are the gain over each row's control
    and, if there is a rank, its range as a bar.
    """
    badges = {row.badge for row in table.rows}
    ranked = any(row.rank for row in table.rows)
    columns = sorted(table.columns, key=lambda column: column.name != AVERAGE)
    average = verdicts.columns.get(AVERAGE) if verdicts else None

    def padded(text: str) -> str:
        number = text.split(" ")[0]
        return " " * (len("100.0") - len(number)) + text if number[0].isdigit() else text

    def gain(row: ResultRow) -> str:
        control = verdicts.controls.get(row.label, "") if verdicts else ""
        both = average is not None and {row.label, control} <= set(average.labels)
        return format_difference(average.difference(row.label, control) if average and both else None)

    def figures(row: ResultRow) -> dict[str, Any]:
        texts = {column.name: padded(format_cell(row.cell(column.name), row.seeds)) for column in columns}
        if verdicts is None:
            return texts
        places = {"places": bar(row)} if ranked else {}
        return {AVERAGE: texts.pop(AVERAGE, DASH), **places, GAIN: gain(row), **texts}

    def bar(row: ResultRow) -> list[int]:
        best, worst = row.rank or (0, -1)
        return [int(best <= place <= worst) for place in range(1, len(table.rows) + 1)]

    return pd.DataFrame(
        ({} if len(badges) == 1 else {"role": [row.badge] if row.badge else []})
        | {"method": [row_name(row.label)]}
        | ({"rank": format_rank(row)} if ranked else {})
        | figures(row)
        | ({} if badges == {"published"} else {"seeds": row.seeds})
        for row in table.rows
    )


def style_table(table: ResultTable, frame: pd.DataFrame, verdicts: Verdicts | None = None, *, dark: bool) -> Styler:
    """The frame of a table in colour: names as links, controls quieter, a tint by score, bold where a figure is
    separable from all others of its column, and a band beside every second group of rows that are tied."""
    names = [column.name for column in table.columns if column not in COSTS and column.name in frame]
    link = {"color": LINK[dark]}  # a list is drawn as labels, never faded
    cells = {(place, "method"): link for place in frame.index}
    for name in names:
        means = [row.cell(name).mean for row in table.rows]
        for place, (row, fill) in enumerate(zip(table.rows, score_tints(means, dark=dark), strict=True)):
            quiet = {"color": QUIET[dark]} if row.badge == "control" else {}
            cells[place, name] = {"background-color": fill} | quiet
    labels = [row.label for row in table.rows]
    for name, column in (verdicts.columns if verdicts else {}).items():
        for label, worst in zip(column.labels, column.ranks.worst, strict=True):
            if worst == 1 and name in names:
                cells[labels.index(label), name]["font-weight"] = "600"
    groups = verdicts.columns[AVERAGE].tie_groups() if verdicts and AVERAGE in verdicts.columns else {}
    for place, label in enumerate(labels):
        if groups.get(label, 0) % 2:
            heads = (name for name in ("rank", "places", GAIN) if name in frame)
            cells |= {(place, name): {"background-color": BAND[dark]} for name in heads}
    return colour_cells(frame, cells)


def colour_cells(frame: pd.DataFrame, cells: Mapping[tuple[int, str], Mapping[str, str]]) -> Styler:
    """A frame with CSS properties of cells, by place and column. One function sets all: pandas takes milliseconds for
    each."""
    css = pd.DataFrame("", index=frame.index, columns=frame.columns, dtype=object)
    for name in frame.columns:
        css[name] = [
            "; ".join(f"{key}: {value}" for key, value in cells.get((place, name), {}).items())
            for place in range(len(frame))
        ]
    return frame.style.apply(lambda _: css, axis=None)


def table_columns(table: ResultTable, frame: pd.DataFrame) -> dict[str, Any]:
    """How Streamlit draws each column: names stay in view, figures are as wide as their text needs."""
    column = st.column_config

    def width(texts: Sequence[str]) -> int:
        return min(240, max(56, round(6.4 * max(map(len, texts), default=0)) + 20))  # from a mean character in pixels

    names = [name for one in frame["method"] for name in one]
    config: dict[str, Any] = {
        "role": column.MultiselectColumn("", pinned=True, width=64, help=ROLE_HELP),
        "method": column.MultiselectColumn("Method", pinned=True, width=width(names), help=METHOD_HELP),
        "rank": column.TextColumn("Rank", width=48, help="Simultaneous 95% interval of the row's place."),
        "places": column.BarChartColumn("", width=44, y_min=0, y_max=4, color="gray", help="The rank as a bar."),
        "seeds": column.NumberColumn("Seeds", width=60, help="Runs averaged, each with its own random seeds."),
    }
    for name, metric in ((GAIN, ""), *table.columns):
        heading = column_heading(name, metric if table.view == "task" else "")
        about = TASK_HELP.get(name if table.view == "task" or name == AVERAGE else table.view)
        texts = [heading, *frame.get(name, [])]
        config[name] = column.TextColumn(heading, help=about, width=width(texts), alignment="right")
    return config


def reserve_table(place: DeltaGenerator) -> None:
    """On the first page of a visit draws an empty table where the table will be: the browser loads what draws tables
    while the store is read."""
    if "expected" not in st.session_state:
        st.session_state["expected"] = True
        place.dataframe(pd.DataFrame({"Method": []}), hide_index=True, key="expected-table")


def show_table(table: ResultTable, name: str, verdicts: Verdicts | None = None) -> tuple[int, str] | None:
    """A table of results. Returns the row and the column of a cell in the run that its click starts."""
    frame = table_frame(table, verdicts)
    shown: Any = style_table(table, frame, verdicts, dark=is_dark())
    event: Any = st.dataframe(
        shown,
        hide_index=True,
        column_config=table_columns(table, frame),
        height="content",
        row_height=34,
        key=name,
        on_select=partial(_note_click, name),
        selection_mode="single-cell",
        placeholder=DASH,
    )
    if not st.session_state.pop(f"{name}-clicked", False):
        return None
    cells = event.selection.cells or [st.session_state[f"{name}-cell"]]  # a second click takes the selection away
    st.session_state[f"{name}-cell"] = cells[0]
    return int(cells[0][0]), str(cells[0][1])


def _note_click(name: str) -> None:
    st.session_state[f"{name}-clicked"] = True


def show_frame(
    frame: pd.DataFrame,
    name: str,
    config: Mapping[str, Any] | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
    fills: Mapping[str, Sequence[tuple[str, str] | None]] | None = None,
    **options: Any,
) -> Any:
    """Any other table. The browser can save it as CSV, so its texts are escaped for spreadsheets.

    `texts` has what is drawn in each cell of a column of numbers, which still sorts by the numbers. `fills` has the
    colours of the ground and of the text of some cells.
    """

    def safe(text: str) -> str:
        try:
            float(text)
        except ValueError:
            return escape(text, "csv", 2000)
        return text

    shown: Any = frame.map(lambda value: safe(value) if isinstance(value, str) else value)
    if texts or fills:
        cells = {
            (place, column): {"background-color": both[0], "color": both[1]}
            for column, colours in (fills or {}).items()
            for place, both in enumerate(colours)
            if both
        }
        shown = colour_cells(shown, cells)
        for column, drawn in (texts or {}).items():  # pandas formats the cells of a column in order, at each rendering
            shown = shown.format(partial(next, itertools.cycle(drawn)), subset=[column])
    return st.dataframe(
        shown,
        hide_index=True,
        column_config=dict(config or {}),
        key=name,
        placeholder=DASH,
        **{"height": "content", "row_height": 34, **options},
    )


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
