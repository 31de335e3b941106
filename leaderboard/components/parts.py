"""Parts of pages: the row of filters, tables with their downloads, and what is said when there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from harness.errors import UserError, counted
from harness.results.rendering import DASH, escape
from harness.results.tables import ResultTable, TableKey
from harness.storage.store.database import NoStoreError
from leaderboard import data
from leaderboard.analysis.board import FACETS, Facet, key_of
from leaderboard.components import chart_files, downloads, look, tables
from leaderboard.components.downloads import Files
from leaderboard.components.state import Address

FIRST_ROWS = "alignboard run mbert continued-mlm ml-ctl-cz --suite xtreme-align --source babel --protocol mini"
Words = Sequence[str] | Callable[[float], str]  # of a column of numbers
SENTENCE = 400  # characters of a line that is made of foreign names


def groups() -> pd.DataFrame:
    """The groups of runs that have scores. Where there are none, or no store, says what to do and ends the page."""
    try:
        found = data.groups(data.location())
    except UserError as error:
        trouble(error)
        st.stop()
    scored = found[found["scored"] > 0]
    if scored.empty:
        nothing_yet(int(found["open"].sum()))
        st.stop()
    return scored


def key(address: Address, groups: pd.DataFrame) -> TableKey:
    """The filters that choose one group of runs. A filter with a single option is not drawn."""
    left = groups
    for facet in FACETS:
        left = _narrowed(address, left, facet)
    return key_of(dict(zip(left.columns, left.iloc[0], strict=True)))


def _narrowed(address: Address, groups: pd.DataFrame, facet: Facet) -> pd.DataFrame:
    values = list(dict.fromkeys(groups[facet.column]))
    names = {_option(facet, value): value for value in values}
    chosen = names[address.select(facet.label, list(names), facet.name, help=facet.help)]
    kept: pd.DataFrame = groups.loc[groups[facet.column] == chosen]
    return kept


def _option(facet: Facet, value: str) -> str:
    """A setting as an option: a list of languages is told by its hash."""
    return escape(value, most=6 if facet.name == "languages_hash" else tables.NAME_LENGTH) or "none"


def query(key: TableKey, groups: pd.DataFrame, **more: str) -> dict[str, str]:
    """The part of an address that leads to the same group of runs; what has no choice is left out."""
    choices = {facet.name: _option(facet, value) for facet, value in zip(FACETS, key, strict=True)}
    kept = {facet.name: choices[facet.name] for facet in FACETS if groups[facet.column].nunique() > 1}
    return kept | {name: value for name, value in more.items() if value}


def link(page: str, label: str, icon: str | None, query: Mapping[str, str]) -> None:
    """A link to another page; its label may hold foreign names."""
    st.page_link(f"../pages/{page}.py", label=escape(label, "label", 80), icon=icon, query_params=dict(query))


def told(text: str) -> None:
    """A plain sentence. Names in it are foreign text, so no markup is read."""
    st.text(escape(text, most=SENTENCE))


def notes(lines: Sequence[str]) -> None:
    """Small print below a table."""
    if lines:
        st.caption("  \n".join(escape(line, "label", SENTENCE) for line in lines))


def is_dark() -> bool:
    return st.context.theme.type == "dark"


def expect_table(place: DeltaGenerator) -> None:
    """On the first page of a visit an empty table stands where the table will be, so that the browser loads what draws
    tables while the store is read."""
    if "expected" not in st.session_state:
        st.session_state["expected"] = True
        place.dataframe(pd.DataFrame({"Method": []}), hide_index=True, key="expected-table")


def results(shown: ResultTable, name: str, *, select: bool = False) -> tuple[int, str] | None:
    """A table of results; with `select` the row and the column of the cell that was clicked."""
    event: Any = st.dataframe(
        tables.styled(shown, dark=is_dark()),
        hide_index=True,
        column_config=tables.column_config(shown),
        height="content",
        row_height=34,
        key=name,
        on_select="rerun" if select else "ignore",
        selection_mode="single-cell",
        placeholder="–",
    )
    cells = event.selection.cells if select else []
    return (int(cells[0][0]), str(cells[0][1])) if cells else None


def frame(
    shown: pd.DataFrame,
    name: str,
    config: Mapping[str, Any] | None = None,
    told: Mapping[str, Words] | None = None,
    **options: Any,
) -> Any:
    """Any other table. Its own menu saves it as it is, so its texts are no formulas already here.

    `told` has the words of columns of numbers, which are drawn in their place and sorted as the numbers.
    """
    safe = shown.map(lambda value: _safe(value) if isinstance(value, str) else value)
    return st.dataframe(
        _in_words(safe, told) if told else safe,
        hide_index=True,
        column_config=dict(config or {}),
        key=name,
        placeholder="–",
        **{"height": "content", "row_height": 34, **options},
    )


def _in_words(shown: pd.DataFrame, told: Mapping[str, Words]) -> Any:
    """A table whose numbers of some columns are drawn in words; where there is no number a dash stands."""
    styler: Any = shown.style
    for column, words in told.items():
        if callable(words):
            styler = styler.format(words, subset=[column], na_rep=DASH)
            continue
        for row, text in zip(shown.index, words, strict=True):
            styler = styler.format(_always(text), subset=pd.IndexSlice[row, column], na_rep=DASH)
    return styler


def _always(text: str) -> Callable[[object], str]:
    return lambda _: text


def _safe(text: str) -> str:
    """A cell's text, made no formula unless it is a number."""
    try:
        float(text)
    except ValueError:
        return escape(text, "csv", 2000)
    return text


@st.fragment
def offer(made: Callable[[], Files], name: str) -> None:
    """Downloads of a table in four forms, which are made when they are asked for."""
    with st.popover(
        "Download", icon=":material/download:", help="The table as it is shown.", key=f"{name}-files", on_change="rerun"
    ) as opened:
        if not opened.open:
            return
        files = made()
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


def offer_frame(shown: pd.DataFrame, title: str, name: str, notes: Sequence[str] = ()) -> None:
    offer(lambda: downloads.of_frame(shown, title, name, notes=notes), f"download-{name}")


def chart(drawn: Any, question: str, name: str, about: str = "", printed: Any = None) -> None:
    """A chart under its question, with its files; nothing where there is nothing to draw. `printed` is the chart as it
    stands in files, where that is another one. What names hold is no markup in the question."""
    if drawn is None:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader(escape(question, "label", 120), anchor=False, width="content")
        chart_downloads(printed or drawn, question, name, about)
    if about:
        st.caption(escape(about, "label", SENTENCE))
    plain_chart(drawn, name)


def plain_chart(drawn: Any, name: str) -> None:
    """A chart alone, in the dress of the page."""
    st.altair_chart(look.dressed(drawn, dark=is_dark()), key=name)


@st.fragment
def chart_downloads(drawn: Any, title: str, name: str, about: str = "") -> None:
    """A chart as files for print, each made when it is asked for."""
    with st.popover(
        "Save chart",
        type="tertiary",
        icon=":material/download:",
        help="The chart on white, for print.",
        key=f"{name}-chart-files",
        on_change="rerun",
        width="content",
    ) as opened:
        if not opened.open:
            return
        for kind, mime in chart_files.KINDS.items():
            st.download_button(
                kind,
                chart_files.file(lambda: chart_files.spec(drawn, title, about), kind),
                file_name=f"{downloads.stem(name)}.{kind.lower()}",
                mime=mime,
                key=f"{name}-{kind}",
                on_click="ignore",
                width="stretch",
            )


def nothing_left(keys: Sequence[str]) -> None:
    """What to do when the filters leave nothing: clear them."""
    st.info("No score is left under these filters.", icon=":material/filter_alt_off:")

    def clear() -> None:
        for name in keys:
            st.session_state[name] = []

    st.button("Clear the filters", on_click=clear)
    st.stop()


def nothing_yet(unfinished: int) -> None:
    """What to do when no run has a score."""
    if unfinished:
        st.text(f"{counted(unfinished, 'run')} under way. Rows appear as tasks are scored.")
        link("runs", "See the runs", ":material/list:", {})
        return
    st.text("No scores yet. This trains three methods on the built-in data and puts the first rows here:")
    st.code(FIRST_ROWS, language="bash")


def trouble(error: UserError) -> None:
    """A store that cannot be read: how to make the first row where it is only missing, else what is wrong."""
    if isinstance(error, NoStoreError):
        nothing_yet(0)
        st.caption("The board reads this store:")
        st.code(str(error.file), language=None)
        return
    st.error("The store cannot be shown.", icon=":material/error:")
    st.code(str(error), language=None, wrap_lines=True)
