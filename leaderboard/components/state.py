"""State that lives in the address: each widget is bound to a part of the query string, and what it cannot mean is told.

An address is foreign text. A value that is no option is ignored, and a notice says what is shown instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from harness.results.rendering import escape

QUOTED = 40  # characters of a wrong value that a notice repeats


class Address:
    """The query string of one visit, and the notices that reading it has given."""

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
        """One of several options; a single one is not drawn unless `always`."""
        self.check(key, options, options[index])
        if len(options) == 1 and not always:
            return options[0]
        chosen = st.selectbox(label, options, index, help=help, key=key, bind="query-params", width=width)
        return chosen if chosen in options else options[index]

    def pick(self, label: str, options: Sequence[str], key: str, *, help: str | None = None) -> str:
        """One of a few fixed options, all in sight."""
        self.check(key, options, options[0])
        chosen = st.segmented_control(
            label, options, default=options[0], required=True, help=help, key=key, bind="query-params"
        )
        return chosen if chosen in options else options[0]

    def several(
        self,
        label: str,
        options: Sequence[str],
        key: str,
        *,
        told: Callable[[str], str] = str,
        help: str | None = None,
        width: int = 260,
        placeholder: str = "all",
    ) -> list[str]:
        """Any number of options; none means all."""
        self.check(key, [told(option) for option in options], placeholder)
        return st.multiselect(
            label,
            options,
            format_func=told,
            help=help,
            key=key,
            bind="query-params",
            width=width,
            placeholder=placeholder,
        )

    def text(self, label: str, key: str, *, placeholder: str = "", width: int = 260) -> str:
        """Words to search for."""
        typed = st.text_input(label, key=key, bind="query-params", placeholder=placeholder, max_chars=200, width=width)
        return typed or ""

    def switch(self, label: str, key: str) -> bool:
        """Something that is off unless it is asked for."""
        return st.toggle(label, key=key, bind="query-params")

    def check(self, key: str, options: Sequence[str], instead: str) -> None:
        """Notes each value of the address that is none of the options."""
        for value in st.query_params.get_all(key):
            if value and value not in options:
                asked, shown = escape(value, "label", QUOTED), escape(instead, "label", QUOTED)
                self.notices.append(f"The address asks for {key} “{asked}”, which is not here. Shown: {shown}.")

    def tell(self) -> None:
        """Says what was not understood, if anything."""
        if self.notices:
            st.warning("  \n".join(self.notices), icon=":material/info:")
