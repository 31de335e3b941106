"""A page of the tests that draws formulas as the page Method does: a list of cards, as JSON, in the environment."""

import json
import os

import streamlit as st

from leaderboard.components import formulas

st.title("Formulas", anchor=False)
for place, card in enumerate(json.loads(os.environ["FORMULAS"])):
    with st.container(key=f"formula-{place}"):
        formulas.draw_formula(card)
