"""When an open page of the board redraws itself."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from harness.storage.store import Store
from leaderboard.components import refresh
from tests.support.board_store import add_map
from tests.support.fake_store import METRIC, VIEWS, run_row, scores


def test_store_summary_changes_only_with_what_pages_show(tmp_path: Path) -> None:
    st.cache_data.clear()
    place = str(tmp_path / "board.db")
    assert refresh.store_summary(place) == ()
    store = Store.open(place, create=True)
    run, rows = run_row("mbert", 1, status="running"), scores(40.0, 1)
    seen = [refresh.store_summary(place)]

    def changed() -> bool:
        seen.append(refresh.store_summary(place))
        assert refresh.store_summary(place) == seen[-1]
        return seen[-1] not in seen[:-1]

    store.add_run(run)
    assert changed(), "a run has begun"
    for part in (rows[:5], rows):
        store.put_scores(run.id, part)
        store.refresh_summary(run.id, VIEWS, METRIC)
        assert changed(), "more of it is scored"
    store.set_status(run.id, "done")
    assert changed(), "it is done"
    store.set_status(run.id, "done")
    assert not changed()
    add_map(store, tmp_path, run)
    assert changed(), "it is mapped"
    store.close()
