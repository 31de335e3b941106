"""`alignboard show`: the scores as tables, or in a format for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import pandas as pd
import typer

from harness.cli.output import print_json, print_rich
from harness.errors import UsageError, UserError, unknown
from harness.results.grouping import group_records, tables_by_group
from harness.results.rendering import rich_table, to_csv, to_latex, to_markdown
from harness.results.tables import HEADLINE, ResultTable, score_records, tables_by_language, tables_by_task
from harness.storage.home import database_url
from harness.storage.store import AVERAGE, Store


class By(StrEnum):
    TASK = "task"
    LANGUAGE = "language"


class Group(StrEnum):
    FAMILY = "family"
    SCRIPT = "script"
    RESOURCE = "resource"
    ALIGNED = "aligned"


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    LATEX = "latex"


@dataclass(frozen=True)
class Filter:
    """Which runs and tasks to show; empty means all."""

    suite: str | None
    methods: tuple[str, ...]
    tasks: tuple[str, ...]

    def runs(self) -> dict[str, Any]:
        """The part that chooses runs, as the store's keyword filters."""
        chosen: dict[str, Any] = {"suite": self.suite, "method": list(self.methods)}
        return {name: value for name, value in chosen.items() if value}


def show(
    suite: Annotated[str | None, typer.Option(help="Only runs of this suite.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method. Repeatable.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task. Repeatable.")] = None,
    by: Annotated[By, typer.Option(help="Columns: the tasks, or the languages of each task.")] = By.TASK,
    group: Annotated[
        Group | None, typer.Option(help="Columns: averages over groups of languages; aligned: in the alignment data.")
    ] = None,
    selection: Annotated[
        str | None, typer.Option(help="Checkpoint selection; english, chosen on English dev, is the headline.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TABLE,
    db: Annotated[str | None, typer.Option(help="Database: a path or URL. Default: ALIGNBOARD_DB, or home.")] = None,
) -> None:
    """Print the scores, by task, by language or by group of languages.

    Scores are in percent, means over seeds with their standard deviation. Methods stand in one table only where suite,
    protocol, recipe, base, source and languages are the same. An average is printed only where every task and language
    has a score; otherwise a dash tells how many there are. JSON holds every single score instead, one record each.

    \b
    Examples:
      alignboard show
      alignboard show --by language --task xnli
      alignboard show --group family --format csv
      alignboard show --suite xtreme-align --format markdown > table.md
      alignboard show --format json --method ml-ctl-cz
    """
    store = Store.open(db or database_url())
    chosen = Filter(suite, tuple(method or ()), tuple(task or ()))
    _check_names(store, chosen)
    if by is By.LANGUAGE and (group or format_ is Format.JSON):
        other = "with --group, which makes the columns" if group else "on JSON, which holds every score"
        raise UsageError(f"--by has no effect {other}", remedy="leave --by out")
    if format_ is Format.JSON:
        print_json(grouped(store, chosen, group, selection) if group else scores_as_records(store, chosen, selection))
        return
    _print(results(store, chosen, group or by, selection or HEADLINE), format_)


def scores_as_records(store: Store, chosen: Filter, selection: str | None) -> list[dict[str, Any]]:
    """Every score that the filter lets through, of one selection or of all."""
    where = chosen.runs() | ({"task": list(chosen.tasks)} if chosen.tasks else {})
    records = score_records(store.scores(**where))
    return [record for record in records if selection is None or record["selection"] in (selection, "")]


def grouped(store: Store, chosen: Filter, group: Group, selection: str | None) -> list[dict[str, Any]]:
    """Every group average that the filter lets through, of one selection or of all."""
    summaries, scores = _test_figures(store, chosen)
    names = [selection] if selection else [HEADLINE, *sorted(set(summaries["selection"]) - {"", HEADLINE})]
    return [record for name in names for record in group_records(scores, summaries, group, name)]


def results(store: Store, chosen: Filter, columns: By | Group, selection: str) -> list[ResultTable]:
    """The tables that the filter leaves. Raises UserError where nothing is left."""
    summaries, scores = _test_figures(store, chosen)
    if columns is By.TASK:
        tables = tables_by_task(summaries, selection)
    elif columns is By.LANGUAGE:
        tasks = [name for name in dict.fromkeys(summaries["task"]) if name != AVERAGE]
        tables = [table for name in tasks for table in tables_by_language(scores, summaries, name, selection)]
    else:
        tables = tables_by_group(scores, summaries, columns, selection)
    if not tables:
        raise UserError("no score to show", file=store.place, remedy="use fewer filters, or `alignboard run` first")
    return tables


def _test_figures(store: Store, chosen: Filter) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The summaries and the scores on test data that the filter leaves."""
    where = chosen.runs() | {"split": "test"}
    summaries = store.summaries(**where)
    if chosen.tasks:
        summaries = summaries[summaries["task"].isin(chosen.tasks)]
    return summaries, store.scores(**where)


def _check_names(store: Store, chosen: Filter) -> None:
    """A name that no run carries is a mistake, not an empty table."""
    runs = store.runs()
    _check("suite", [chosen.suite] if chosen.suite else [], runs["suite"])
    _check("method", chosen.methods, runs["method"])
    if chosen.tasks:
        _check("task", chosen.tasks, store.scores()["task"])


def _check(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    there = set(known)
    for name in names:
        if name not in there:
            raise unknown(kind, name, there)


def _print(tables: Sequence[ResultTable], format_: Format) -> None:
    writers = {Format.CSV: to_csv, Format.MARKDOWN: to_markdown, Format.LATEX: to_latex}
    if format_ in writers:
        typer.echo(writers[format_](tables), nl=False)
        return
    for table in tables:
        print_rich(rich_table(table))
