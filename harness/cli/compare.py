"""`alignboard compare`: the difference of two rows, and whether it is real."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import Db
from harness.cli.output import print_rich
from harness.cli.show import Columns
from harness.errors import UserError, unknown
from harness.results.rendering import DASH, clean, format_signed
from harness.results.tables import HEADLINE, ResultTable, table_caption, tables_by_task
from harness.results.verdicts import ComparedLine, compare_rows, describe
from harness.storage.home import artifacts_root, database_url
from harness.storage.store import AVERAGE, Store


def compare(
    first: Annotated[str, typer.Argument(help="A row of the table, by its name in `alignboard show`.")],
    second: Annotated[str, typer.Argument(help="The row that it is compared with.")],
    by: Annotated[Columns, typer.Option(help="Compare task by task, or language by language.")] = Columns.TASK,
    suite: Annotated[str | None, typer.Option(help="Only tables of this suite.")] = None,
    selection: Annotated[str, typer.Option(help="Checkpoint selection.")] = HEADLINE,
    db: Db = None,
) -> None:
    """Print the difference of two rows with its interval, its p-value and a verdict.

    Intervals and tests are over seeds and test items together (95%); p-values are corrected for the number of lines
    (Holm), that of the average stands alone. With fewer than three seeds there is a difference and no verdict.

    \b
    Examples:
      alignboard compare ml-ctl-cz continued-mlm
      alignboard compare ml-ctl-cz ml-ctl --by language
    """
    store = Store.open(db or database_url())
    summaries = store.summaries(split="test", **({"suite": suite} if suite else {}))
    tables = tables_by_task(summaries, selection)
    names = {row.label for table in tables for row in table.rows}
    for name in (first, second):
        if name not in names:
            raise unknown("row", name, names)
    shared = [table for table in tables if {first, second} <= {row.label for row in table.rows}]
    if not shared:
        raise UserError(
            "the two rows share no table",
            found=f"{first} and {second}",
            expected="the same suite, protocol, recipe, base, source and languages",
            remedy="`alignboard show` prints the tables",
        )
    for table in shared:
        lines = compare_rows(store, table, summaries, artifacts_root(), (first, second), by is Columns.LANGUAGE)
        _print_comparison(table, lines, first, second)


def _print_comparison(table: ResultTable, lines: list[ComparedLine], first: str, second: str) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("task", "language") if any(line.view for line in lines) else ("task",):
        grid.add_column(head, no_wrap=True)
    for head in (clean(first), clean(second), "difference", "95% interval", "p"):
        grid.add_column(Text(head), justify="right", no_wrap=True)
    for line in lines:
        interval = line.difference.interval()
        span = DASH if interval is None else f"[{format_signed(interval[0])}, {format_signed(interval[1])}]"
        names = (line.task, line.view) if line.view else (line.task,)
        figures = (f"{line.first:.1f}", f"{line.second:.1f}", format_signed(line.difference.estimate), span)
        grid.add_row(*map(clean, names), *figures, _format_p(line.p), end_section=line is lines[-2:][0])
    typer.echo(clean(table_caption(table)))
    print_rich(grid)
    for line in [line for line in lines if line.task == AVERAGE] or lines:
        typer.echo(clean(describe(line, first, second)))


def _format_p(p: float | None) -> str:
    if p is None:
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
