"""Compare: two rows side by side, by task, by language, by item."""

from __future__ import annotations

import streamlit as st

from leaderboard import compare_parts
from leaderboard.components.state import Address

st.title("Compare", anchor=False)
address = Address()
chosen = compare_parts.filters(address)
notices = st.container()
compare_parts.body(address, chosen)
with notices:
    address.tell()
