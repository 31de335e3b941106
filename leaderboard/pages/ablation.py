"""Ablation: what each change does, where a gain comes from, what was set differently."""

from __future__ import annotations

import streamlit as st

from leaderboard import ablation_parts
from leaderboard.components.state import Address

st.title("Ablation", anchor=False)
address = Address()
chosen = ablation_parts.filters(address)
notices = st.container()
ablation_parts.body(address, chosen)
with notices:
    address.tell()
