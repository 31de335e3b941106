"""Cached queries of the store, each for one group of runs, so that their cost grows with what is shown.

The store is opened read-only. Every answer is a copy that the caller may change.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd
import streamlit as st

from harness.errors import UserError
from harness.results.attribution import Attribution, attribute_gain
from harness.results.item_reader import ItemReader
from harness.results.tables import ResultTable, TableKey, frame_records
from harness.results.verdicts import ComparedLine, Verdicts, compare_rows, table_verdicts
from harness.storage.home import artifacts_root, database_url
from harness.storage.store import AVERAGE, Store
from harness.storage.store.database import parse
from harness.storage.store.queries import GROUP
from leaderboard.analysis.board import VALUES, TableChoice, build_tables, record_frame, task_groups
from leaderboard.published import Published, load

FRESH_SECONDS, KEPT_SECONDS = 5, 600
FOREIGN = ("external", "published")  # kinds of runs that were not trained here
LOG_COLUMNS = (
    *("id", "method", "transform", "kind", "config", "recipe", "recipe_hash", *GROUP),
    *("align_seed", "finetune_seed", "status", "error", "created", "finished"),
)
F = TypeVar("F", bound=Callable[..., Any])


def location() -> str:
    """The store's path or URL: from the server's command line, else from the environment, else the default."""
    program, *arguments = sys.argv
    return arguments[0] if arguments and Path(program).parent.name == "shell" else database_url()


@contextmanager
def open_store(place: str) -> Iterator[Store]:
    """The store, opened read-only. Raises UserError if it cannot be read."""
    store = Store.open(place, read_only=True)
    try:
        yield store
    finally:
        store.close()


def cached(function: F) -> F:
    """Caches a query until the store changes, so that a filter costs nothing and a live run is followed."""

    # Streamlit identifies functions by their source, so all queries share one cache and the name is part of the key
    @st.cache_data(ttl=KEPT_SECONDS, show_spinner=False, max_entries=60)
    def query(name: str, version: tuple[object, ...], *arguments: object) -> Any:
        return function(*arguments)

    @functools.wraps(function)
    def cached_query(place: str, *arguments: object) -> Any:
        return query(function.__qualname__, store_version(place), place, *arguments)

    return cast(F, cached_query)


def store_version(place: str) -> tuple[object, ...]:
    """A value that changes with the store: times and sizes of an SQLite store's files; for others, the clock."""
    url = parse(place)
    if url.get_backend_name() != "sqlite":
        return (time.monotonic() // FRESH_SECONDS,)
    version: list[tuple[int, int]] = []
    for file in (Path(f"{url.database}{ending}") for ending in ("", "-wal")):
        with suppress(OSError):
            stat = file.stat()
            version += [(stat.st_mtime_ns, stat.st_size)] if stat.st_size else []
    return tuple(version)


@cached
def groups(place: str) -> pd.DataFrame:
    """One row per group of runs that share a table, as `Store.groups` returns them, largest first."""
    with open_store(place) as store:
        found = store.groups()
    return found.sort_values(["scored", "runs"], ascending=False, kind="stable", ignore_index=True)


@cached
def summaries(place: str, key: TableKey) -> pd.DataFrame:
    """Test averages of the runs of one group."""
    where: Any = dict(zip(GROUP, key, strict=True))
    with open_store(place) as store:
        return record_frame(store.summaries(split="test", **where))


@cached
def verdicts(place: str, key: TableKey, selection: str) -> Verdicts | None:
    """What the seeds and the items of a group's table by task can tell; None if it has no table.

    Raises UserError where stored statistics do not give the stored scores.
    """
    frame = summaries(place, key)
    tables = _tables(frame, selection)
    if not tables:
        return None
    with open_store(place) as store:
        return table_verdicts(_reader(store, frame), tables[0], task_groups(frame))


def _reader(store: Store, frame: pd.DataFrame) -> ItemReader:
    return ItemReader(store, artifacts_root(), frame_records(frame))


def _tables(frame: pd.DataFrame, selection: str) -> list[ResultTable]:
    """The tables by task, with the names of rows that pages show."""
    return build_tables(frame, pd.DataFrame(), TableChoice(selection=selection))


@cached
def comparisons(
    place: str,
    key: TableKey,
    selection: str,
    base: str,
    others: tuple[str, ...],
    task: str | None = None,
    views: tuple[str, ...] | None = None,
) -> dict[str, list[ComparedLine]]:
    """The differences of rows from a base row, by label: by task and on average, or of one `task` by some `views`.

    A row that cannot be compared has no lines: it has other seeds or other test items, its stored statistics do not
    give its scores, or it was not trained here.
    """
    frame = summaries(place, key)
    found: dict[str, list[ComparedLine]] = {}
    tasks = None if task is None else [task]
    groups = task_groups(frame) if task is None else None
    with open_store(place) as store:
        reader = _reader(store, frame)
        for table in _tables(frame, selection):
            for label in others:
                with suppress(UserError):
                    pair, by_view = (label, base), views is not None
                    found[label] = compare_rows(reader, table, pair, by_view, tasks, views, groups)
    return found


@cached
def attributions(place: str, key: TableKey, selection: str, labels: tuple[str, ...]) -> dict[str, Attribution]:
    """Where the gains of rows come from, by label; a row is left out where its controls cannot be compared with it."""
    frame = summaries(place, key)
    found: dict[str, Attribution] = {}
    with open_store(place) as store:
        reader, groups = _reader(store, frame), task_groups(frame)
        for table in _tables(frame, selection):
            for label in labels:
                with suppress(UserError):
                    found[label] = attribute_gain(reader, table, label, groups=groups)
    return found


@cached
def foreign_summaries(place: str, suite: str) -> pd.DataFrame:
    """Test averages of the runs of a suite that were not trained here."""
    with open_store(place) as store:
        return record_frame(store.summaries(split="test", suite=suite, kind=list(FOREIGN)))


@cached
def cells(place: str, runs: tuple[str, ...], split: str = "test", task: str | None = None) -> pd.DataFrame:
    """Single scores of some runs, without the settings of the runs."""
    where: Any = {"task": task} if task else {}
    with open_store(place) as store:
        return store.cells(run=list(runs), split=split, **where)


@cached
def table_values(
    place: str, runs: tuple[str, ...], task: str | None = None, views: tuple[str, ...] | None = None
) -> pd.DataFrame:
    """The columns of test scores that tables need, of some runs; of one task or all, of some views or all."""
    where: Any = ({"task": task} if task else {}) | ({} if views is None else {"view": list(views)})
    with open_store(place) as store:
        return store.cells(VALUES, run=list(runs), split="test", **where)


@cached
def links(place: str, runs: tuple[str, ...], kinds: tuple[str, ...] = ()) -> pd.DataFrame:
    """The stages that some runs used, one row per run and stage."""
    where: Any = {"kind": list(kinds)} if kinds else {}
    with open_store(place) as store:
        return store.links(run=list(runs), **where)


@cached
def sharing_runs(place: str, fingerprints: tuple[str, ...]) -> dict[str, int]:
    """The number of runs that use each of some stages."""
    with open_store(place) as store:
        used = store.links(fingerprint=list(fingerprints))
    return {str(name): int(count) for name, count in used.groupby("fingerprint")["run"].nunique().items()}


@cached
def newest_runs(place: str, newest: int, statuses: tuple[str, ...] = ()) -> pd.DataFrame:
    """The `newest` runs, newest first, without their long columns."""
    where: Any = {"status": list(statuses)} if statuses else {}
    with open_store(place) as store:
        return record_frame(store.runs(LOG_COLUMNS, newest, **where)[::-1], LOG_COLUMNS)


@cached
def has_maps(place: str) -> bool:
    """Whether `alignboard project` has mapped any run. False without a store."""
    try:
        with open_store(place) as store:
            return not store.links(kind="project").empty
    except UserError:
        return False


@st.cache_resource(show_spinner=False)
def published_figures() -> Published:
    """The published figures that come with the board. Raises UserError if their file is invalid."""
    return load()


@cached
def run(place: str, name: str) -> dict[str, Any] | None:
    """All columns of one run; None if there is no such run."""
    with open_store(place) as store:
        found = store.runs(id=name)
    return found[0] if found else None


@cached
def progress(place: str, runs: tuple[str, ...]) -> pd.DataFrame:
    """The progress of runs: finished `stages`, `scored` of `expected` views; a line for each `run`."""
    with open_store(place) as store:
        stages = store.links(run=list(runs)).groupby("run").size().rename("stages").reset_index()
        averages = record_frame(store.summaries(run=list(runs), split="test", task=AVERAGE))
    views = averages.groupby("run")[["n_views", "expected_views"]].max().reset_index()
    views = views.rename(columns={"n_views": "scored", "expected_views": "expected"})
    return stages.merge(views, on="run", how="outer").fillna(0)
