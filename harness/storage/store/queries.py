"""The class `Store`: what the runner writes, and what tables and the board read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from harness.storage.store import schema
from harness.storage.store.averages import put_averages
from harness.storage.store.database import LostConnectionError, connect, database_errors, display_url, parse
from harness.storage.store.leases import LostRunError, lives, this_process
from harness.storage.store.schema import RunRow, ScoreRow, StageRow
from harness.storage.store.statements import Where, conditions, fetch, fetch_records, fetch_rows, upsert

if TYPE_CHECKING:
    import pandas as pd

MANY = 500  # runs of which each is named in a query
WAIT_SECONDS = 300.0  # for a server that has gone away
GROUP = ("suite", "protocol", "recipe_kind", "base", "source", "languages_hash")  # what runs of one table share

_OF_RUN = (
    *("method", "kind", "transform", "config", "base", "base_fingerprint", "recipe", "recipe_kind", "recipe_hash"),
    *("protocol", "suite", "source", "data_fingerprint", "languages", "languages_hash"),
    *("align_seed", "finetune_seed", "status", "serial", "card", *schema.LATER),
)
SUMMARY = (*schema.summary.c.keys(), *_OF_RUN)  # the names of what `Store.summaries` gives


class Store:
    """Runs, stages, scores and summaries. Writers in several processes wait for each other; readers never wait.

    Every method that writes is one transaction, and may be repeated. Runs and summaries are read as records, since
    commands that print them should not have to import pandas; scores and stages as tables.
    """

    def __init__(self, engine: Engine, url: URL, read_only: bool = False) -> None:
        self._engine, self._url, self.read_only = engine, url, read_only

    @classmethod
    def open(cls, location: str | Path, *, create: bool = False, read_only: bool = False) -> Store:
        """The store at a path (SQLite) or URL, its schema brought up to date unless `read_only`.

        Raises UserError where it is missing (unless `create`), damaged, unreachable, or of a newer schema.
        """
        url = parse(location)
        store = cls(connect(url, create=create, read_only=read_only), url, read_only)
        if not read_only:
            store.interrupt_dead_runs()
        return store

    def close(self) -> None:
        self._engine.dispose()

    def retry(self, work: Callable[[], None]) -> None:
        """Does work that may be repeated; does it again where the server has gone away meanwhile and is back."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return work()
            except LostConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    @property
    def place(self) -> str:
        """The file's path, or the URL with its password hidden: for messages."""
        return display_url(self._url)

    @property
    def location(self) -> str:
        """What `open` accepts: the file's absolute path, or the URL without its password."""
        if self._url.get_backend_name() == "sqlite":
            return str(Path(str(self._url.database)).absolute())
        secret = [name for name in self._url.query if "password" in name]
        return self._url._replace(password=None).difference_update_query(secret).render_as_string()

    def add_run(self, run: RunRow) -> None:
        """Adds a run as the newest, or replaces all but `created` of the run with this id; an unfinished one also keeps
        the names of its source and base, so that it stays in its table where these were moved. A running one is leased
        to this process, which has to say that it lives (`beat`)."""
        table = schema.run
        known = sa.select(table.c.status).where(table.c.id == run.id)
        lease = {"owner": this_process(), "heartbeat": schema.now()} if run.status == "running" else {}
        with self.transaction() as connection:
            names = ("source", "base") if connection.execute(known).scalar() in schema.UNFINISHED else ()
            last = connection.execute(sa.select(sa.func.max(table.c.serial))).scalar() or 0
            row = {"owner": "", "heartbeat": None} | asdict(run) | lease
            row |= {"languages": list(run.languages), "serial": last + 1}
            upsert(connection, table, [row], keep=("created", *names, *schema.LATER))

    def unfinished_versions(self, run: RunRow) -> list[dict[str, Any]]:
        """The unfinished runs with the recipe, seeds and places of `run`, whose data or base were others: nothing can
        resume them."""
        table, place = schema.run, [run.recipe.get(name) for name in ("source", "base")]
        same = ("kind", "method", "recipe_hash", "align_seed", "finetune_seed")
        equal = [table.c[name] == getattr(run, name) for name in same]
        query = sa.select(table).where(*equal, table.c.id != run.id, table.c.status.in_(schema.UNFINISHED))
        rows = self._records(query)
        return [row for row in rows if [row["recipe"].get(name) for name in ("source", "base")] == place]

    def add_alignment(self, run: str, facts: Mapping[str, Any], *, version: str | None = None) -> None:
        """Adds facts about a run's alignment: its data (see `harness.data.overlap`), and the weights of the masked-LM
        head that its base lacked (`initialised`)."""
        column = schema.run.c.alignment
        with self._write_run(run, version) as connection:
            known = connection.execute(sa.select(column).where(schema.run.c.id == run)).scalar_one()
            values = {"alignment": {**(known or {}), **facts}}
            connection.execute(sa.update(schema.run).where(schema.run.c.id == run).values(values))

    def set_status(self, run: str, status: str, error: str | None = None, *, version: str | None = None) -> None:
        """Sets the status of a run, and the time `finished` where the run has ended."""
        ended = status not in ("planned", "running")
        values = {"status": status, "error": error, "finished": schema.now() if ended else None}
        with self._write_run(run, version) as connection:
            changed = connection.execute(sa.update(schema.run).where(schema.run.c.id == run).values(values))
            assert changed.rowcount == 1, f"no run {run}"

    def give_up(self, run: str, status: str, error: str | None = None) -> None:
        """Sets the status of a run that ends unfinished, unless another process has it by now, or has finished it."""
        column, values = schema.run.c, {"status": status, "error": error, "finished": schema.now()}
        mine = [column.id == run, column.owner == this_process(), column.status == "running"]
        with self.transaction() as connection:
            connection.execute(sa.update(schema.run).where(*mine).values(values))

    def beat(self) -> None:
        """Says that this process, which has some running runs, lives."""
        column = schema.run.c
        mine = [column.owner == this_process(), column.status == "running"]
        with self.transaction() as connection:
            connection.execute(sa.update(schema.run).where(*mine).values(heartbeat=schema.now()))

    def interrupt_dead_runs(self) -> None:
        """Gives the running runs whose process is gone the status that they have."""
        if dead := self._dead_runs():
            column = schema.run.c
            with self.transaction() as connection:
                for run, owner in dead.items():
                    same = [column.id == run, column.owner == owner, column.status == "running"]
                    values = {"status": "interrupted", "finished": schema.now()}
                    connection.execute(sa.update(schema.run).where(*same).values(values))

    def _dead_runs(self) -> dict[str, str]:
        """The running runs whose process is gone, with that process."""
        column = schema.run.c
        query = sa.select(column.id, column.owner, column.heartbeat).where(column.status == "running")
        with database_errors(self._url), self._engine.connect() as connection:
            return {run: owner for run, owner, beat in connection.execute(query) if not lives(owner, beat)}

    def put_stage(self, stage: StageRow) -> None:
        """Adds a stage, or replaces the one with this fingerprint."""
        with self.transaction() as connection:
            upsert(connection, schema.stage, [asdict(stage)])

    def link_stage(self, run: str, fingerprint: str, hit: bool, *, version: str | None = None) -> None:
        """Stores that a run used a stage; `hit` where it was reused."""
        with self._write_run(run, version) as connection:
            upsert(connection, schema.run_stage, [{"run": run, "fingerprint": fingerprint, "hit": hit}])

    def keep_stages(self, run: str, fingerprints: Collection[str], *, version: str | None = None) -> None:
        """Forgets the stages that a run has used before its code changed, and their scores; `fingerprints` are those
        of its plan. Measures and maps that were added later are kept only where no stage has changed."""
        link, stage, score = schema.run_stage, schema.stage.c, schema.score
        others = link.c.fingerprint.not_in(list(fingerprints))
        of_run = sa.select(link.c.fingerprint).join(schema.stage, stage.fingerprint == link.c.fingerprint)
        with self._write_run(run, version) as connection:
            if connection.execute(of_run.where(link.c.run == run, others, stage.kind != "project")).first():
                connection.execute(sa.delete(link).where(link.c.run == run, others))
                connection.execute(sa.delete(score).where(score.c.run == run, score.c.stage.not_in(list(fingerprints))))

    def put_scores(self, run: str, rows: Sequence[ScoreRow], *, version: str | None = None) -> None:
        """Adds or replaces scores of a run, all or none.

        Scores of an earlier stage for the same task, view, split, selection and metric are replaced: where code or data
        changed, the stage has a new fingerprint. Raises LostRunError where the run has another `version` by now.
        """
        assert all(math.isfinite(row.value) for row in rows), "a score is a finite number"
        values = [{"run": run, **asdict(row), "point": row.step if row.split == "dev" else 0} for row in rows]
        names = ("task", "view", "split", "selection", "metric", "stage")
        cells = {tuple(getattr(row, name) for name in names) for row in rows if row.split == "dev"}
        column = schema.score.c
        same = [column[name] == sa.bindparam(f"its_{name}") for name in names[:-1]]
        former = sa.delete(schema.score).where(column.run == run, *same, column.stage != sa.bindparam("its_stage"))
        with self._write_run(run, version) as connection:
            if cells:  # an earlier curve may have other points
                keys = [f"its_{name}" for name in names]
                connection.execute(former, [dict(zip(keys, cell, strict=True)) for cell in sorted(cells)])
            upsert(connection, schema.score, values)

    def refresh_summary(
        self,
        run: str,
        expected: Mapping[str, Sequence[str]],
        metric: Mapping[str, str],
        *,
        split: str = "test",
        version: str | None = None,
    ) -> None:
        """Recomputes the run's averages. `expected` lists every task's views in the order of the suite, and is stored
        with the run; `metric` names every task's official metric."""
        with self._write_run(run, version) as connection:
            views = {task: list(listed) for task, listed in expected.items()}
            connection.execute(sa.update(schema.run).where(schema.run.c.id == run).values(views=views))
            put_averages(connection, run, expected, metric, split)

    def delete_run(self, run: str) -> None:
        """Removes a run with its scores and summaries; stages stay, since other runs may share them."""
        with self.transaction() as connection:
            connection.execute(sa.delete(schema.run).where(schema.run.c.id == run))

    def runs(self, columns: Sequence[str] = (), newest: int | None = None, **where: Where) -> list[dict[str, Any]]:
        """One record per run, in the order in which they were added, with all or some columns of the table `run`; at
        most the `newest` ones."""
        table = schema.run
        chosen = [table.c[name] for name in columns] or list(table.c)
        query = sa.select(*chosen).where(*conditions(where, table)).order_by(table.c.serial.desc(), table.c.id.desc())
        found = self._records(query.limit(newest))[::-1]
        running = [row for row in found if row.get("status") == "running" and "id" in row]
        dead = self._dead_runs() if running else {}  # a reader cannot correct them
        for row in running:
            row["status"] = "interrupted" if row["id"] in dead else "running"
        return found

    def groups(self) -> pd.DataFrame:
        """One row per group of runs that one table may hold: their key, how many `runs` there are, how many are
        `scored` on test data and how many are `open` (planned or running). Superseded runs are left out."""
        run, summary = schema.run.c, schema.summary.c
        scored = sa.exists().where(summary.run == run.id, summary.split == "test")
        is_open = sa.and_(run.status.in_(["planned", "running"]), run.id.not_in(list(self._dead_runs())))
        counts = {"runs": sa.true(), "scored": scored, "open": is_open}
        sums = [sa.func.sum(sa.case((which, 1), else_=0)).label(name) for name, which in counts.items()]
        key = [run[name] for name in GROUP]
        return self._read(sa.select(*key, *sums).where(_is_current()).group_by(*key).order_by(*key))

    def scores(self, **where: Where) -> pd.DataFrame:
        """One row per score with its run's settings, without those of superseded runs. Filters are columns of the
        result, each a value or a list."""
        import numpy as np
        import pandas as pd

        run = schema.run
        current = [*conditions(where, schema.score, run), _is_current()]
        with self.snapshot() as connection:
            rows = fetch(connection, sa.select(schema.score).join(run, run.c.id == schema.score.c.run).where(*current))
            runs = fetch(connection, _of_runs(list(rows["run"].unique())))
        places = pd.Index(runs["run"]).get_indexer(rows["run"])
        ranks = [  # faster than the database sorts
            pd.factorize(rows[name], sort=True)[0] if name in rows else pd.factorize(runs[name], sort=True)[0][places]
            for name in ("step", "run", "view", "task", "finetune_seed", "align_seed", "method")
        ]
        chosen = np.lexsort(ranks)
        found = rows.take(chosen).reset_index(drop=True)
        own_settings = runs.drop(columns=["run", *(name for name in runs if name in rows)]).take(places[chosen])
        return pd.concat([found, own_settings.reset_index(drop=True)], axis=1)

    def cells(self, columns: Sequence[str] = (), **where: Where) -> pd.DataFrame:
        """One row per score, without its run's settings, with all or some columns of the table `score`, of which any
        may be a filter."""
        table = schema.score
        chosen = [table.c[name] for name in columns] or list(table.c)
        return self._read(sa.select(*chosen).where(*conditions(where, table)).order_by(*table.primary_key))

    def names(self, column: str, **where: Where) -> list[str]:
        """The suites, methods or tasks of this store: the values of a column of its runs or scores, all or some."""
        table = schema.run if column in schema.run.c else schema.score
        query = sa.select(table.c[column]).distinct().where(*conditions(where, table))
        return [str(row[column]) for row in self._records(query)]

    def score_rows(self, columns: Sequence[str], **where: Where) -> list[tuple[Any, ...]]:
        """Columns of the table `score` as plain rows in the order of its key, with the filters of `scores`."""
        score, run = schema.score, schema.run
        query = sa.select(*(score.c[name] for name in columns)).join(run, run.c.id == score.c.run)
        query = query.where(*conditions(where, score, run), _is_current()).order_by(*score.primary_key)
        with database_errors(self._url), self._engine.connect() as connection:
            return fetch_rows(connection, query)

    def count_scores(self) -> int:
        """The number of scores of all runs."""
        with database_errors(self._url), self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(schema.score)).scalar_one()

    def summaries(self, **where: Where) -> list[dict[str, Any]]:
        """One record per (run, task, selection) with its run's settings; the task `average` is the mean over tasks."""
        run, summary = schema.run, schema.summary
        query = sa.select(summary).join(run, run.c.id == summary.c.run)
        with self.snapshot() as connection:
            rows = fetch_records(connection, query.where(*conditions(where, summary, run), _is_current()))
            runs = fetch_records(connection, _of_runs(list({row["run"] for row in rows})))
        settings = {row["run"]: (place, row) for place, row in enumerate(sorted(runs, key=_run_order))}
        rows.sort(key=lambda row: (settings[row["run"]][0], row["position"]))
        return [row | settings[row["run"]][1] for row in rows]

    def links(self, **where: Where) -> pd.DataFrame:
        """One row per run and stage that it used, oldest first: the stage's columns, `run` and `hit`."""
        link = schema.run_stage
        query = sa.select(schema.stage, link.c.run, link.c.hit)
        query = query.join(link, link.c.fingerprint == schema.stage.c.fingerprint)
        return self._frame(query, where, order=("run", "started", "fingerprint"))

    def stages(self, run: str | None = None) -> pd.DataFrame:
        """One row per stage, oldest first; for one run also whether each was a `hit`."""
        if run is None:
            return self._frame(sa.select(schema.stage), {}, order=("started", "fingerprint"))
        return self.links(run=run)

    def stage_names(self) -> set[str]:
        """The fingerprints of all stages that were recorded here."""
        return set(self._read(sa.select(schema.stage.c.fingerprint))["fingerprint"])

    def used_stages(self) -> set[str]:
        """The fingerprints of the stages that runs have used."""
        return set(self._read(sa.select(schema.run_stage.c.fingerprint).distinct())["fingerprint"])

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection that sees the database as it is at one moment, while others write."""
        level = {} if self._engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        with (
            database_errors(self._url),
            self._engine.connect().execution_options(**level) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection that writes everything, or nothing where the block raises an exception."""
        with (
            database_errors(self._url),
            self._engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _write_run(self, run: str, version: str | None = None) -> Iterator[Connection]:
        """A transaction that changes one run, one after the other. Raises LostRunError where the run has another
        version by now."""
        column = schema.run.c
        with self.transaction() as connection:
            known = connection.execute(sa.select(column.version).where(column.id == run).with_for_update()).scalar()
            if version is not None and known != version:
                raise LostRunError(run)
            yield connection

    def _read(self, query: sa.Select[Any]) -> pd.DataFrame:
        with database_errors(self._url), self._engine.connect() as connection:
            return fetch(connection, query)

    def _records(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with database_errors(self._url), self._engine.connect() as connection:
            return fetch_records(connection, query)

    def _frame(self, query: sa.Select[Any], where: Mapping[str, Where], order: Sequence[str]) -> pd.DataFrame:
        inner = query.subquery()
        return self._read(
            sa.select(inner).where(*conditions(where, inner)).order_by(*(inner.c[name] for name in order))
        )


def _is_current() -> sa.ColumnElement[bool]:
    return schema.run.c.status != schema.SUPERSEDED


def _of_runs(names: Sequence[str]) -> sa.Select[Any]:
    """The settings of some runs. They are long, so they are read once per run."""
    column = schema.run.c
    settings = sa.select(column.id.label("run"), *(column[name] for name in _OF_RUN))
    return settings.where(column.id.in_(names)) if len(names) < MANY else settings


def _run_order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    seeds = [(seed is not None, seed or 0) for seed in (row["align_seed"], row["finetune_seed"])]
    return (row["method"], *seeds, row["run"])
