"""`alignboard compare`: the difference of two rows, and whether it is real."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from harness.cli.options import Db, check_selection, suite_filter
from harness.cli.output import print_rich
from harness.cli.show import Columns
from harness.errors import UsageError, UserError, unique_names, unknown
from harness.results.attribution import ORACLE, Attribution, attribute_gain, selection_regret
from harness.results.item_reader import ItemReader
from harness.results.labels import Record
from harness.results.rendering import clean, format_line
from harness.results.tables import HEADLINE, ResultTable, table_caption, tables_by_task
from harness.results.verdicts import ComparedLine, compare_rows, describe
from harness.storage.home import artifacts_root, database_url
from harness.storage.store import AVERAGE, Store


def compare(
    first: Annotated[str, typer.Argument(metavar="ROW", help="A row of the table, by its name in `alignboard show`.")],
    second: Annotated[str | None, typer.Argument(metavar="[OTHER]", help="The row that it is compared with.")] = None,
    attribution: Annotated[
        bool, typer.Option("--attribution", help="Compare the row with its controls: text, objective, true pairs.")
    ] = False,
    regret: Annotated[
        bool, typer.Option("--regret", help="Compare selection by English dev data with the oracle's, in this row.")
    ] = False,
    by: Annotated[Columns, typer.Option(help="Compare task by task, or language by language.")] = Columns.TASK,
    task: Annotated[list[str] | None, typer.Option(help="Only this task. Repeatable.")] = None,
    suite: Annotated[str | None, typer.Option(help="Only tables of this suite.")] = None,
    selection: Annotated[str, typer.Option(help="Checkpoint selection.")] = HEADLINE,
    db: Db = None,
) -> None:
    """Print the difference of two rows with its interval, its p-value and a verdict.

    Intervals (95%) and tests are over seeds and test items together. P-values are corrected for the number of lines
    (Holm), except that of the average. With fewer than three seeds there is a difference but no verdict.

    \b
    Examples:
      alignboard compare ml-ctl-cz continued-mlm
      alignboard compare ml-ctl-cz ml-ctl --by language --task xnli
      alignboard compare ml-ctl-cz --attribution
      alignboard compare ml-ctl-cz --regret --by language
    """
    if (second is not None) + attribution + regret != 1:
        raise UsageError(
            "it is not clear what the row is compared with",
            expected="one of: another row, --attribution, --regret",
        )
    store = Store.open(db or database_url())
    check_selection(store, selection)
    summaries = store.summaries(split="test", **suite_filter(store, suite))
    if task:
        tasks = unique_names("task", task, {row["task"] for row in summaries} - {AVERAGE})
        summaries = [row for row in summaries if row["task"] in tasks]
    names = [first] if second is None else [first, second]
    by_view = by is Columns.LANGUAGE
    reader = ItemReader(store, artifacts_root(), summaries)
    for table in _shared_tables(summaries, selection, names):
        typer.echo(clean(table_caption(table)))
        if attribution:
            _print_attribution(attribute_gain(reader, table, first, by_view))
        elif regret:
            _print_regret(selection_regret(reader, table, first, by_view), selection)
        else:
            _print_lines(compare_rows(reader, table, (names[0], names[1]), by_view), (names[0], names[1]))


def _shared_tables(summaries: Sequence[Record], selection: str, names: Sequence[str]) -> list[ResultTable]:
    """The tables that have all of these rows. Raises UserError without one."""
    tables = tables_by_task(summaries, selection)
    labels = {row.label for table in tables for row in table.rows}
    for name in names:
        if name not in labels:
            raise unknown("row", name, labels)
    shared = [table for table in tables if set(names) <= {row.label for row in table.rows}]
    if not shared:
        raise UserError(
            "the two rows share no table",
            found=" and ".join(names),
            expected="the same suite, protocol, recipe, base, source and languages",
            remedy="`alignboard show` prints the tables",
        )
    return shared


def _print_attribution(found: Attribution) -> None:
    for step, lines in found.steps.items():
        typer.echo(clean(f"{step.after} − {step.before}: {step.name}"))
        _print_lines(lines, (step.after, step.before))
    for control, command in found.missing.items():
        typer.echo(clean(f"No runs of {control}, so the step across it holds its part. With the row's other settings:"))
        typer.echo(clean(f"  {command}"))


def _print_regret(lines: Sequence[ComparedLine], selection: str) -> None:
    if not lines:
        typer.echo(
            "No score of an oracle here. It needs dev data in every language, and --set tasks.NAME.dev_languages=all "
            "where the protocol evaluates English alone; --by language shows single languages."
        )
        return
    _print_lines(lines, (ORACLE, selection))


def _print_lines(lines: Sequence[ComparedLine], names: tuple[str, str]) -> None:
    """The grid of a comparison and its verdict in words."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("task", "language") if any(line.view for line in lines) else ("task",):
        grid.add_column(head, no_wrap=True)
    for head in (*map(clean, names), "difference", "95% interval", "p"):
        grid.add_column(Text(head), justify="right", no_wrap=True)
    for line in lines:
        keys = (line.task, line.view) if line.view else (line.task,)
        figures = (f"{line.first:.1f}", f"{line.second:.1f}", *format_line(line))
        last_task = line is lines[-2:][0] and lines[-1].task == AVERAGE
        grid.add_row(*map(clean, keys), *figures, end_section=last_task)
    print_rich(grid)
    for line in [line for line in lines if line.task == AVERAGE] or lines:
        typer.echo(clean(describe(line, *names)))
