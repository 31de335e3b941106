"""Copies of a database that others may be writing, and checks of one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harness.errors import UsageError, counted
from harness.files import write_atomically
from harness.storage.store import schema
from harness.storage.store.database import database_errors, parse
from harness.storage.store.queries import Store

_ROWS = 10_000  # copied at a time


def back_up(store: Store, file: Path) -> None:
    """Writes a new SQLite file with all that the database holds at one moment, while others may write.

    The copy of a PostgreSQL database is an SQLite file, too, so that it can be read everywhere.
    """
    if file.exists():
        raise UsageError("there is a file already", file=file, remedy="give another name for the copy")
    write_atomically(file, lambda part: _copy(store, part))


def _copy(store: Store, file: Path) -> None:
    with store.snapshot() as connection:
        driver: Any = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            with database_errors(parse(file)), closing(sqlite3.connect(file)) as copy:
                driver.backup(copy)
        else:
            target = Store.open(file, create=True)
            with target.transaction() as writing:
                for table in schema.metadata.sorted_tables:
                    rows = connection.execution_options(stream_results=True).execute(sa.select(table)).mappings()
                    for part in rows.partitions(_ROWS):
                        writing.execute(sa.insert(table), [dict(row) for row in part])
            target.close()
    join_files(file)


def join_files(file: Path) -> None:
    """Makes an SQLite database one file, which can be copied and read on a read-only disk. SQLite itself says nothing
    where it cannot bring what it keeps beside the file into it, as on a full disk."""
    with database_errors(parse(file)), closing(sqlite3.connect(file)) as connection:
        if connection.execute("PRAGMA journal_mode = DELETE").fetchone() != ("delete",):
            raise sqlite3.OperationalError("disk I/O error")


def find_faults(store: Store) -> list[str]:
    """What is wrong in a database, a line for each kind of fault: damaged pages, rows that belong to no other, runs
    without their scores. Reads everything."""
    with store.snapshot() as connection:
        found = _damage(connection) if connection.dialect.name == "sqlite" else []
        return found or [*_orphans(connection), *_incomplete_runs(connection)]


def _damage(connection: Connection) -> list[str]:
    """What SQLite finds, and what no store has: triggers and views, which another program must have added."""
    damage = [str(row[0]) for row in connection.execute(sa.text("PRAGMA integrity_check(20)"))]
    if damage != ["ok"]:
        return [f"the file is damaged: {line}" for line in damage]
    others = connection.execute(sa.text("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')"))
    texts = sa.text("SELECT count(*) FROM score WHERE typeof(value) <> 'real' OR abs(value) > 1e300")
    odd = connection.execute(texts).scalar_one()
    return [
        *(f"a {kind} that is not of alignboard: {name}" for kind, name in others),
        *([f"{counted(odd, 'score')} without a number"] if odd else []),
    ]


def _orphans(connection: Connection) -> list[str]:
    found = []
    for table in schema.metadata.sorted_tables:
        for key in table.foreign_keys:
            lost = sa.select(sa.func.count()).where(key.parent.not_in(sa.select(key.column)))
            if count := connection.execute(lost.select_from(table)).scalar_one():
                found.append(f"{counted(count, 'row')} of the table {table.name} without a {key.column.table.name}")
    return found


def _incomplete_runs(connection: Connection) -> list[str]:
    run, link, score, summary = schema.run.c, schema.run_stage.c, schema.score.c, schema.summary.c
    own = sa.exists().where(link.run == run.id)
    stage = sa.exists().where(link.run == score.run, link.fingerprint == score.stage)
    scored = sa.exists().where(score.run == run.id, score.split == "test")
    done = [run.status == "done", run.kind != "published"]
    queries = {
        "finished, without a score on test data": sa.select(run.id).where(*done, ~scored),
        "finished, without a stage": sa.select(run.id).where(*done, ~own),
        "with scores of a stage that the run has not used": sa.select(run.id)
        .join(schema.score, score.run == run.id)
        .where(*done, own, ~stage)
        .distinct(),
        "with scores on test data, without averages": sa.select(run.id).where(
            scored, ~sa.exists().where(summary.run == run.id)
        ),
    }
    return [f"run {name}: {what}" for what, query in queries.items() for (name,) in connection.execute(query)]
