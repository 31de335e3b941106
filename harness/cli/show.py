"""`alignboard show`: prints scores as tables, or in a format for other programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Db, check_selection, suite_filter
from harness.cli.output import print_json, print_rich
from harness.errors import UsageError, UserError, counted, unique_names
from harness.results.labels import Record
from harness.results.marks import judged_tables
from harness.results.rendering import TerminalTable, to_csv, to_latex, to_markdown
from harness.results.score_json import score_json
from harness.results.tables import HEADLINE, ResultTable, tables_by_language
from harness.storage.home import artifacts_root, database_url
from harness.storage.store import AVERAGE, Store
from harness.storage.store.schema import SUPERSEDED

if TYPE_CHECKING:
    import pandas as pd


class Columns(StrEnum):
    TASK = "task"
    LANGUAGE = "language"


class LanguageGroup(StrEnum):
    FAMILY = "family"
    SCRIPT = "script"
    RESOURCE = "resource"
    ALIGNED = "aligned"


class OutputFormat(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    LATEX = "latex"


@dataclass(frozen=True)
class ScoreFilter:
    """Which runs and tasks to show; empty means all."""

    suite: str | None
    methods: tuple[str, ...]
    tasks: tuple[str, ...]

    def runs(self) -> dict[str, Any]:
        """The filters on runs, as keyword arguments of the store."""
        filters: dict[str, Any] = {"suite": self.suite, "method": list(self.methods)}
        return {name: value for name, value in filters.items() if value}


def show(
    suite: Annotated[str | None, typer.Option(help="Only runs of this suite.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method. Repeatable.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task. Repeatable.")] = None,
    by: Annotated[Columns, typer.Option(help="Columns: the tasks, or the languages of each task.")] = Columns.TASK,
    group: Annotated[
        LanguageGroup | None,
        typer.Option(help="Columns: averages over language groups; aligned: languages of the alignment data."),
    ] = None,
    selection: Annotated[
        str | None, typer.Option(help="Checkpoint selection. Default: english (by English dev scores).")
    ] = None,
    format_: Annotated[OutputFormat, typer.Option("--format", help="Output format.")] = OutputFormat.TABLE,
    db: Db = None,
) -> None:
    """Print scores by task, by language or by language group.

    Scores are in percent, as mean and standard deviation over seeds. From three seeds on, each row has the range of
    ranks that it may have, and figures that differ from the row's control are marked. A table holds only runs with the
    same suite, protocol, recipe, base, source and languages. An average needs a score for every task and language;
    otherwise a dash and the number of scores are printed. JSON has one record per single score instead.

    \b
    Examples:
      alignboard show
      alignboard show --by language --task xnli
      alignboard show --group family --format csv
      alignboard show --suite xtreme-align --format markdown > table.md
      alignboard show --format json --method ml-ctl-cz
    """
    store = Store.open(db or database_url())
    filter_ = _read_filter(store, suite, method or (), task or ())
    check_selection(store, selection)
    if by is Columns.LANGUAGE and (group or format_ is OutputFormat.JSON):
        other = "with --group, which makes the columns" if group else "on JSON, which holds every score"
        raise UsageError(f"--by has no effect {other}", remedy="leave --by out")
    if format_ is OutputFormat.JSON:
        if group:
            print_json(group_averages(store, filter_, group, selection))
        else:
            write_scores(store, filter_, selection)
        return
    _print_tables(result_tables(store, filter_, group or by, selection or HEADLINE), format_)


def write_scores(store: Store, filter_: ScoreFilter, selection: str | None) -> None:
    """Prints every score that passes the filter, of one selection or of all."""
    where = filter_.runs() | ({"task": list(filter_.tasks)} if filter_.tasks else {})
    if selection is not None:
        where["selection"] = [selection, ""]
    sys.stdout.writelines(score_json(store, **where))  # typer's `echo` would look for colours in all of it


def group_averages(
    store: Store, filter_: ScoreFilter, group: LanguageGroup, selection: str | None
) -> list[dict[str, Any]]:
    """Every group average that passes the filter, of one selection or of all."""
    from harness.results.grouping import group_records  # the properties of languages are slow to import

    summaries, scores = _test_summaries(store, filter_), _test_scores(store, filter_)
    others = {row["selection"] for row in summaries} - {"", HEADLINE}
    names = [selection] if selection else [HEADLINE, *sorted(others)]
    return [record for name in names for record in group_records(scores, summaries, group, name)]


def result_tables(
    store: Store, filter_: ScoreFilter, columns: Columns | LanguageGroup, selection: str
) -> list[ResultTable]:
    """The tables of the scores that pass the filter. Raises UserError if there is none."""
    summaries = _test_summaries(store, filter_)
    if columns is Columns.TASK:
        tables = judged_tables(store, summaries, artifacts_root(), selection)
    elif columns is Columns.LANGUAGE:
        tasks = [name for name in dict.fromkeys(row["task"] for row in summaries) if name != AVERAGE]
        scores = _test_scores(store, filter_)
        tables = [table for name in tasks for table in tables_by_language(scores, summaries, name, selection)]
    else:
        from harness.results.grouping import tables_by_group

        tables = tables_by_group(_test_scores(store, filter_), summaries, columns, selection)
    if not tables:
        closed = len(store.runs(["id"], status=SUPERSEDED))
        found = f"{counted(closed, 'run')} superseded, since data, base or settings have changed" if closed else None
        remedy = "use fewer filters, or run `alignboard run` first"
        raise UserError("no score to show", file=store.place, found=found, remedy=remedy)
    return tables


def _test_summaries(store: Store, filter_: ScoreFilter) -> list[Record]:
    """The summaries of test scores that pass the filter."""
    tasks: dict[str, Any] = {"task": list(filter_.tasks)} if filter_.tasks else {}
    return list(store.summaries(**filter_.runs(), **tasks, split="test"))


def _test_scores(store: Store, filter_: ScoreFilter) -> pd.DataFrame:
    tasks: dict[str, Any] = {"task": list(filter_.tasks)} if filter_.tasks else {}
    return store.scores(**filter_.runs(), **tasks, split="test")


def _read_filter(store: Store, suite: str | None, methods: Sequence[str], tasks: Sequence[str]) -> ScoreFilter:
    """The filter of the options. Raises UsageError for a name that no run has."""
    given = {"method": methods, "task": tasks}
    named = {kind: unique_names(kind, texts, store.names(kind) if texts else ()) for kind, texts in given.items()}
    return ScoreFilter(suite_filter(store, suite).get("suite"), tuple(named["method"]), tuple(named["task"]))


def _print_tables(tables: Sequence[ResultTable], format_: OutputFormat) -> None:
    writers = {OutputFormat.CSV: to_csv, OutputFormat.MARKDOWN: to_markdown, OutputFormat.LATEX: to_latex}
    if format_ in writers:
        typer.echo(writers[format_](tables), nl=False)
        return
    for table in tables:
        print_rich(TerminalTable(table))
