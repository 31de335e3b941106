"""Single scores as JSON. A store may hold millions, so what they share is encoded once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from harness.results.overlaps import overlap_counts
from harness.results.tables import seed_label
from harness.storage.store import Store

_OF_RUN = ("method", "base", "suite", "protocol", "source", "transform", "kind")
_OF_CELL = ("task", "view", "language", "split", "selection", "metric")
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def score_json(store: Store, **where: Any) -> Iterator[str]:
    """A JSON list in pieces of text: one record per score that passes the filter, sorted by method, seed and run."""
    columns = ("id", "recipe_kind", "align_seed", "finetune_seed", "alignment", *_OF_RUN)
    scores = store.score_rows(("run", *_OF_CELL, "value", "n"), **where)
    own = {run: list(rows) for run, rows in groupby(scores, key=itemgetter(0))}
    mark = "[\n"
    for run in sorted(store.runs(columns), key=_order):
        if rows := own.get(run["id"]):
            yield mark + ",\n".join(_run_texts(run, rows))
            mark = ",\n"
    yield "[]\n" if mark == "[\n" else "\n]\n"


def _order(run: Mapping[str, Any]) -> tuple[Any, ...]:
    seeds = [(seed is None, seed) for seed in (run["align_seed"], run["finetune_seed"])]
    return (run["method"], *seeds, run["id"])


def _run_texts(run: Mapping[str, Any], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    known = {name: run[name] for name in _OF_RUN}
    shared = _fields({"seed": seed_label(run), **known, "recipe": run["recipe_kind"], "run": run["id"]})
    alignment = _encode(run["alignment"]) if run["alignment"] else ""
    for _, task, view, language, split, selection, metric, value, n in rows:
        cell = _cell_fields(task, view, language, split, selection, metric)
        overlap = _overlap(alignment, task, view) if alignment and split == "test" else "null"
        figures = f'"value": {_number(value)}, "n": {_number(n)}, "contamination": {overlap}'
        yield f"  {{{shared}, {cell}, {figures}}}"


def _number(value: Any) -> str:
    return repr(value) if type(value) in (float, int) else _encode(value)  # a damaged store holds anything


@cache
def _cell_fields(*values: str) -> str:
    return _fields(dict(zip(_OF_CELL, values, strict=True)))


@cache
def _overlap(alignment: str, task: str, view: str) -> str:
    """What a test set shares with alignment data, of which many runs have the same."""
    return _encode(overlap_counts(json.loads(alignment), task, (view,)))


def _fields(record: Mapping[str, Any]) -> str:
    return _encode(record)[1:-1]
