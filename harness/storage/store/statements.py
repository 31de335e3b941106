"""Parts of statements that several queries share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harness.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

_PLAIN = (sa.Text, sa.Double, sa.Integer, sa.BigInteger)
Where = str | int | bool | Sequence[str]


def fetch(connection: Connection, query: sa.Select[Any]) -> pd.DataFrame:
    """The rows of a query as a table."""
    import pandas as pd

    names, rows = [column.key for column in query.selected_columns], fetch_rows(connection, query)
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pd.DataFrame(dict(zip(names, map(list, columns), strict=True)), columns=names)  # by column: twice as fast


def fetch_records(connection: Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    """The rows of a query as dictionaries."""
    names = [str(column.key) for column in query.selected_columns]
    return [dict(zip(names, row, strict=True)) for row in fetch_rows(connection, query)]


def fetch_rows(connection: Connection, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
    """The rows of a query. Where every column holds what the driver gives, they are taken as they are."""
    result = connection.execute(query)
    plain = all(type(column.type) in _PLAIN for column in query.selected_columns)
    rows: Any = result.cursor.fetchall() if plain and result.cursor else result.all()
    return list(rows)


def conditions(where: Mapping[str, Where], *tables: sa.FromClause) -> list[sa.ColumnElement[bool]]:
    """Filters by column name; a name in several tables means that of the first table."""
    columns = {column.name: column for table in reversed(tables) for column in table.c}
    for name in where:
        if name not in columns:
            raise unknown("filter", name, columns)
    return [_matches(columns[name], value) for name, value in where.items()]


def _matches(column: sa.ColumnElement[Any], value: Where) -> sa.ColumnElement[bool]:
    if isinstance(value, (str, int)):
        return column == value
    return column.in_(list(value))


def upsert(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, keep: Sequence[str] = ()
) -> None:
    """Inserts rows; existing ones (by primary key) are overwritten except for the columns in `keep`."""
    if not rows:
        return
    statement = _insert(connection, table)
    keys = [column.name for column in table.primary_key]
    changed = {c.name: statement.excluded[c.name] for c in table.c if c.name not in (*keys, *keep)}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))


def insert_new(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows; existing ones (by primary key) stay as they are."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), list(rows))


def _insert(connection: Connection, table: sa.Table) -> Any:
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")  # PostgreSQL's is slow to import
    return dialect.insert(table)
