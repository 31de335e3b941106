"""Redraws an open page when runs, stages or scores were added to the store; filters and clicks are kept."""

from __future__ import annotations

import streamlit as st

from harness.errors import UserError
from leaderboard import data
from leaderboard.analysis import runs

SECONDS, IDLE_SECONDS = 3, 15  # between two looks at the store: while runs are open, and otherwise
Version = tuple[tuple[object, ...], ...]


def follow_store() -> None:
    """Makes the page that is drawn next watch the store. Draws nothing."""
    place = data.location()
    open_runs, drawn = _open_runs(place), store_summary(place)
    st.fragment(_rerun_if_changed, run_every=SECONDS if open_runs else IDLE_SECONDS)(place, drawn)


def _rerun_if_changed(place: str, drawn: Version) -> None:
    if store_summary(place) != drawn:
        st.rerun(scope="app")


def store_summary(place: str) -> Version:
    """What pages depend on: the runs of each group by state, the progress of open runs, and whether any run is mapped.

    Empty without a store. Queries the store only if it has changed.
    """
    try:
        groups, open_runs = data.groups(place), _open_runs(place)
        progress = data.progress(place, open_runs) if open_runs else None
    except UserError:
        return ()
    tables = [groups] if progress is None else [groups, progress]
    rows = [tuple(row) for table in tables for row in table.itertuples(index=False)]
    return (*rows, (data.has_maps(place),))


def _open_runs(place: str) -> tuple[str, ...]:
    try:
        return tuple(data.newest_runs(place, runs.NEWEST, runs.OPEN)["id"])
    except UserError:
        return ()
