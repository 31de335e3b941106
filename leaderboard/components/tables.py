"""How a table of results is drawn: its figures as text, its colours, its columns, what is said below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from harness.results.rendering import clean, escape, format_cell
from harness.results.tables import ResultRow, ResultTable
from harness.storage.store import AVERAGE

NAME_LENGTH = 60
TASK_HELP = {
    "xnli": "Natural language inference: does the second sentence follow from the first? Accuracy over three classes.",
    "pawsx": "Paraphrase detection with much word overlap. Accuracy over two classes.",
    "udpos": "Part-of-speech tagging. F1 as XTREME computes it.",
    "panx": "Named entities in Wikipedia text. F1 over whole entities.",
    "xquad": "Question answering: the answer is a span of the paragraph. F1 over words.",
    "mlqa": "Question answering with question and paragraph in given languages. F1 over words.",
    "tydiqa": "Question answering on questions written in each language. F1 over words.",
    "bucc2018": "Finding translations in two large pools, most sentences having none. F1 of the mined pairs.",
    "tatoeba": "Nearest neighbour among translations of 1,000 short sentences. Accuracy.",
    "time": "Seconds that the device worked on the alignment, mean over seeds. Fine-tuning costs all rows alike.",
    "tokens": "Million tokens that the alignment has seen, mean over seeds.",
    AVERAGE: "Plain mean. It exists only where every task and language has a score.",
}
METRICS = {"f1": "F1", "exact_match": "EM"}
_SHORT = {**METRICS, "accuracy": "acc"}  # in the head of a column
SELECTION_HELP = (
    "Which checkpoint of the fine-tuning is scored: english, the best on the English development set, is the headline; "
    "oracle, the best on each language's own, shows what better selection could gain."
)


def unit(results: ResultTable) -> str:
    """What the figures are, for the line below the table."""
    metric = results.columns[0].metric
    what = (
        "Percent"
        if results.view == "task" or not metric
        else f"{METRICS.get(metric, clean(metric).capitalize())} in percent"
    )
    return f"{what}: mean ± standard deviation over seeds. A dash stands where scores are missing, with their count."


def name_of(label: str) -> str:
    """The name of a row as it is shown and as it stands in the address; no formula for whoever copies the table."""
    return escape(label, "csv", NAME_LENGTH)


def named(rows: Sequence[ResultRow]) -> dict[str, ResultRow]:
    """Rows by the names that they are chosen by; of equal names the later ones get a number."""
    found: dict[str, ResultRow] = {}
    for row in rows:
        name, count = name_of(row.label), 2
        while name in found:
            name, count = f"{name_of(row.label)} ({count})", count + 1
        found[name] = row
    return found


def figures(results: ResultTable) -> pd.DataFrame:
    """One row per method, one column per task or language, in the words of `alignboard show`.

    Figures are padded to "100.0", so that their text sorts as the numbers do. A band of one role does not repeat it,
    and how many seeds stand behind published figures is not known.
    """
    roles = {row.badge for row in results.rows}
    rows = [
        {"method": name_of(row.label)}
        | {column.name: _padded(format_cell(row.cell(column.name), row.seeds)) for column in results.columns}
        | ({} if roles == {"published"} else {"seeds": row.seeds})
        | ({} if len(roles) == 1 else {"role": row.badge})
        for row in results.rows
    ]
    return pd.DataFrame(rows)


def styled(results: ResultTable, *, dark: bool) -> Styler:
    """The figures, those of controls quieter than those of methods."""
    quiet = [position for position, row in enumerate(results.rows) if row.badge == "control"]
    names = [column.name for column in results.columns]
    return figures(results).style.set_properties(pd.IndexSlice[quiet, names], color=_QUIET[dark])


_QUIET = {False: "#667077", True: "#94a0a6"}  # both at least 4.5 : 1 on their ground


def _padded(text: str) -> str:
    number = text.split(" ")[0]
    return " " * (len("100.0") - len(number)) + text if number[0].isdigit() else text


ERROR_NOTE = (
    "Standard error: of one run, over the items of the test sets, those of one cluster together; the seeds are fixed. "
    "It is no test of a difference."
)
BEHIND = {
    "seed": st.column_config.NumberColumn("Seed", format="%d", width=64),
    "value": st.column_config.NumberColumn("Score, %", format="%.1f", width=90),
    "standard error": st.column_config.NumberColumn("Standard error", format="%.2f", width=120),
    "error from": st.column_config.TextColumn("Error from"),
    "views": st.column_config.NumberColumn("Views", width=64, help="Languages, or pairs of them, over all tasks."),
    "items": st.column_config.NumberColumn("Items", width=80),
    "status": st.column_config.TextColumn("Status"),
    "run": st.column_config.TextColumn("Run"),
}


def column_config(results: ResultTable) -> dict[str, Any]:
    """How Streamlit draws each column: names stay in sight, figures are as wide as their spread needs."""
    column = st.column_config
    config: dict[str, Any] = {
        "method": column.TextColumn("Method", pinned=True, width=_wide([name_of(row.label) for row in results.rows])),
        "seeds": column.NumberColumn("Seeds", width=60, help="Runs averaged, each with its own random seeds."),
        "role": column.TextColumn("Role", width=76, help="control: what gains are measured against."),
    }
    for name, metric in results.columns:
        label = heading(name, metric if results.view == "task" else "")
        texts = [format_cell(row.cell(name), row.seeds) for row in results.rows]
        about = TASK_HELP.get(name if results.view == "task" or name == AVERAGE else results.view)
        config[name] = column.TextColumn(label, help=about, width=_wide([label, *texts]), alignment="right")
    return config


def heading(name: str, metric: str = "") -> str:
    """The head of a column: the average by its word, the unit in parentheses."""
    words = "Average" if name == AVERAGE else clean(name)
    return f"{words} ({_SHORT.get(metric, clean(metric))})" if metric else words


def _wide(texts: Sequence[str]) -> int:
    """Pixels, from the mean width of a character."""
    return min(240, max(64, round(6.4 * max(map(len, texts), default=0)) + 20))
