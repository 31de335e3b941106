"""Text on pages, with third-party names escaped, and what a page says when it has nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from harness.data.languages import plain_source
from harness.errors import UserError, counted
from harness.results.rendering import escape
from harness.storage.store.database import NoStoreError

FIRST_ROWS = "alignboard run mbert continued-mlm ml-ctl-cz --suite xtreme-align --source babel --protocol mini"
LONGEST = 400  # characters of a line with third-party names


def write(text: str) -> None:
    """A plain sentence, in which no markup is read."""
    st.text(escape(text, most=LONGEST))


def write_verdict(sentence: str) -> None:
    """The finding of a page in bold; nothing where none is earned."""
    if sentence:
        st.markdown(f"**{escape(sentence, 'label', LONGEST)}**")


def write_notes(lines: Sequence[str]) -> None:
    """Small print, a line each."""
    if lines:
        st.caption("  \n".join(escape(line, "label", LONGEST) for line in lines))


def link_page(page: str, label: str, icon: str | None, query: Mapping[str, str]) -> None:
    """A link to another page."""
    st.page_link(f"../pages/{page}.py", label=escape(label, "label", 80), icon=icon, query_params=dict(query))


def suggest_clearing(keys: Sequence[str]) -> None:
    """Says that the filters leave nothing, offers to clear those with these keys, and ends the page."""
    st.info("No score is left under these filters.", icon=":material/filter_alt_off:")

    def clear() -> None:
        for name in keys:
            st.session_state[name] = []

    st.button("Clear the filters", on_click=clear)
    st.stop()


def suggest_first_run(open_runs: int = 0) -> None:
    """Says that no run has a score, and how to make the first rows unless runs are open."""
    if open_runs:
        st.text(f"{counted(open_runs, 'run')} in progress. Rows appear as tasks are scored.")
        link_page("runs", "See the runs", ":material/list:", {})
        return
    st.text("No scores yet. This trains three methods on the built-in data and puts the first rows here:")
    st.code(FIRST_ROWS, language="bash")


def report_store_error(error: UserError) -> None:
    """Says what is wrong with the store; if it is only missing, how to make the first rows."""
    with st.container():  # below each other, though the page's filters are side by side
        if isinstance(error, NoStoreError):
            suggest_first_run()
            st.caption("The board reads this store:")
            st.code(str(error.file), language=None)
        else:
            st.error("The store cannot be read.", icon=":material/error:")
            st.code(str(error), language=None, wrap_lines=True)


def source_notes(source: str) -> list[str]:
    """What figures on a source cannot be compared with."""
    if plain_source(source).partition(":")[0] != "babel":
        return []
    return ["The source is a made-up world of generated languages: its scores cannot be compared with published ones."]


def suggest_mapping() -> None:
    """Says that no run has been mapped, and how to do it."""
    st.info("No run of this group has been mapped. This measures and maps every finished run, and trains nothing:")
    st.code("alignboard project", language="bash")
