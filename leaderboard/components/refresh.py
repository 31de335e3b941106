"""A page over a store that is written to: when runs, stages or scores were added it is drawn anew, with the reader's
filters and clicks as they are."""

from __future__ import annotations

import streamlit as st

from harness.errors import UserError
from leaderboard import data
from leaderboard.analysis import runs

SECONDS, IDLE_SECONDS = 3, 15  # between two looks at the store: while runs are open, and while none is
Version = tuple[tuple[object, ...], ...]


def follow() -> None:
    """Has the page that is drawn next look at the store from time to time. Draws nothing."""
    place = data.location()
    open_runs, drawn = _open(place), version(place)
    st.fragment(_look, run_every=SECONDS if open_runs else IDLE_SECONDS)(place, drawn)


def _look(place: str, drawn: Version) -> None:
    if version(place) != drawn:
        st.rerun(scope="app")


def version(place: str) -> Version:
    """What the pages tell, in short: how many runs of each group there are, are scored and are open, how far the open
    ones are, and whether any is mapped; nothing where there is no store. Asks only when the store has changed."""
    try:
        groups, open_runs = data.groups(place), _open(place)
        progress = data.progress(place, open_runs) if open_runs else None
    except UserError:
        return ()
    tables = [groups] if progress is None else [groups, progress]
    rows = [tuple(row) for table in tables for row in table.itertuples(index=False)]
    return (*rows, (data.has_maps(place),))


def _open(place: str) -> tuple[str, ...]:
    """The runs that are planned or running."""
    try:
        return tuple(data.log(place, runs.NEWEST, data.OPEN)["id"])
    except UserError:
        return ()
