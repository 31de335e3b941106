"""What the board's pages read of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.results.item_reader import ItemReader
from harness.results.tables import ResultRow, ResultTable, frame_records
from harness.results.verdicts import ComparedLine, compare_rows
from harness.storage.home import artifacts_root
from harness.storage.store import Store
from leaderboard.analysis import board
from leaderboard.analysis.board import TableChoice


class BoardData:
    """The frames of a store, and the tables and rows that the board makes of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        store = Store.open(path, read_only=True)
        self.summaries = board.record_frame(store.summaries(split="test", protocol="mini", kind="trained"))
        self.foreign = store.summaries(split="test", kind="external")
        self.cells = store.cells(split="test")
        self.dev = store.cells(split="dev")
        self.links = store.links()
        store.close()

    def table(self, **choice: object) -> ResultTable:
        return board.build_tables(self.summaries, self.cells, TableChoice(**choice))[0]  # type: ignore[arg-type]

    def row(self, label: str) -> ResultRow:
        return next(row for row in self.table().rows if row.label == label)

    def compare(self, label: str, base: str, *where: Any) -> list[ComparedLine]:
        """The lines of a row minus a base row: by task, or of one task (a list) by some views."""
        store = Store.open(self.path, read_only=True)
        reader = ItemReader(store, artifacts_root(), frame_records(self.summaries))
        lines = compare_rows(reader, self.table(), (label, base), len(where) > 1, *where)
        store.close()
        return lines
