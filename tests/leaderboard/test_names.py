"""Rows have the same names everywhere, and links name no more than they must."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.results.tables import HEADLINE
from harness.storage.store import Store
from leaderboard.analysis import board, runs
from leaderboard.components.filters import build_group
from leaderboard.data import LOG_COLUMNS
from tests.support.board_data import BoardData
from tests.support.board_store import write_board_store


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> BoardData:
    home = tmp_path_factory.mktemp("home")
    return BoardData(write_board_store(home / "board.db", home))


def test_runs_are_named_like_the_rows_of_their_table(made: BoardData) -> None:
    store = Store.open(made.path, read_only=True)
    log = board.record_frame(store.runs(LOG_COLUMNS), LOG_COLUMNS)
    store.close()
    names = runs.name_rows(log)
    for row in made.table().rows:
        assert all(names[run].startswith(row.label) for run in row.runs)
    two = log.head(1)
    other = two.assign(id="other", config=[{**two["config"].iloc[0], "temperature": 0.3}])
    assert runs.name_rows(pd.concat([two, other]))["other"].endswith("[temperature=0.3]")


def test_links_name_no_choice_that_a_page_makes_by_itself(made: BoardData) -> None:
    key = made.table().key
    record = dict(zip([facet.column for facet in board.FACETS], key, strict=True))
    group = build_group(key, pd.DataFrame([record]), made.summaries, HEADLINE)
    assert group
    names = list(group.rows)
    control, best = (names[index] for index in board.default_pair(group.table.rows))
    assert (group.rows[control].method, group.rows[best].badge) == ("continued-mlm", "")
    assert group.pair_query(control, best) == group.row_query(best) == group.query() == {}
    assert group.pair_query(best, control, "udpos") == {"a": best, "b": control, "task": "udpos"}
    smaller = build_group(key, pd.DataFrame([record | {"suite": "larger"}, record]), made.summaries, HEADLINE)
    assert smaller
    assert smaller.query() == {"suite": key.suite}
