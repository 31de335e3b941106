"""What the statistics have computed and the store keeps, each by the hash of the code that computed it.

Writing removes what other code has computed. A read-only store keeps nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from harness.storage.store import schema
from harness.storage.store.queries import Store
from harness.storage.store.statements import fetch_records, fetch_rows, upsert

Pair = tuple[str, str]


def read_item_variances(store: Store, code: str, keys: Sequence[str]) -> dict[Pair, tuple[float, float, int]]:
    """What `write_item_variances` stored for pairs of these keys, by sorted pair."""
    table = schema.comparison.c
    query = sa.select(table.first, table.second, table.item_variance, table.interaction, table.clusters)
    query = query.where(table.code == code, table.first.in_(keys), table.second.in_(keys))
    with store.snapshot() as connection:
        return {(first, second): tuple(parts) for first, second, *parts in fetch_rows(connection, query)}


def write_item_variances(store: Store, code: str, rows: Mapping[Pair, tuple[float, float, int]]) -> None:
    """Stores the item parts of the variances of differences, by sorted pair."""
    names = ("first", "second", "item_variance", "interaction", "clusters")
    _write(
        store, schema.comparison, code, [dict(zip(names, (*pair, *parts), strict=True)) for pair, parts in rows.items()]
    )


def read_verdict(store: Store, code: str, key: str) -> dict[str, Any] | None:
    """What `write_verdict` stored under this key."""
    table = schema.verdict.c
    with store.snapshot() as connection:
        found = fetch_records(connection, sa.select(table.found).where(table.code == code, table.key == key))
    return found[0]["found"] if found else None


def write_verdict(store: Store, code: str, key: str, found: Mapping[str, Any]) -> None:
    """Stores the ranks and marks of a table."""
    _write(store, schema.verdict, code, [{"key": key, "found": dict(found)}])


def _write(store: Store, table: sa.Table, code: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not store.read_only:
        with store.transaction() as connection:
            connection.execute(sa.delete(table).where(table.c.code != code))
            upsert(connection, table, [{"code": code, **row} for row in rows])
