"""Embeddings: translations on a map, side by side for several methods."""

from __future__ import annotations

import streamlit as st

from leaderboard import intrinsic_parts
from leaderboard.components.state import Address

st.title("Embeddings", anchor=False)
intrinsic_parts.embeddings(Address())
