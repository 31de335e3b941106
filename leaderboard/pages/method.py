"""Method: what one row is, how it does, what it cost, where it is from."""

from __future__ import annotations

import streamlit as st

from leaderboard import method_parts
from leaderboard.components.state import Address

st.title("Method", anchor=False)
address = Address()
chosen = method_parts.filters(address)
address.tell()
method_parts.body(chosen)
