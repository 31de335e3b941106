"""Copies of a database that others write, and the checks of `alignboard db check`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import sqlalchemy as sa

from harness.errors import UsageError, UserError
from harness.storage.store import RunRow, ScoreRow, StageRow, Store, database, verdicts
from harness.storage.store.backup import back_up, find_faults, join_files
from tests.support.cli_calls import run_command
from tests.support.processes import SERVED

RUN = RunRow(id="r", method="mbert", suite="s", protocol="mini", status="done", config={"a": [1]}, languages=("de",))
SCORE = ScoreRow(
    stage="s1", task="xnli", view="de", language="de", split="test", protocol="mini", metric="accuracy", value=1.5, n=9
)


def add_whole_run(store: Store, run: RunRow = RUN) -> None:
    store.add_run(run)
    store.put_stage(StageRow(fingerprint="s1", kind="score", task="xnli", status="done"))
    store.link_stage(run.id, "s1", hit=False)
    store.put_scores(run.id, [SCORE])
    store.refresh_summary(run.id, {"xnli": ("de",)}, {"xnli": "accuracy"})


def test_copy_holds_all_that_the_store_holds(store: Store, tmp_path: Path) -> None:
    add_whole_run(store)
    verdicts.write_item_variances(store, "c", {("a", "b"): (1.0, 2.0, 3)})
    verdicts.write_verdict(store, "c", "table", {"ranks": [1, 2]})
    back_up(store, tmp_path / "copy.db")
    copy = Store.open(tmp_path / "copy.db", read_only=True)
    for name in ("runs", "summaries"):
        assert getattr(copy, name)() == getattr(store, name)(), name
    for name in ("stages", "scores", "links"):
        assert getattr(copy, name)().to_dict("records") == getattr(store, name)().to_dict("records"), name
    assert verdicts.read_item_variances(copy, "c", ["a", "b"]) == {("a", "b"): (1.0, 2.0, 3)}
    assert verdicts.read_verdict(copy, "c", "table") == {"ranks": [1, 2]}
    assert find_faults(copy) == []
    assert [path.name for path in tmp_path.glob("*copy*")] == ["copy.db"], "one file"
    with pytest.raises(UsageError, match="there is a file already"):
        back_up(store, tmp_path / "copy.db")


def write_pairs(location: str, started: Event, stop: Event) -> None:
    """Two scores in each transaction, which are equal."""
    store, number = Store.open(location), 0
    while not stop.is_set():
        number += 1
        store.put_scores("r", [replace(SCORE, view=view, value=float(number)) for view in ("de", "sw")])
        started.set()
    store.close()


def test_copy_taken_while_another_process_writes_is_of_one_moment(location: str, tmp_path: Path) -> None:
    store = Store.open(location, create=True)
    store.add_run(RUN)
    started, stop = SERVED.Event(), SERVED.Event()
    writer = SERVED.Process(target=write_pairs, args=(location, started, stop))
    writer.start()
    assert started.wait(60)
    seen = set()
    for number in range(5):
        back_up(store, tmp_path / f"{number}.db")
        values = Store.open(tmp_path / f"{number}.db", read_only=True).cells()["value"].tolist()
        assert len(values) == 2
        assert len(set(values)) == 1
        seen |= {*values}
    stop.set()
    writer.join(60)
    assert writer.exitcode == 0
    assert len(seen) > 1, "the writer was at work"
    store.close()


def test_whole_store_has_no_fault(store: Store) -> None:
    add_whole_run(store)
    store.add_run(replace(RUN, id="unfinished", status="interrupted"))
    assert find_faults(store) == []


def test_incomplete_runs_are_named(store: Store) -> None:
    add_whole_run(store)
    store.put_scores("r", [replace(SCORE, view="sw", stage="lost")])
    store.add_run(replace(RUN, id="empty"))
    assert find_faults(store) == [
        "run empty: finished, without a score on test data",
        "run empty: finished, without a stage",
        "run r: with scores of a stage that the run has not used",
    ]


def test_scores_without_a_run_and_foreign_parts_are_named(tmp_path: Path) -> None:
    location = tmp_path / "board.db"
    store = Store.open(location, create=True)
    add_whole_run(store)
    with sqlite3.connect(location) as connection:
        connection.execute("DELETE FROM run")
    assert find_faults(store) == [
        "1 row of the table run_stage without a run",
        "1 row of the table score without a run",
        "2 rows of the table summary without a run",
    ]
    with sqlite3.connect(location) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM score; END")
        connection.execute("UPDATE score SET value = 'much'")
    assert find_faults(store) == ["a trigger that is not of alignboard: t", "1 score without a number"]


def test_damaged_page_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    location = tmp_path / "board.db"
    store = Store.open(location, create=True)
    add_whole_run(store)
    with store.transaction() as connection:
        connection.execute(sa.text("CREATE INDEX i ON score (value)"))
    store.put_scores("r", [replace(SCORE, view=f"v{number}", value=float(number)) for number in range(2000)])
    with sqlite3.connect(location) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'i'").fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    raw.close()
    store.close()
    content = bytearray(location.read_bytes())
    content[(root - 1) * size + 20 : (root - 1) * size + 60] = bytes(40)
    location.write_bytes(content)
    assert run_command("db", "check", "--db", str(location)) == 1
    printed = capsys.readouterr()
    assert "damaged" in printed.out + printed.err


def test_full_disk_is_told_of_the_copy(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def fill_up(place: object, **options: object) -> sqlite3.Connection:
        if "copy.db" in str(place):
            raise sqlite3.OperationalError("database or disk is full")
        return connect(place, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", fill_up)
    with pytest.raises(UserError, match=r"copy\.db: the store cannot be used"):
        back_up(store, tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy.db"))


def test_database_that_cannot_become_one_file_is_not_copied(tmp_path: Path) -> None:
    file = tmp_path / "board.db"
    Store.open(file, create=True).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("SELECT * FROM run").fetchall()
        with pytest.raises(UserError, match="the store cannot be used"):
            join_files(file)
    join_files(file)
    assert list(tmp_path.iterdir()) == [file]


def test_disk_of_the_network_is_read_but_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my home").mkdir()
    file = tmp_path / "my home" / "board.db"
    Store.open(file, create=True).close()
    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path}/my\\040home nfs4 rw 0 0\n"
    (tmp_path / "mounts").write_text(mounts)
    monkeypatch.setattr(database, "MOUNTS", tmp_path / "mounts")
    Store.open(file, read_only=True).close()
    Store.open(tmp_path / "board.db", create=True).close()
    with pytest.raises(UserError, match="on a disk of the network") as caught:
        Store.open(file)
    assert caught.value.found == "nfs4"
