"""Parts of pages: filters whose state lives in the URL, tables, and what is said when there is nothing to show."""

from __future__ import annotations

import streamlit as st

from harness.errors import UserError
from harness.rendering import to_csv
from harness.store import AVERAGE
from harness.store.database import NoStoreError
from harness.tables import HEADLINE, Results
from leaderboard import charts, views
from leaderboard.views import Board, Facet

TASKS, LANGUAGES = "Tasks", "Languages"


def chosen_selection() -> str:
    """The selection of the filter, or at first of the URL; whether it exists is known only after the store was read."""
    return str(st.session_state.get("selection") or st.query_params.get("selection", HEADLINE))


def filters(board: Board) -> Results:
    """The row of filters, and the one table that they leave. A filter with a single option is not drawn."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        columns = st.segmented_control(
            "Columns",
            [TASKS, LANGUAGES],
            default=TASKS,
            required=True,
            key="columns",
            bind="query-params",
        )
        tables = list(board.tables)
        for facet in views.FACETS:
            tables = _narrowed(tables, facet)
        table = tables[0]
        if columns == LANGUAGES:
            table = _of_task(board, table)
        _selection(board)
    return table


def _narrowed(tables: list[Results], facet: Facet) -> list[Results]:
    options = views.options(tables, facet.name)
    if len(options) == 1:
        return tables
    value = st.selectbox(
        facet.label,
        options,
        format_func=lambda option: views.told(tables, facet.name, option),
        help=facet.help,
        key=facet.name,
        bind="query-params",
        width=180,
    )
    return views.matching(tables, facet.name, value)


def _of_task(board: Board, table: Results) -> Results:
    tasks = [column.name for column in table.columns if column.name != AVERAGE]
    task = st.selectbox("Task", tasks, key="task", bind="query-params", width=150)
    return views.of_key(board.languages[task], table.key) or table


def _selection(board: Board) -> None:
    if len(board.selections) > 1:
        st.selectbox(
            "Selection", board.selections, help=views.SELECTION_HELP, key="selection", bind="query-params", width=130
        )


def told(text: str) -> None:
    """A plain sentence of what is shown. Names in it are foreign text, so no markup is read."""
    st.text(text)


def table(results: Results) -> None:
    st.dataframe(
        views.styled(results, dark=st.context.theme.type == "dark"),
        hide_index=True,
        column_config=views.column_config(results),
        height="content",
        row_height=34,
        key="results",
    )
    st.caption("  \n".join([views.unit(results), *results.notes]))
    st.download_button(
        "Download CSV",
        to_csv([results]),
        file_name=views.file_name(results),
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def spread(results: Results) -> None:
    """How far the seeds lie apart, where there are averages to show."""
    chart = charts.seeds(results)
    if chart is not None:
        st.subheader("How far apart are the seeds?", anchor=False)
        st.altair_chart(chart, key="seeds")


def nothing_yet(unfinished: int) -> None:
    """What to do when no run has a score."""
    if unfinished:
        st.text(f"{unfinished} run{'' if unfinished == 1 else 's'} under way. Rows appear as tasks are scored.")
        return
    st.text("No scores yet. This trains three methods on the built-in data and puts the first rows here:")
    st.code(views.FIRST_ROWS, language="bash")


def trouble(error: UserError) -> None:
    """A store that cannot be read: how to make the first row where it is only missing, else what is wrong."""
    if isinstance(error, NoStoreError):
        nothing_yet(0)
        st.caption("The board reads this store:")
        st.code(str(error.file), language=None)
        return
    st.error("The store cannot be shown.", icon=":material/error:")
    st.code(str(error), language=None)
