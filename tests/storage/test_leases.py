"""One row for one cell, runs whose process has died, late writes, and a server that goes away."""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from threading import Timer

import pytest
import sqlalchemy as sa

from harness.errors import UserError
from harness.experiments.executors.local import Local
from harness.experiments.runner import Runner
from harness.experiments.stage import Stage, StageResult
from harness.storage.artifacts import Artifacts
from harness.storage.store import RunRow, ScoreRow, Store, leases, queries, schema
from harness.storage.store.leases import LostRunError, this_process
from tests.support.postgres import Server
from tests.support.processes import SERVED
from tests.support.tiny_runs import RecordingDisplay, run_plans, tiny_plans

RUN = RunRow(id="r", method="cz-snt", suite="s", protocol="mini", source="babel", status="running", version="v1")
SCORE = ScoreRow(
    stage="old", task="xnli", view="de", language="de", split="test", protocol="mini", metric="accuracy", value=1.0, n=9
)


def change(store: Store, **values: object) -> None:
    with store.transaction() as connection:
        connection.execute(sa.update(schema.run).values(values))


def test_a_cell_has_one_score_whatever_its_stage_and_step(store: Store) -> None:
    store.add_run(RUN)
    store.put_scores("r", [replace(SCORE, step=40)])
    store.put_scores("r", [replace(SCORE, stage="new", step=60, value=2.0)])
    (row,) = store.cells(run="r").to_dict("records")
    assert (row["stage"], row["step"], row["value"]) == ("new", 60, 2.0)


def test_a_new_dev_curve_replaces_all_points_of_the_former_one(store: Store) -> None:
    store.add_run(RUN)
    store.put_scores("r", [replace(SCORE, split="dev", step=step) for step in (10, 20, 30)])
    store.put_scores("r", [replace(SCORE, stage="new", split="dev", step=step) for step in (10, 25)])
    assert [(row.stage, row.step) for row in store.cells(run="r").itertuples()] == [("new", 10), ("new", 25)]


def write_scores(location: str, name: int, barrier: Barrier) -> None:
    store = Store.open(location)
    barrier.wait(120)
    for cell in range(40):
        row = replace(SCORE, view=f"v{cell % 20}", stage=f"stage {name}", step=name, value=float(name))
        curve = [replace(row, split="dev", step=step) for step in range(name + 1)]
        store.put_scores("r", [row, *curve])
    store.close()


def test_writers_of_the_same_cells_leave_one_row_each(location: str) -> None:
    store = Store.open(location, create=True)
    store.add_run(RUN)
    barrier = SERVED.Barrier(3)
    writers = [SERVED.Process(target=write_scores, args=(location, name, barrier)) for name in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(200)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    rows = store.cells(run="r")
    tested = rows[rows["split"] == "test"]
    assert Counter(tested["view"]) == Counter(f"v{cell}" for cell in range(20))
    curves = rows[rows["split"] == "dev"].groupby("view")
    for _, curve in curves:
        (stage,) = set(curve["stage"])
        assert sorted(curve["step"]) == list(range(int(stage[-1]) + 1)), "one whole curve, no mixture"
    store.close()


def insert_scores(location: str, name: int, inserts: int, barrier: Barrier) -> None:
    store = Store.open(location)
    barrier.wait(300)
    for number in range(inserts):
        store.put_scores("r", [replace(SCORE, view=f"{name}-{number}", value=float(number))])
        if number % 2:  # once more, as after a lost answer
            store.put_scores("r", [replace(SCORE, view=f"{name}-{number}", value=float(number))])
    store.close()


def read_scores(location: str, barrier: Barrier, done: Event) -> None:
    """Reads until all writers have ended; what was seen never goes away."""
    store, seen = Store.open(location, read_only=True), 0
    barrier.wait(300)
    while not done.is_set():
        views = store.cells(("view",), run="r")["view"]
        assert views.is_unique
        assert len(views) >= seen
        seen = len(views)
    store.close()


@pytest.mark.parametrize(
    ("writers", "inserts", "readers"), [(2, 20, 1), pytest.param(8, 200, 4, marks=pytest.mark.long)]
)
def test_scores_of_many_writers_are_all_there_once(location: str, writers: int, inserts: int, readers: int) -> None:
    store = Store.open(location, create=True)
    store.add_run(RUN)
    barrier, done = SERVED.Barrier(writers + readers), SERVED.Event()
    writing = [SERVED.Process(target=insert_scores, args=(location, name, inserts, barrier)) for name in range(writers)]
    reading = [SERVED.Process(target=read_scores, args=(location, barrier, done)) for _ in range(readers)]
    for process in (*writing, *reading):
        process.start()
    for process in writing:
        process.join(600)
    done.set()
    for process in reading:
        process.join(60)
    assert [process.exitcode for process in (*writing, *reading)] == [0] * (writers + readers)
    rows = store.cells(run="r")
    assert Counter(rows["view"]) == Counter(f"{w}-{n}" for w in range(writers) for n in range(inserts))
    assert all(row.value == float(row.view.partition("-")[2]) for row in rows.itertuples())
    store.close()


def test_duplicate_cells_of_an_older_store_are_one_after_the_upgrade(tmp_path: Path) -> None:
    location = tmp_path / "old.db"
    with sqlite3.connect(location) as connection:
        connection.executescript((Path(__file__).parent / "store_0003.sql").read_text())
        for step, value in ((0, 71.0), (5, 72.0)):
            connection.execute(
                "INSERT INTO score SELECT run, 'later', task, view, language, split, protocol, selection, ?, metric, ?,"
                " n FROM score WHERE view = 'de' AND stage = 's-xnli'",
                (step, value),
            )
        connection.execute("UPDATE stage SET finished = '2030-01-01 00:00:00.000000' WHERE fingerprint = 's-xnli'")
    store = Store.open(location)
    cells = store.cells(run="old")
    assert sorted(cells["view"]) == ["de", "en"]
    assert cells.set_index("view").loc["de", "value"] == 70.0, "that of the stage that ended last"


def die_with_a_run(location: str) -> None:
    Store.open(location).add_run(RUN)


def test_a_run_of_a_dead_process_is_interrupted_and_one_of_a_living_is_not(location: str) -> None:
    store = Store.open(location, create=True)
    process = SERVED.Process(target=die_with_a_run, args=(location,))
    process.start()
    process.join(120)
    store.add_run(replace(RUN, id="mine"))
    reader = Store.open(location, read_only=True)
    assert status_of(reader) == {"r": "interrupted", "mine": "running"}
    assert reader.groups()["open"].tolist() == [1]
    reader.close()
    Store.open(location).close()
    with store._engine.connect() as connection:
        found = dict(connection.execute(sa.text("SELECT id, status FROM run")).all())
    assert found == {"r": "interrupted", "mine": "running"}
    store.close()


def status_of(store: Store) -> dict[str, str]:
    return {run["id"]: run["status"] for run in store.runs()}


def test_a_run_of_another_machine_lives_as_long_as_it_says_so(store: Store) -> None:
    store.add_run(RUN)
    change(store, owner="elsewhere 12 34")
    assert status_of(store) == {"r": "running"}
    change(store, heartbeat=schema.now() - leases.STALE - timedelta(seconds=1))
    assert status_of(store) == {"r": "interrupted"}
    change(store, heartbeat=schema.now() + timedelta(days=1))
    assert status_of(store) == {"r": "running"}, "a clock that was set back kills no run"


def test_late_writes_for_another_version_of_the_run_are_refused(store: Store) -> None:
    store.add_run(RUN)
    store.put_scores("r", [SCORE], version="v1")
    store.add_run(replace(RUN, version="v2"))
    store.put_scores("r", [replace(SCORE, value=2.0)], version="v2")
    with pytest.raises(LostRunError, match="another command has taken over"):
        store.put_scores("r", [SCORE], version="v1")
    with pytest.raises(LostRunError):
        store.set_status("r", "done", version="v1")
    with pytest.raises(LostRunError):
        store.refresh_summary("r", {}, {}, version="v1")
    assert store.cells(run="r")["value"].tolist() == [2.0]
    assert status_of(store) == {"r": "running"}


def write_late(location: str, ready: Event, go_on: Event) -> None:
    """A process that starts a run, is held up, and writes when another has taken the run over."""
    store = Store.open(location)
    store.add_run(RUN)
    ready.set()
    go_on.wait(120)
    refused = 0
    for write in (
        lambda: store.put_scores("r", [replace(SCORE, value=1.0)], version="v1"),
        lambda: store.set_status("r", "done", version="v1"),
    ):
        try:
            write()
        except LostRunError:
            refused += 1
    store.give_up("r", "failed", "late")
    store.beat()
    store.close()
    sys.exit(refused)


def test_a_process_that_was_held_up_changes_no_run_that_another_has_taken_over(location: str) -> None:
    store = Store.open(location, create=True)
    ready, go_on = SERVED.Event(), SERVED.Event()
    process = SERVED.Process(target=write_late, args=(location, ready, go_on))
    process.start()
    assert ready.wait(120)
    store.add_run(replace(RUN, version="v2"))
    store.put_scores("r", [replace(SCORE, value=2.0)], version="v2")
    before = store.runs()
    go_on.set()
    process.join(120)
    assert process.exitcode == 2, "both were refused"
    assert store.runs() == before
    assert store.cells(run="r")["value"].tolist() == [2.0]
    store.close()


def test_only_the_owner_gives_a_run_up_and_only_while_it_runs(store: Store) -> None:
    store.add_run(RUN)
    change(store, owner="elsewhere 12 34")
    store.give_up("r", "failed", "late")
    assert status_of(store) == {"r": "running"}
    change(store, owner=this_process(), status="done")
    store.give_up("r", "failed", "late")
    assert status_of(store) == {"r": "done"}
    change(store, status="running")
    store.give_up("r", "interrupted")
    assert status_of(store) == {"r": "interrupted"}


def test_a_server_that_goes_away_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(server.fresh(), create=True)
    store.add_run(RUN)
    tries = []

    def record() -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            server.stop_now()
        if len(tries) == 3:
            server.start()
        store.put_scores("r", [SCORE])

    store.retry(record)
    assert len(tries) >= 3
    assert len(store.cells(run="r")) == 1
    monkeypatch.setattr(queries, "WAIT_SECONDS", 1.0)
    server.stop_now()
    try:
        with pytest.raises(UserError, match="check the URL"):
            store.retry(lambda: store.put_scores("r", [SCORE]))
    finally:
        server.start()
    store.close()


class RestartingDisplay(RecordingDisplay):
    """Has the server crash when a stage has ended, and start again after some seconds."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server, self.starts = server, list[Timer]()

    def ended(self, stage: Stage, result: StageResult) -> None:
        super().ended(stage, result)
        if len(self.made) in (1, 3) and all(not start.is_alive() for start in self.starts):
            self.server.stop_now()
            self.starts.append(Timer(3.0, self.server.start))
            self.starts[-1].start()


@pytest.mark.long
def test_a_run_goes_on_when_its_server_is_restarted(server: Server, tmp_path: Path) -> None:
    plans, artifacts = tiny_plans("mbert"), Artifacts(tmp_path / "artifacts")
    store, display = Store.open(server.fresh(), create=True), RestartingDisplay(server)
    try:
        report = Runner(store, artifacts, Local(artifacts, 1, "cpu", threads=1, all_threads=1), display).run(plans)
    finally:
        for start in display.starts:
            start.join()
    assert display.starts, "the server was restarted"
    assert (report.failures, report.finished) == ([], 1)
    assert status_of(store) == {plans[0].id: "done"}
    run_plans(tmp_path, plans)  # all stages are reused
    undisturbed = Store.open(tmp_path / "board.db", read_only=True)
    assert store.cells().to_dict("records") == undisturbed.cells().to_dict("records")
    store.close()


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://ann:hush-hush@localhost:1/board",
        "'postgresql://ann:hush-hush@localhost:1/board",
        "postgresql://ann:hush-hush@localhost:1/board'",
        "postgresql://ann:hush-hush@localhost:port/board",
        "postgresql:/ann:hush-hush@localhost/board",
        "postgresql+nothing://ann:hush-hush@localhost/board",
        "mysql://ann:hush-hush@localhost/board",
        "postgresql://localhost:1/board?user=ann&password=hush-hush",
        "postgresql:///board?host=localhost&port=1&password=hush-hush&user=ann",
        "postgresql://ann:hush@hush-hush@localhost:1/board",
        "postgresql://ann:hush-hush/x@localhost:1/board",
        "postgresql://:hush-hush@localhost:1/board",
        "postgresql:ann:hush-hush@localhost/board",
        "postgres ann:hush-hush@localhost/board",
        "ann:hush-hush@localhost/board",
        "host=localhost port=1 user=ann password=hush-hush",
        "host=localhost port=1 user=ann password='hush-hush hush-hush'",
    ],
)
def test_no_message_holds_a_password(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        Store.open(location, create="://" in location)  # without slashes it may be a path
    assert "hush-hush" not in str(caught.value)
    assert caught.value.remedy or caught.value.expected
    assert not list(tmp_path.iterdir())
