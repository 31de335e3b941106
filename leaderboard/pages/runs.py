"""Runs: what was done, what is being done, what failed and why; of one run its stages and its surroundings."""

from __future__ import annotations

import streamlit as st

from leaderboard import run_parts
from leaderboard.components.state import Address

st.title("Runs", anchor=False)
address = Address()
chosen = run_parts.filters(address)
address.tell()
run_parts.body(chosen)
