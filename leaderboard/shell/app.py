"""The board's entry script, which Streamlit runs: the list of pages and the sign-in."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from leaderboard import data
from leaderboard.components import refresh, state

# inline, since an icon by name is fetched from another server
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='%232b8aa8'%3E"
    "%3Crect x='1' y='9' width='4' height='6'/%3E%3Crect x='6' y='1' width='4' height='14'/%3E"
    "%3Crect x='11' y='5' width='4' height='10'/%3E%3C/svg%3E"
)

PAGES = {
    "leaderboard": "Leaderboard",
    "ablation": "Ablation",
    "method": "Method",
    "compare": "Compare",
    "alignment": "Alignment",
    "embeddings": "Embeddings",
    "runs": "Runs",
    "protocol": "Protocol",
}
MAPPED = ("alignment", "embeddings")  # hidden before `alignboard project`

st.set_page_config(page_title="Alignboard", page_icon=ICON, layout="wide")
st.html(Path(__file__).with_name("board.css"))
if st.secrets.load_if_toml_exists() and "auth" in st.secrets and not st.user.get("is_logged_in", False):
    st.title("Alignboard", anchor=False)
    st.text("This board is for members. Sign in to read it.")
    st.button("Sign in", on_click=st.login)
    st.stop()

hidden = () if data.has_maps(data.location()) else MAPPED
pages = [
    st.Page(
        f"../pages/{name}.py",
        title=title,
        default=name == "leaderboard",
        visibility="hidden" if name in hidden else "visible",
    )
    for name, title in PAGES.items()
]
page = st.navigation(pages, position="top")
title = next((PAGES[name] for name, known in zip(PAGES, pages, strict=True) if known == page), "Board")
st.set_page_config(page_title=f"{title} · Alignboard")
refresh.follow_store()
state.take_carried()
page.run()
