"""How commands print: tables for people, JSON for programs. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import typer

from harness.cli.paragraphs import filled, reflowed

if TYPE_CHECKING:
    from rich.console import RenderableType

UNBOUNDED = 100_000  # columns
GAP = 3  # columns between two columns of a table
EDGES = 2
LEAST = 20  # columns that a text needs beside names that are not broken
MEASURE = 120  # columns of running text at most


def print_json(value: Any) -> None:
    """Prints indented JSON, Unicode as it is; what JSON has no type for is printed as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> None:
    """Prints one row per record and one column per key, wrapped to the terminal's width, single words whole where
    there is room for them; never cut in a pipe."""
    widths = _natural(columns, records)
    words = {c: w for c, w in widths.items() if not any(" " in cell(record.get(c)) for record in records)}
    room = sum(words.values()) + LEAST * (len(widths) - len(words)) + GAP * (len(widths) - 1) + EDGES
    whole = words if (terminal := terminal_width()) and room <= terminal else {}
    _print_table(columns, records, whole)


def print_lines(
    columns: Sequence[str], records: Sequence[Mapping[str, Any]], least: Mapping[str, int], rest: str
) -> None:
    """Prints one line per record: on a terminal as many columns as fit, those in `least` cut down to their width there
    where need be, and `rest` below where something is left out. In a pipe, everything."""
    natural, terminal = _natural(columns, records), terminal_width()
    shown = fitting(natural, least, terminal) if terminal else natural
    _print_table(list(shown), records, shown)
    if shown != natural:
        typer.echo(rest)


def fitting(natural: Mapping[str, int], least: Mapping[str, int], terminal: int) -> dict[str, int]:
    """The first columns of a table that fit into a terminal, with their widths. A column in `least` may be cut down to
    that width; room that is left goes to the first of these. The very first column is always there."""
    shown: dict[str, int] = {}
    room = terminal - EDGES + GAP
    for column, width in natural.items():
        needed = min(width, least.get(column, width))
        if shown and needed + GAP > room:
            break
        shown[column] = needed
        room -= needed + GAP
    for column, width in shown.items():
        more = max(0, min(natural[column] - width, room))
        shown[column] += more
        room -= more
    return shown


def _natural(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The width of each column as it is."""
    from rich.cells import cell_len

    texts = {column: [_title(column), *(cell(record.get(column)) for record in records)] for column in columns}
    return {column: max(cell_len(line) for t in found for line in t.split("\n")) for column, found in texts.items()}


def _title(column: str) -> str:
    return column.replace("_", " ")


def _print_table(columns: Sequence[str], records: Sequence[Mapping[str, Any]], widths: Mapping[str, int]) -> None:
    """Prints the columns, those in `widths` so wide and each cell of them in one line."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        overflow: Literal["fold", "ellipsis"] = "ellipsis" if column in widths else "fold"
        width = widths.get(column)
        table.add_column(_title(column), width=width, no_wrap=column in widths, overflow=overflow)
    for record in records:
        table.add_row(*(Text(cell(record.get(column))) for column in columns))
    print_rich(table)


def print_rich(table: RenderableType) -> None:
    """Prints a table as wide as the terminal allows; in a pipe, as wide as it is."""
    from rich.console import Console

    console = Console(highlight=False)
    if terminal_width() is None:
        console.width = max(console.width, Console(width=UNBOUNDED).measure(table).maximum)
    console.print(table)


def terminal_width() -> int | None:
    """The columns of the terminal; None in a pipe."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else None


def print_text(text: str) -> None:
    """Prints paragraphs, set anew for the terminal's width; in a pipe, as they are."""
    terminal = terminal_width()
    typer.echo(text if terminal is None else reflowed(text, min(terminal, MEASURE)))


def print_fields(record: Mapping[str, Any]) -> None:
    """Prints `name: value` lines, the values aligned; empty values are left out."""
    width, terminal = max(len(key) for key in record) + 1, terminal_width()
    for key, value in record.items():
        if text := cell(value):
            line = f"{_title(key) + ':':<{width}} {text}"
            typer.echo(line if terminal is None else filled(line, terminal, "", " " * (width + 1)))


def cell(value: Any) -> str:
    """A value as a person reads it: nothing for None, a comma list for a sequence; inside of another, `none`, and
    brackets around a sequence."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(inner, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner(item)}" for key, item in value.items())
    return str(value)


def inner(value: Any) -> str:
    """A value as it stands inside of another, or alone where nothing would be misread."""
    if value is None:
        return "none"
    return f"({cell(value)})" if isinstance(value, (list, tuple)) else cell(value)
