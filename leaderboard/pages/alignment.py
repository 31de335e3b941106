"""Alignment: intrinsic measures against transfer."""

from __future__ import annotations

import streamlit as st

from leaderboard import intrinsic_parts
from leaderboard.components.state import Address

st.title("Alignment", anchor=False)
intrinsic_parts.alignment(Address())
