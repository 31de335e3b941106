"""State in the address: each widget is bound to a part of the query string.

An address is third-party text. A value that is not an option is ignored, and a notice says what is shown instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import streamlit as st

from harness.results.rendering import escape

CARRIED = "carried"  # in the session: choices that the page opened next starts with
QUOTED = 40  # characters of a wrong value that a notice repeats


def go_to(page: str, choices: Mapping[str, str], **query: str) -> NoReturn:
    """Opens another page with some choices made, as a link with `choices` and `query` in its address would.

    Streamlit refuses an address that sets what a widget of the present page is bound to, so the choices go through the
    session.
    """
    st.session_state[CARRIED] = dict(choices)
    st.switch_page(page, query_params=query)


def take_carried() -> None:
    """Makes the choices that the page before has carried. Called before any widget is drawn."""
    for key, value in st.session_state.pop(CARRIED, {}).items():
        st.session_state[key] = value


class Address:
    """The query string of one visit, and the notices about what it could not mean."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def select(
        self,
        label: str,
        options: Sequence[str],
        key: str,
        *,
        help: str | None = None,
        width: int = 180,
        index: int = 0,
        always: bool = False,
    ) -> str:
        """One of several options; `options[index]` by default. A single option is not drawn unless `always`."""
        self._check(key, options, options[index])
        if len(options) == 1 and not always:
            return options[0]
        chosen = st.selectbox(label, options, index, help=help, key=key, bind="query-params", width=width)
        return chosen if chosen in options else options[index]

    def pick(self, label: str, options: Sequence[str], key: str, *, help: str | None = None) -> str:
        """One of a few options, all visible."""
        self._check(key, options, options[0])
        chosen = st.segmented_control(
            label, options, default=options[0], required=True, help=help, key=key, bind="query-params"
        )
        return chosen if chosen in options else options[0]

    def select_many(
        self,
        label: str,
        options: Sequence[str],
        key: str,
        *,
        help: str | None = None,
        width: int = 260,
        placeholder: str = "all",
    ) -> list[str]:
        """Any number of options; an empty list means all."""
        self._check(key, options, placeholder)
        return st.multiselect(
            label, options, help=help, key=key, bind="query-params", width=width, placeholder=placeholder
        )

    def text(self, label: str, key: str, *, placeholder: str = "", width: int = 260) -> str:
        """Words to search for."""
        typed = st.text_input(label, key=key, bind="query-params", placeholder=placeholder, max_chars=200, width=width)
        return typed or ""

    def switch(self, label: str, key: str) -> bool:
        """A switch that is off by default."""
        return st.toggle(label, key=key, bind="query-params")

    def _check(self, key: str, options: Sequence[str], instead: str) -> None:
        """Adds a notice for each value in the address that is not an option."""
        for value in st.query_params.get_all(key):
            if value and value not in options:
                asked, shown = escape(value, "label", QUOTED), escape(instead, "label", QUOTED)
                self.notices.append(f"There is no {key} “{asked}”, which the address asks for. Shown: {shown}.")

    def show_notices(self) -> None:
        if self.notices:
            st.warning("  \n".join(self.notices), icon=":material/info:")
