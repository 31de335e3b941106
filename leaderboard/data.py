"""What is read from the store: cached queries, each of one group of runs, so that cost grows with what is shown.

The store is opened for reading alone. What comes back is a copy that the caller may change.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd
import streamlit as st

from harness.errors import UserError
from harness.results.tables import TableKey
from harness.storage.home import database_url
from harness.storage.store import AVERAGE, Store
from harness.storage.store.database import parse
from harness.storage.store.queries import GROUP
from leaderboard.analysis.board import VALUES
from leaderboard.published import Published, load

FRESH_SECONDS, KEPT_SECONDS = 5, 600
OPEN = ("planned", "running")
FOREIGN = ("external", "published")  # kinds of runs that were not trained here
RUN_COLUMNS = (
    *("id", "method", "transform", "kind", "suite", "protocol", "recipe_kind", "base", "source"),
    *("align_seed", "finetune_seed", "status", "error", "created", "finished"),
)
F = TypeVar("F", bound=Callable[..., Any])


def location() -> str:
    """The store's path or URL: from the server's command line, else from the environment, else the default."""
    program, *given = sys.argv
    return given[0] if given and Path(program).name == "app.py" else database_url()


@contextmanager
def reading(place: str) -> Iterator[Store]:
    """The store, open for reading. Raises UserError where it cannot be read."""
    store = Store.open(place, read_only=True)
    try:
        yield store
    finally:
        store.close()


def cached(function: F) -> F:
    """Keeps answers until the store changes, so that a filter does not ask again and a live run is seen."""

    # all queries share one cache, since Streamlit tells functions apart by their text; so the name is part of the key
    @st.cache_data(ttl=KEPT_SECONDS, show_spinner=False, max_entries=60)
    def kept(name: str, state: tuple[object, ...], *given: object) -> Any:
        return function(*given)

    @functools.wraps(function)
    def asked(place: str, *given: object) -> Any:
        return kept(function.__qualname__, state(place), place, *given)

    return cast(F, asked)


def state(place: str) -> tuple[object, ...]:
    """What changes when the store does: times and sizes of an SQLite store's files; of any other, the clock."""
    url = parse(place)
    if url.get_backend_name() != "sqlite":
        return (time.monotonic() // FRESH_SECONDS,)
    files = [Path(f"{url.database}{ending}") for ending in ("", "-wal")]
    return tuple((found.st_mtime_ns, found.st_size) for file in files if (found := _stat(file)) and found.st_size)


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


@cached
def groups(place: str) -> pd.DataFrame:
    """One row per group of runs that one table may hold, as `Store.groups` tells them, largest first."""
    with reading(place) as store:
        found = store.groups()
    return found.sort_values(["scored", "runs"], ascending=False, kind="stable", ignore_index=True)


@cached
def summaries(place: str, key: TableKey) -> pd.DataFrame:
    """Test averages of the runs of one group."""
    where: Any = dict(zip(GROUP, key, strict=True))
    with reading(place) as store:
        return store.summaries(split="test", **where)


@cached
def foreign(place: str, suite: str) -> pd.DataFrame:
    """Test averages of the runs of a suite that were not trained here."""
    with reading(place) as store:
        return store.summaries(split="test", suite=suite, kind=list(FOREIGN))


@cached
def cells(place: str, runs: tuple[str, ...], split: str = "test", task: str | None = None) -> pd.DataFrame:
    """Single scores of some runs, without the runs' settings."""
    where: Any = {"task": task} if task else {}
    with reading(place) as store:
        return store.cells(run=list(runs), split=split, **where)


@cached
def values(
    place: str, runs: tuple[str, ...], task: str | None = None, views: tuple[str, ...] | None = None
) -> pd.DataFrame:
    """What tables need of the test scores of some runs, of one task or all, of some views or all."""
    where: Any = ({"task": task} if task else {}) | ({} if views is None else {"view": list(views)})
    with reading(place) as store:
        return store.cells(VALUES, run=list(runs), split="test", **where)


@cached
def links(place: str, runs: tuple[str, ...], kinds: tuple[str, ...] = ()) -> pd.DataFrame:
    """The stages that some runs used, one row per run and stage."""
    where: Any = {"kind": list(kinds)} if kinds else {}
    with reading(place) as store:
        return store.links(run=list(runs), **where)


@cached
def log(place: str, newest: int, statuses: tuple[str, ...] = ()) -> pd.DataFrame:
    """The newest runs, newest first, without their long columns."""
    where: Any = {"status": list(statuses)} if statuses else {}
    with reading(place) as store:
        return store.runs(RUN_COLUMNS, newest, **where).iloc[::-1].reset_index(drop=True)


@cached
def has_maps(place: str) -> bool:
    """Whether any run has been measured and mapped by `alignboard project`; no store has none."""
    try:
        with reading(place) as store:
            return not store.links(kind="project").empty
    except UserError:
        return False


@st.cache_resource(show_spinner=False)
def printed() -> Published:
    """The published figures that come with the board. Raises UserError where their file is not as it must be."""
    return load()


@cached
def run(place: str, name: str) -> dict[str, Any] | None:
    """All that is known of one run; None where there is no such run."""
    with reading(place) as store:
        found = store.runs(id=name)
    if found.empty:
        return None
    values = {str(key): value for key, value in found.iloc[0].to_dict().items()}
    return {key: None if isinstance(value, float) and pd.isna(value) else value for key, value in values.items()}


@cached
def progress(place: str, runs: tuple[str, ...]) -> pd.DataFrame:
    """How far runs are: `stages` that are there, `scored` of `expected` views, by run."""
    with reading(place) as store:
        stages = store.links(run=list(runs)).groupby("run").size().rename("stages").reset_index()
        averages = store.summaries(run=list(runs), split="test", task=AVERAGE)
    views = averages.groupby("run")[["n_views", "expected_views"]].max().reset_index()
    views = views.rename(columns={"n_views": "scored", "expected_views": "expected"})
    return stages.merge(views, on="run", how="outer").fillna(0)
