"""Leaderboard: methods by tasks, by the languages of one task, or by groups of languages."""

from __future__ import annotations

import streamlit as st

from leaderboard import board_parts
from leaderboard.components import parts
from leaderboard.components.state import Address

st.title("Leaderboard", anchor=False)
groups = parts.groups()
above, below = st.container(), st.empty()
parts.expect_table(below)
with above:
    address = Address()
    view = board_parts.filters(address, groups)
    address.tell()
with below.container():
    board_parts.body(view)
