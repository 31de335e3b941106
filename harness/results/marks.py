"""Tables with ranks and marks: from the store where they were computed before, else from the verdicts.

What the store keeps is found by a digest of what it was computed from, so that printing a table again needs neither the
scores of single items nor SciPy, which is slow to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.code import code_hash
from harness.files import json_digest
from harness.results.labels import Record
from harness.results.tables import Marks, ResultRow, ResultTable, add_marks, group_by_run, tables_by_task
from harness.storage.store import Store
from harness.storage.store.verdicts import read_verdict, write_verdict

_VERDICTS = "harness.results.verdicts"
_OF_FIGURE = ("task", "metric", "selection", "value", "complete", "origin")


def judged_tables(store: Store, summaries: Sequence[Record], artifacts: Path, selection: str) -> list[ResultTable]:
    """The tables by task with ranks and marks, which are computed where the store does not have them."""
    records = group_by_run(summaries)
    return [
        add_marks(table, _table_marks(store, table, records, artifacts))
        for table in tables_by_task(summaries, selection)
    ]


def _table_marks(store: Store, table: ResultTable, records: Mapping[str, Sequence[Record]], artifacts: Path) -> Marks:
    code = code_hash(_VERDICTS)
    key = json_digest([table.selection, table.columns, [_contents(row, records) for row in table.rows]])
    if stored := read_verdict(store, code, key):
        return Marks.from_json(stored)
    from harness.results.item_reader import ItemReader
    from harness.results.verdicts import table_verdicts

    own = [record for row in table.rows for run in row.runs for record in records[run]]
    verdicts = table_verdicts(ItemReader(store, artifacts, own), table)
    marks = verdicts.marks(table)
    if verdicts.known:
        write_verdict(store, code, key, marks.to_json())
    return marks


def _contents(row: ResultRow, records: Mapping[str, Sequence[Record]]) -> list[Any]:
    """All of a row that its verdicts depend on."""
    first = records[row.runs[0]][0]
    control = (first["card"] or {}).get("control")
    runs = [
        [own[0]["kind"], own[0]["align_seed"], own[0]["finetune_seed"], *([r[n] for n in _OF_FIGURE] for r in own)]
        for own in (records[run] for run in row.runs)
    ]
    return [row.label, row.method, row.transform, control, row.data, runs]
