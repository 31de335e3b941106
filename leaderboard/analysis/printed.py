"""Published figures as rows of the board: they stand in a band of their own and enter no comparison."""

from __future__ import annotations

from dataclasses import replace

from harness.results.tables import ResultCell, ResultRow, ResultTable
from harness.storage.store import AVERAGE
from leaderboard.published import Published, PublishedRow

BADGE = "published"


def with_published(results: ResultTable, published: Published) -> ResultTable:
    """A table by task with the printed rows of its suite below it, and where they are from in its notes."""
    tables = [table for table in published.tables if table.suite == results.key.suite]
    rows = [_row(row) for table in tables for row in table.rows]
    return replace(results, rows=(*results.rows, *rows))


def sources(published: Published, suite: str) -> list[str]:
    """Where the printed rows of a suite are from, and what must be known of them."""
    tables = [table for table in published.tables if table.suite == suite]
    return [
        " ".join(filter(None, (f"{table.title}:", published.source(table).citation + ".", table.note)))
        for table in tables
    ]


def _row(row: PublishedRow) -> ResultRow:
    cells = {task: ResultCell((value,), 1, 1) for task, value in row.scores.items()}
    if row.average is not None:
        cells[AVERAGE] = ResultCell((row.average,), 1, 1)
    label = f"{row.method} ({row.base})" if row.base else row.method
    return ResultRow(label, row.method, "", BADGE, 1, cells)
