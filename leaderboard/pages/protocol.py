"""Protocol: per task, what is measured and how, its licence and its citation."""

from __future__ import annotations

import streamlit as st

from leaderboard import protocol_parts
from leaderboard.components.state import Address

st.title("Protocol", anchor=False)
address = Address()
key, summaries = protocol_parts.filters(address)
address.tell()
protocol_parts.body(key, summaries)
