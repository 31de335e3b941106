"""What the pages show, read from the store: cached queries, and pure functions from tables to what is drawn."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from harness.cli.home import database_url
from harness.rendering import clean, shown
from harness.store import AVERAGE, Store
from harness.tables import HEADLINE, Key, Results, by_language, by_task

FRESH_SECONDS = 5
FIRST_ROWS = "alignboard run mbert continued-mlm ml-ctl-cz --suite xtreme-align --source babel --protocol mini"
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
    AVERAGE: "Plain mean. It exists only where every task and language has a score.",
}
METRICS = {"f1": "F1", "exact_match": "EM"}
SELECTION_HELP = (
    "Which checkpoint of the fine-tuning is scored: english, the best on the English development set, is the headline; "
    "oracle, the best on each language's own, shows what better selection could gain."
)


class Facet(NamedTuple):
    """A setting that tells tables apart, as a filter: its place in `Key`, its name, and what newcomers should know."""

    name: str
    label: str
    help: str


FACETS = (
    Facet("suite", "Suite", "A named list of tasks; averages are over all of them."),
    Facet("protocol", "Protocol", "Settings of fine-tuning and scoring. mini is for small encoders."),
    Facet("recipe", "Recipe", "matched: same sample, steps and tuning for all; paper: each paper's own settings."),
    Facet("base", "Base encoder", "The encoder that all methods start from."),
    Facet("source", "Source", "Where text and task data come from."),
    Facet("languages_hash", "Languages", "The list of languages behind the averages."),
)


class Board(NamedTuple):
    """Everything of one store that the leaderboard shows, for one selection."""

    tables: tuple[Results, ...]
    languages: Mapping[str, tuple[Results, ...]]
    selections: tuple[str, ...]
    unfinished: int


def location() -> str:
    """The store's path or URL: from the server's command line, else from the environment, else the default."""
    program, *given = sys.argv
    return given[0] if given and Path(program).name == "app.py" else database_url()


@st.cache_data(ttl=FRESH_SECONDS, show_spinner=False)
def board(place: str, selection: str) -> Board:
    """All tables of a store, largest first; a selection that it lacks gives the headline. Raises UserError."""
    store = Store.open(place, read_only=True)
    try:
        summaries, scores = store.summaries(split="test"), store.scores(split="test")
        unfinished = len(store.runs(status=["planned", "running"]))
    finally:
        store.close()
    selections = (HEADLINE, *sorted(set(summaries["selection"]) - {"", HEADLINE}))
    selection = selection if selection in selections else HEADLINE
    tables = sorted(by_task(summaries, selection), key=lambda table: -len(table.rows))
    tasks = [name for name in dict.fromkeys(summaries["task"]) if name != AVERAGE]
    languages = {task: tuple(by_language(scores, summaries, task, selection)) for task in tasks}
    return Board(tuple(tables), languages, selections, unfinished)


def options(tables: Sequence[Results], facet: str) -> list[str]:
    """What a filter offers, the largest table's first."""
    return list(dict.fromkeys(getattr(table.key, facet) for table in tables))


def told(tables: Sequence[Results], facet: str, value: str) -> str:
    """An option in words: a list of languages is told by its length."""
    if facet != "languages_hash":
        return clean(value) or "none"
    count = next(table.languages for table in tables if table.key.languages_hash == value)
    return f"{count} languages ({value[:6]})"


def matching(tables: Sequence[Results], facet: str, value: str) -> list[Results]:
    return [table for table in tables if getattr(table.key, facet) == value]


def unit(results: Results) -> str:
    """What the figures are, for the line below the table."""
    metric = results.columns[0].metric
    what = "Percent" if results.view == "task" else f"{METRICS.get(metric, clean(metric).capitalize())} in percent"
    return f"{what}: mean ± standard deviation over seeds. A dash stands where scores are missing, with their count."


def of_key(tables: Sequence[Results], key: Key) -> Results | None:
    return next((table for table in tables if table.key == key), None)


def file_name(results: Results) -> str:
    """The name of a downloaded table."""
    words = (
        "alignboard",
        results.key.suite,
        results.key.protocol,
        "by-task" if results.view == "task" else results.view,
    )
    return "-".join("".join(char for char in word if char.isalnum() or char in "-_") for word in words) + ".csv"


def figures(results: Results) -> pd.DataFrame:
    """One row per method, one column per task or language, in the words of `alignboard show`.

    Figures are padded to "100.0", so that their text sorts as the numbers do.
    """
    rows = [
        {"method": clean(row.label)}
        | {column.name: _padded(shown(row.cell(column.name), row.seeds)) for column in results.columns}
        | {"seeds": row.seeds, "role": row.badge}
        for row in results.rows
    ]
    return pd.DataFrame(rows)


def styled(results: Results, *, dark: bool) -> Styler:
    """The figures, those of controls quieter than those of methods."""
    quiet = [position for position, row in enumerate(results.rows) if row.badge == "control"]
    names = [column.name for column in results.columns]
    return figures(results).style.set_properties(pd.IndexSlice[quiet, names], color=_QUIET[dark])


_QUIET = {False: "#667077", True: "#94a0a6"}  # both at least 4.5 : 1 on their ground


def _padded(text: str) -> str:
    number = text.split(" ")[0]
    return " " * (len("100.0") - len(number)) + text if number[0].isdigit() else text


def column_config(results: Results) -> dict[str, Any]:
    """How Streamlit draws each column: names stay in sight, figures are as wide as their spread needs."""
    column = st.column_config
    config: dict[str, Any] = {
        "method": column.TextColumn("Method", pinned=True, width=_wide([row.label for row in results.rows])),
        "seeds": column.NumberColumn("Seeds", width=64, help="Runs averaged, each with its own random seeds."),
        "role": column.TextColumn("Role", help="control: what gains are measured against."),
    }
    for name, metric in results.columns:
        label = _heading(name, metric if results.view == "task" else "")
        texts = [shown(row.cell(name), row.seeds) for row in results.rows]
        about = TASK_HELP.get(name if results.view == "task" or name == AVERAGE else results.view)
        config[name] = column.TextColumn(label, help=about, width=_wide([label, *texts]), alignment="right")
    return config


def _heading(name: str, metric: str) -> str:
    words = "Average" if name == AVERAGE else clean(name)
    return f"{words} ({METRICS.get(metric, clean(metric))})" if metric else words


def _wide(texts: Sequence[str]) -> int:
    return min(240, max(72, round(6.6 * max(map(len, texts))) + 22))  # pixels, from the mean width of a character
