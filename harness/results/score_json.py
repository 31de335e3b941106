"""Single scores as JSON. A store may hold millions, so what they share is encoded once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from harness.results.overlaps import overlap_counts
from harness.results.tables import frame_records, seed_label
from harness.storage.store import Store

_OF_RUN = ("method", "base", "suite", "protocol", "source", "transform", "kind")
_OF_CELL = ("task", "view", "language", "split", "selection", "metric")
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def score_json(store: Store, **where: Any) -> Iterator[str]:
    """A JSON list in pieces of text: one record per score that passes the filter, sorted by method, seed and run."""
    columns = ("id", "recipe_kind", "align_seed", "finetune_seed", "alignment", *_OF_RUN)
    runs = store.runs(columns).sort_values(["method", "align_seed", "finetune_seed", "id"])
    rows = store.score_rows(("run", *_OF_CELL, "value", "n"), **where)
    scores = {run: list(own) for run, own in groupby(rows, key=itemgetter(0))}
    overlaps = _Overlaps()
    mark = "[\n"
    for run in frame_records(runs):
        if own := scores.get(run["id"]):
            yield mark + ",\n".join(_run_texts(run, own, overlaps))
            mark = ",\n"
    yield "[]\n" if mark == "[\n" else "\n]\n"


def _run_texts(run: Mapping[str, Any], rows: list[tuple[Any, ...]], overlaps: _Overlaps) -> Iterator[str]:
    known = {name: run[name] for name in _OF_RUN}
    shared = _fields({"seed": seed_label(run), **known, "recipe": run["recipe_kind"], "run": run["id"]})
    alignment = overlaps.remember(run["alignment"])
    for _, task, view, language, split, selection, metric, value, n in rows:
        cell = _cell_fields(task, view, language, split, selection, metric)
        overlap = overlaps.text(alignment, task, view) if split == "test" and alignment else "null"
        figures = f'"value": {_number(value)},\n    "n": {_number(n)},\n    "contamination": {overlap}'
        yield f"  {{\n{shared},\n{cell},\n    {figures}\n  }}"


def _number(value: Any) -> str:
    return repr(value) if type(value) in (float, int) else _encode(value)  # a damaged store holds anything


@cache
def _cell_fields(*values: str) -> str:
    return _fields(dict(zip(_OF_CELL, values, strict=True)))


def _fields(record: Mapping[str, Any]) -> str:
    return ",\n".join(f"    {_encode(name)}: {_encode(value)}" for name, value in record.items())


class _Overlaps:
    """Encoded overlaps of test sets with alignment data, of which many runs share the same."""

    def __init__(self) -> None:
        self.alignments: dict[str, Mapping[str, Any]] = {}
        self.texts: dict[tuple[str, str, str], str] = {}

    def remember(self, alignment: Mapping[str, Any]) -> str:
        """The key of alignment data; empty where nothing is known."""
        key = json.dumps(alignment, sort_keys=True, default=str) if alignment else ""
        self.alignments[key] = alignment
        return key

    def text(self, key: str, task: str, view: str) -> str:
        found = self.texts.get((key, task, view))
        if found is None:
            counts = overlap_counts(self.alignments[key], task, (view,))
            found = json.dumps(counts, indent=2, ensure_ascii=False).replace("\n", "\n    ")
            self.texts[key, task, view] = found
        return found
