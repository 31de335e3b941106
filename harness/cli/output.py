"""How commands print: tables for people, JSON for programs. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

UNBOUNDED = 100_000  # columns


def print_json(value: Any) -> None:
    """Prints indented JSON, Unicode as it is; what JSON has no type for is printed as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> None:
    """Prints one row per record and one column per key, folded to the terminal's width; never cut in a pipe."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for record in records:
        table.add_row(*(Text(cell(record.get(column))) for column in columns))
    print_rich(table)


def print_rich(table: RenderableType) -> None:
    """Prints a table as wide as the terminal allows; in a pipe, as wide as it is."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, Console(width=UNBOUNDED).measure(table).maximum)
    console.print(table)


def print_fields(record: Mapping[str, Any]) -> None:
    """Prints `name: value` lines, the values aligned; empty values are left out."""
    width = max(len(key) for key in record) + 1
    for key, value in record.items():
        if text := cell(value):
            typer.echo(f"{key.replace('_', ' ') + ':':<{width}} {text}")


def cell(value: Any) -> str:
    """A value as a person reads it: nothing for None, a comma list for a sequence."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return str(value)
