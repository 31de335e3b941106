"""Runs of the same recipe on data that have changed: their order, what is superseded, what is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from harness.storage.store import StageRow, Store, schema
from tests.support.fake_store import run_row, scores, store_run

RUN = run_row("cz-snt", 1, id="r1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "board.db", create=True)
    yield opened
    opened.close()


def test_runs_are_in_the_order_in_which_they_were_added(store: Store) -> None:
    """Whatever the clocks of their machines said."""
    for name, days in (("a", 400), ("b", 0), ("c", -3)):
        store.add_run(replace(RUN, id=name, created=RUN.created + timedelta(days=days)))
    store.add_run(replace(RUN, id="b"))
    assert [run["id"] for run in store.runs()] == ["a", "c", "b"]
    assert [run["id"] for run in store.runs(newest=2)] == ["c", "b"]


def test_superseded_runs_are_in_no_table(store: Store) -> None:
    for name in ("r1", "r2"):
        store_run(store, replace(RUN, id=name), scores(50.0, 1))
    store.set_status("r1", schema.SUPERSEDED, "its data have changed")
    assert set(store.scores()["run"]) == {row["run"] for row in store.summaries()} == {"r2"}
    assert list(store.groups()["runs"]) == [1]
    store.add_run(RUN)
    assert set(store.scores()["run"]) == {"r1", "r2"}


def test_unfinished_runs_of_what_lay_in_the_same_place_are_found(store: Store) -> None:
    recipe = {"source": "folder:/data", "base": "/base"}
    run = replace(RUN, recipe=recipe, recipe_hash="h", status="interrupted")
    store.add_run(run)
    store.add_run(replace(run, id="finished", status="done"))
    store.add_run(replace(run, id="other place", recipe={**recipe, "source": "folder:/other"}))
    store.add_run(replace(run, id="other seed", align_seed=2))
    store.add_run(replace(run, id="other settings", recipe_hash="i"))
    assert [row["id"] for row in store.unfinished_versions(replace(run, id="new"))] == ["r1"]
    assert store.unfinished_versions(run) == []


def test_an_unfinished_run_keeps_the_names_of_what_was_moved(store: Store) -> None:
    store.add_run(replace(RUN, source="folder:old", status="interrupted"))
    store.add_run(replace(RUN, source="folder:new", recipe={"source": "folder:/new"}))
    assert [store.runs()[0][name] for name in ("source", "recipe")] == ["folder:old", {"source": "folder:/new"}]
    store.set_status("r1", "done")
    store.add_run(replace(RUN, source="folder:new"))
    assert store.runs()[0]["source"] == "folder:new"


def test_stages_of_earlier_code_are_forgotten_with_their_scores(store: Store) -> None:
    store.add_run(RUN)
    for kind in ("align", "score", "project"):
        store.put_stage(StageRow(fingerprint=f"s-{kind}", kind=kind))
        store.link_stage("r1", f"s-{kind}", False)
    first, second, *_ = scores(50.0, 1)
    store.put_scores("r1", [replace(first, stage="s-score"), replace(second, stage="s-project")])
    store.keep_stages("r1", ["s-align", "s-score"])
    assert len(store.links()) == 3, "nothing has changed, so what was added later is kept"
    store.keep_stages("r1", ["s-align", "new"])
    assert list(store.links()["fingerprint"]) == ["s-align"]
    assert store.scores().empty
