"""Leaderboard: methods by tasks, or by the languages of one task."""

from __future__ import annotations

import streamlit as st

from harness.errors import UserError
from harness.tables import sentence
from leaderboard import parts, views

st.title("Leaderboard", anchor=False)
try:
    board = views.board(views.location(), parts.chosen_selection())
except UserError as error:
    parts.trouble(error)
    st.stop()
if not board.tables:
    parts.nothing_yet(board.unfinished)
    st.stop()

results = parts.filters(board)
parts.told(sentence(results))
parts.table(results)
parts.spread(results)
