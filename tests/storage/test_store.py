"""The store's contract, for each back end; migrations; writers side by side."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from harness.errors import UsageError, UserError
from harness.storage.store import RunRow, ScoreRow, StageRow, Store, database, schema
from tests.support.processes import SERVED

EXPECTED = {"xnli": ("de", "en"), "tatoeba": ("de",)}
METRIC = {"xnli": "accuracy", "tatoeba": "accuracy"}
RUN = RunRow(
    id="r1", method="cz-snt", suite="xtreme-align", protocol="mini", source="babel", align_seed=1, finetune_seed=1
)


def score(task: str, view: str, value: float, **changes: object) -> ScoreRow:
    selection = "" if task == "tatoeba" else "english"
    row = ScoreRow(
        stage=f"s-{task}",
        task=task,
        view=view,
        language=view,
        split="test",
        protocol="mini",
        metric="accuracy",
        value=value,
        n=500,
        selection=selection,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


SCORES = [score("xnli", "en", 80.0), score("xnli", "de", 70.0), score("tatoeba", "de", 25.0)]


# the contract


def test_run_is_read_as_it_was_written(store: Store) -> None:
    created = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    run = replace(
        RUN, config={"temperature": 0.1}, languages=("de", "en"), dirty=True, created=created, recipe={"steps": [1, 2]}
    )
    store.add_run(run)
    row = store.runs()[0]
    assert row["config"] == {"temperature": 0.1}
    assert row["recipe"] == {"steps": [1, 2]}
    assert row["languages"] == ["de", "en"]
    assert row["created"] == created
    assert (row["align_seed"], row["dirty"], row["finished"]) == (1, True, None) or row["finished"] is pd.NaT


def test_adding_a_run_again_replaces_all_but_created(store: Store) -> None:
    store.add_run(RUN)
    store.add_run(replace(RUN, created=RUN.created + timedelta(days=1), code_version="c2"))
    runs = store.runs()
    assert len(runs) == 1
    assert runs[0]["code_version"] == "c2"
    assert runs[0]["created"] == RUN.created


def test_final_status_sets_finished(store: Store) -> None:
    store.add_run(RUN)
    store.set_status("r1", "running")
    assert store.runs(status="running")[0]["finished"] is None
    store.set_status("r1", "failed", "the disk is full")
    row = store.runs()[0]
    assert (row["status"], row["error"]) == ("failed", "the disk is full")
    assert datetime.now(UTC) - row["finished"] < timedelta(minutes=5)
    with pytest.raises(AssertionError):
        store.set_status("r2", "done")


def test_status_outside_the_list_is_refused_by_the_database(store: Store) -> None:
    store.add_run(RUN)
    with pytest.raises(sa.exc.IntegrityError):
        store.set_status("r1", "finished")


def test_stages_are_shared_and_linked(store: Store) -> None:
    stage = StageRow(fingerprint="f1", kind="finetune", task="xnli", device_seconds=3.5, peak_memory_bytes=2**40)
    for run, hit in (("r1", False), ("r2", True)):
        store.add_run(replace(RUN, id=run))
        store.put_stage(stage)
        store.link_stage(run, "f1", hit)
        store.link_stage(run, "f1", hit)
    store.put_stage(replace(stage, status="done"))
    assert list(store.stages("r1")["hit"]) == [False]
    row = store.stages("r2").iloc[0]
    assert (row["hit"], row["status"], row["device_seconds"], row["peak_memory_bytes"]) == (True, "done", 3.5, 2**40)
    assert len(store.stages()) == 1


def test_link_to_an_unknown_stage_is_refused(store: Store) -> None:
    store.add_run(RUN)
    with pytest.raises(sa.exc.IntegrityError):
        store.link_stage("r1", "nowhere", hit=False)


def test_scores_are_read_with_their_run_and_can_be_put_twice(store: Store) -> None:
    store.add_run(RUN)
    store.put_scores("r1", SCORES)
    store.put_scores("r1", [replace(SCORES[0], value=81.5), *SCORES[1:]])
    found = store.scores(task="xnli", view=["en", "de"])
    assert list(zip(found["view"], found["value"], strict=True)) == [("de", 70.0), ("en", 81.5)]
    assert set(found["method"]) == {"cz-snt"}
    assert len(store.scores()) == 3
    assert store.scores(language="fr").empty
    with pytest.raises(UsageError, match="did you mean 'language'"):
        store.scores(languag="de")


def test_scores_of_a_recomputed_stage_replace_earlier_ones(store: Store) -> None:
    store.add_run(RUN)
    store.put_scores("r1", SCORES)
    curve = [score("xnli", "en", 50.0 + step, split="dev", step=step) for step in (100, 200)]
    store.put_scores("r1", curve)
    store.put_scores("r1", [score("xnli", "en", 90.0, stage="s-new")])
    found = store.scores(task="xnli", view="en", split="test")
    assert list(zip(found["stage"], found["value"], strict=True)) == [("s-new", 90.0)]
    assert len(store.scores(split="dev")) == 2
    assert len(store.scores()) == 5


def test_scores_are_written_all_or_none(store: Store) -> None:
    store.add_run(RUN)
    twin = replace(SCORES[1], value=None)  # type: ignore[arg-type]
    with pytest.raises((sa.exc.IntegrityError, TypeError)):
        store.put_scores("r1", [SCORES[0], twin])
    with pytest.raises(AssertionError):
        store.put_scores("r1", [SCORES[0], replace(SCORES[1], value=math.nan)])
    with pytest.raises(sa.exc.IntegrityError):
        store.put_scores("no such run", SCORES)
    assert store.scores().empty


def summaries(store: Store, **where: str) -> dict[str, tuple[float | None, int, int]]:
    return {row["task"]: (row["value"], row["n_views"], row["expected_views"]) for row in store.summaries(**where)}


def test_average_is_the_mean_over_tasks_of_means_over_views(store: Store) -> None:
    store.add_run(RUN)
    store.put_scores("r1", [*SCORES, score("xnli", "en", 1.0, metric="loss"), score("xnli", "fr", 1.0)])
    store.refresh_summary("r1", EXPECTED, METRIC)
    assert summaries(store) == {"xnli": (75.0, 2, 2), "tatoeba": (25.0, 1, 1), "average": (50.0, 3, 3)}
    assert [row["task"] for row in store.summaries()] == ["xnli", "tatoeba", "average"]


def test_incomplete_task_has_no_average(store: Store) -> None:
    store.add_run(RUN)
    store.put_scores("r1", SCORES[:1])
    store.refresh_summary("r1", EXPECTED, METRIC)
    assert summaries(store) == {"xnli": (None, 1, 2), "tatoeba": (None, 0, 1), "average": (None, 1, 3)}
    store.put_scores("r1", SCORES)
    store.refresh_summary("r1", EXPECTED, METRIC)
    assert summaries(store)["average"] == (50.0, 3, 3)


def test_oracle_selection_has_its_own_average(store: Store) -> None:
    store.add_run(RUN)
    oracle = [replace(row, value=row.value + 2, selection="oracle") for row in SCORES[:2]]
    store.put_scores("r1", [*SCORES, *oracle, score("xnli", "en", 9.0, split="dev")])
    store.refresh_summary("r1", EXPECTED, METRIC)
    assert summaries(store, selection="english")["average"] == (50.0, 3, 3)
    assert summaries(store, selection="oracle")["average"] == (51.0, 3, 3)
    assert {row["split"] for row in store.summaries()} == {"test"}


def test_deleting_a_run_deletes_its_scores_and_keeps_shared_stages(store: Store) -> None:
    store.add_run(RUN)
    store.put_stage(StageRow(fingerprint="f1", kind="align"))
    store.link_stage("r1", "f1", hit=False)
    store.put_scores("r1", SCORES)
    store.refresh_summary("r1", EXPECTED, METRIC)
    store.delete_run("r1")
    assert not store.runs()
    assert store.scores().empty
    assert not store.summaries()
    assert len(store.stages()) == 1


def test_reader_sees_what_is_committed_and_cannot_write(store: Store, location: str) -> None:
    store.add_run(RUN)
    reader = Store.open(location, read_only=True)
    assert [run["id"] for run in reader.runs()] == ["r1"]
    with pytest.raises((UserError, sa.exc.DBAPIError)):
        reader.set_status("r1", "done")
    store.put_scores("r1", SCORES)
    assert len(reader.scores()) == 3
    reader.close()


def test_full_disk_is_reported_and_leaves_no_partial_write(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "board.db", create=True)
    store.add_run(RUN)

    def no_more_pages(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite rounds up to what there is

    sa.event.listen(store._engine, "connect", no_more_pages)
    rows = [score("xnli", f"v{index}", 50.0) for index in range(5000)]
    with pytest.raises(UserError, match="full") as caught:
        store.put_scores("r1", rows)
    assert caught.value.remedy
    assert store.scores().empty


# writers side by side


def fill(location: str, name: str, barrier: Barrier) -> None:
    barrier.wait(60)
    store = Store.open(location, create=True)
    for index in range(15):
        run = replace(RUN, id=f"{name}{index}")
        store.add_run(run)
        store.put_stage(StageRow(fingerprint="shared", kind="align"))
        store.link_stage(run.id, "shared", hit=True)
        store.put_scores(run.id, SCORES)
        store.refresh_summary(run.id, EXPECTED, METRIC)
        assert len(store.scores(run=run.id)) == 3


def test_writers_in_two_processes_lose_nothing(location: str) -> None:
    """Both also make the store: the first to come migrates, the other waits for it."""
    barrier = SERVED.Barrier(2)
    writers = [SERVED.Process(target=fill, args=(location, name, barrier)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = Store.open(location)
    assert (len(store.runs()), len(store.scores()), len(store.summaries())) == (30, 90, 90)
    store.close()


# schema


def test_migrations_lead_to_the_schema_of_the_code(store: Store) -> None:
    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        inspector = sa.inspect(connection)
        for table in schema.metadata.sorted_tables:
            assert inspector.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
            checks = {check["name"] for check in inspector.get_check_constraints(table.name)}
            assert checks == {c.name for c in table.constraints if isinstance(c, sa.CheckConstraint)}


def test_newest_migration_is_the_revision_of_the_code() -> None:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.REVISION


def test_newer_schema_is_refused(store: Store, location: str) -> None:
    with store._engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9001'"))
    for read_only in (True, False):
        with pytest.raises(UserError) as caught:
            Store.open(location, read_only=read_only)
        assert "9001" in str(caught.value)
        assert schema.REVISION in str(caught.value)
        assert caught.value.remedy


@pytest.mark.parametrize("old", sorted(Path(__file__).parent.glob("store_*.sql")), ids=lambda path: path.stem)
def test_old_store_is_upgraded_and_used(old: Path, tmp_path: Path) -> None:
    location = tmp_path / "old.db"
    connection = sqlite3.connect(location)
    connection.executescript(old.read_text())
    connection.close()
    with pytest.raises(UserError, match="older version"):
        Store.open(location, read_only=True)
    store = Store.open(location)
    assert [run["method"] for run in store.runs()] == ["mbert"]
    assert list(store.scores()["value"]) == [70.0, 80.0]
    store.put_scores("old", [score("tatoeba", "de", 25.0)])
    store.refresh_summary("old", EXPECTED, METRIC)
    assert summaries(store)["average"] == (50.0, 3, 3)
    store.close()
    assert len(Store.open(location, read_only=True).scores()) == 3


def test_averages_of_an_old_store_know_what_they_were_computed_from(tmp_path: Path) -> None:
    location = tmp_path / "old.db"
    connection = sqlite3.connect(location)
    connection.executescript((Path(__file__).parent / "store_0006.sql").read_text())
    connection.close()
    store = Store.open(location)
    upgraded = {row["task"]: row["origin"] for row in store.summaries()}
    store.refresh_summary("old", EXPECTED, METRIC)
    assert upgraded == {row["task"]: row["origin"] for row in store.summaries()}
    assert len(set(upgraded.values())) == 3
    store.close()


def test_the_origin_of_an_average_changes_with_its_stages_views_and_metric(store: Store) -> None:
    store.add_run(RUN)
    origins = []
    for rows in (SCORES, [replace(SCORES[0], stage="s-new")], SCORES[:1], [score("xnli", "fr", 80.0)], SCORES[2:]):
        store.put_scores("r1", rows)
        store.refresh_summary("r1", EXPECTED, METRIC)
        origins.append(next(row["origin"] for row in store.summaries() if row["task"] == "xnli"))
    first, other_stage, as_before, more_views, other_task = origins
    assert first == as_before
    assert other_task == more_views
    assert len({first, other_stage, more_views}) == 3


# places that hold no store


def text_file(path: Path) -> None:
    path.write_text("not a database at all, just text\n" * 100)


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (id)")
    connection.close()


def migrated(path: Path) -> None:
    """The database of another program whose migrations are Alembic's, too."""
    foreign(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001ab')")


def nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "create", "words"),
    [
        (text_file, True, "not a database"),
        (foreign, True, "belongs to another program"),
        (migrated, True, "belongs to another program"),
        (Path.mkdir, True, "is a folder"),
        (nothing, False, "no store here yet"),
        (Path.touch, False, "is empty"),
    ],
)
def test_location_without_a_store_is_an_error(
    make: Callable[[Path], None], create: bool, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "board.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError, match=words) as caught:
        Store.open(path, create=create)
    assert caught.value.remedy
    assert str(path) in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else None)


def test_other_databases_and_unreachable_servers_are_errors() -> None:
    with pytest.raises(UsageError, match="mysql"):
        Store.open("mysql://localhost/board")
    pytest.importorskip("psycopg")
    with pytest.raises(UserError) as caught:
        Store.open("postgresql://me:secret@localhost:1/board", create=True)
    assert "secret" not in str(caught.value)
    assert caught.value.remedy


def test_path_with_special_characters(tmp_path: Path) -> None:
    location = tmp_path / "50% ünder #1?" / "board.db"
    Store.open(location, create=True).add_run(RUN)
    assert location.is_file()
    assert [run["id"] for run in Store.open(location, read_only=True).runs()] == ["r1"]
