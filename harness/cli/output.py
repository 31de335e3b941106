"""How commands print: tables for people, JSON for programs. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import typer

from harness.cli.paragraphs import fill_paragraph, reflow

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

UNLIMITED = 100_000  # columns
GAP = 3  # columns between two columns of a table
EDGES = 2
MIN_TEXT = 20  # columns that a text gets beside names that are kept in one line
MAX_LINE = 120  # columns of running text
STYLES = {"error": "bold red", "interrupted": "bold"}


def print_message(label: str, message: str) -> None:
    """Prints `label: message` to stderr, the label in colour on a terminal, lines neither wrapped nor cut."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble((f"{label}: ", STYLES.get(label, "yellow")), message))


def print_json(value: Any) -> None:
    """Prints indented JSON, Unicode as it is. Values of types that JSON lacks are printed as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> None:
    """Prints one row per record and one column per key, wrapped to the terminal's width. Columns of single words are
    not wrapped if the terminal is wide enough. In a pipe nothing is wrapped."""
    widths = _column_widths(columns, records)
    words = {c: w for c, w in widths.items() if not any(" " in format_value(record.get(c)) for record in records)}
    needed = sum(words.values()) + MIN_TEXT * (len(widths) - len(words)) + GAP * (len(widths) - 1) + EDGES
    terminal = terminal_width()
    _print_table(columns, records, words if terminal and needed <= terminal else {})


def print_list(
    columns: Sequence[str], records: Sequence[Mapping[str, Any]], minimum: Mapping[str, int], hint: str
) -> None:
    """Prints one line per record: on a terminal as many columns as fit, those in `minimum` cut down to that width where
    needed, and `hint` below if anything was left out. In a pipe, everything."""
    widths, terminal = _column_widths(columns, records), terminal_width()
    shown = fit_columns(widths, minimum, terminal) if terminal else widths
    _print_table(list(shown), records, shown)
    if shown != widths:
        typer.echo(hint)


def fit_columns(widths: Mapping[str, int], minimum: Mapping[str, int], terminal: int) -> dict[str, int]:
    """The first columns of a table that fit into a terminal, with their widths. A column in `minimum` may be cut down
    to that width; the first of these get the space that is left. The first column is always shown."""
    shown: dict[str, int] = {}
    left = terminal - EDGES + GAP
    for column, width in widths.items():
        needed = min(width, minimum.get(column, width))
        if shown and needed + GAP > left:
            break
        shown[column] = needed
        left -= needed + GAP
    for column, width in shown.items():
        more = max(0, min(widths[column] - width, left))
        shown[column] += more
        left -= more
    return shown


def _column_widths(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The width of each column without wrapping."""
    from rich.cells import cell_len

    texts = {c: [_column_title(c), *(format_value(record.get(c)) for record in records)] for c in columns}
    return {c: max(cell_len(line) for text in values for line in text.split("\n")) for c, values in texts.items()}


def _column_title(column: str) -> str:
    return column.replace("_", " ")


def _print_table(columns: Sequence[str], records: Sequence[Mapping[str, Any]], widths: Mapping[str, int]) -> None:
    """Prints the columns; those in `widths` have that width and are not wrapped."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        overflow: Literal["fold", "ellipsis"] = "ellipsis" if column in widths else "fold"
        width = widths.get(column)
        table.add_column(_column_title(column), width=width, no_wrap=column in widths, overflow=overflow)
    for record in records:
        table.add_row(*(Text(format_value(record.get(column))) for column in columns))
    print_rich(table)


def print_rich(table: RenderableType) -> None:
    """Prints a rich table in the terminal's width; in a pipe, in its full width."""
    from rich.console import Console

    console = Console(highlight=False)
    if terminal_width() is None:
        console.width = max(console.width, Console(width=UNLIMITED).measure(table).maximum)
    console.print(_Trimmed(table))


class _Trimmed:
    """Something printed without the blanks that fill its lines up."""

    def __init__(self, inner: RenderableType) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        for line in console.render_lines(self.inner, options, pad=False):
            kept = list(line)
            while kept and not kept[-1].text.strip():
                kept.pop()
            if kept:
                kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
            yield from (*kept, Segment.line())


def terminal_width() -> int | None:
    """The columns of the terminal; None in a pipe."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else None


def print_text(text: str) -> None:
    """Prints paragraphs, reflowed to the terminal's width; in a pipe, as they are."""
    terminal = terminal_width()
    typer.echo(text if terminal is None else reflow(text, min(terminal, MAX_LINE)))


def print_fields(record: Mapping[str, Any]) -> None:
    """Prints `name: value` lines with aligned values. Empty values are left out."""
    width, terminal = max(len(key) for key in record) + 1, terminal_width()
    for key, value in record.items():
        if text := format_value(value):
            line = f"{_column_title(key) + ':':<{width}} {text}"
            typer.echo(line if terminal is None else fill_paragraph(line, terminal, "", " " * (width + 1)))


def format_value(value: Any) -> str:
    """A value as text: "" for None, commas between the items of a sequence."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(format_item, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {format_item(item)}" for key, item in value.items())
    return str(value)


def format_item(value: Any) -> str:
    """A value inside another: as `format_value`, but "none" for None and brackets around a sequence."""
    if value is None:
        return "none"
    return f"({format_value(value)})" if isinstance(value, (list, tuple)) else format_value(value)
