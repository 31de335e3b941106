"""`alignboard report`: a page and LaTeX tables of stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Db, check_selection, suite_filter
from harness.cli.output import print_message
from harness.results.report import read_tables, write_report
from harness.results.tables import HEADLINE
from harness.storage.home import artifacts_root, database_url
from harness.storage.store import Store


def report(
    rows: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ROW]...", help="Rows, by their names in `alignboard show`. Default: all."),
    ] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder that the report is written to.")] = Path("report"),
    suite: Annotated[str | None, typer.Option(help="Only tables of this suite.")] = None,
    selection: Annotated[str, typer.Option(help="Checkpoint selection.")] = HEADLINE,
    db: Db = None,
) -> None:
    """Write a self-contained page and LaTeX tables: results with intervals and ranks, the attribution of each gain,
    differences of recipes, provenance, and a paragraph on methods that a paper can cite.

    \b
    Examples:
      alignboard report --out report
      alignboard report ml-ctl ml-ctl-cz --suite xtreme-align --out ml-ctl
    """
    store = Store.open(db or database_url())
    check_selection(store, selection)
    summaries = store.summaries(split="test", **suite_filter(store, suite))
    tables = read_tables(store, summaries, artifacts_root(), selection, rows or ())
    for path in write_report(out, tables):
        print_message("written", str(path))
