"""A report on stored results that can be sent and cited: one HTML page and LaTeX tables, from the store alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from harness import __version__
from harness.errors import UserError, counted, unknown
from harness.evaluation.statistics import MIN_SEEDS, Difference
from harness.files import write_text
from harness.results.attribution import Attribution, attribute_gain
from harness.results.figures import Estimate, interval_figure
from harness.results.findings import describe_finding, describe_gains, task_groups
from harness.results.item_reader import ItemReader
from harness.results.labels import Record, shown_recipe
from harness.results.rendering import (
    DASH,
    clean,
    format_line,
    format_rank,
    latex_rows,
    to_latex,
)
from harness.results.tables import HEADLINE, ResultRow, ResultTable, add_marks, table_caption, tables_by_task
from harness.results.verdicts import describe, score_estimates, table_verdicts
from harness.storage.store import AVERAGE, Store

PAGE, TABLES = "report.html", "tables.tex"
_RUN_COLUMNS = ("id", "align_seed", "code_version", "dirty", "packages", "host", "base_fingerprint", "data_fingerprint")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1000px; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #e3e7ea }
th:first-child, td:first-child { text-align: left } thead th { border-bottom: 2px solid #98a2ab }
small { color: #667077; display: block } .wide { overflow-x: auto } code { overflow-wrap: anywhere }
"""


@dataclass(frozen=True)
class ReportedTable:
    """A table with the intervals of its figures, the attribution of each method's gain, and what its runs recorded."""

    table: ResultTable
    estimates: Mapping[tuple[str, str], Difference]
    attributions: Mapping[str, Attribution]
    findings: Sequence[str]
    records: Mapping[str, Mapping[str, Any]]  # the first run of each row, with the columns of summaries
    runs: Sequence[Record]  # provenance, one for each run


def read_tables(
    store: Store, summaries: Sequence[Record], artifacts: Path, selection: str, rows: Sequence[str] = ()
) -> list[ReportedTable]:
    """The tables of some rows, or of all. Raises UsageError for a row that no table has."""
    tables = tables_by_task(summaries, selection)
    labels = {row.label for table in tables for row in table.rows}
    for name in rows:
        if name not in labels:
            raise unknown("row", name, labels)
    reader = ItemReader(store, artifacts, summaries)
    chosen = [(table, [row.label for row in table.rows if not rows or row.label in rows]) for table in tables]
    return [_read_table(reader, table, names) for table, names in chosen if names]


def _read_table(reader: ItemReader, whole: ResultTable, shown: Collection[str]) -> ReportedTable:
    """The rows that are `shown` of a table; its verdicts, and so its marks, are over the whole of it."""
    tasks = [column.name for column in whole.columns if column.name != AVERAGE]
    groups = task_groups(tasks, [reader.runs[run] for row in whole.rows for run in row.runs])
    verdicts = table_verdicts(reader, whole, groups)
    marked = add_marks(whole, verdicts.marks(whole))
    table = replace(marked, rows=tuple(row for row in marked.rows if row.label in shown))
    records = {row.label: reader.runs[row.runs[0]] for row in table.rows if row.runs}
    attributions = {}
    for row in table.rows:
        if row.runs and not row.badge:
            with suppress(UserError):  # a row without controls, or with other seeds or items than theirs
                attributions[row.label] = attribute_gain(reader, whole, row.label)
    runs = reader.store.runs(_RUN_COLUMNS, id=[run for row in table.rows for run in row.runs])
    found = [describe_finding(table, verdicts, groups), describe_gains(attributions.values(), [AVERAGE])]
    return ReportedTable(table, score_estimates(reader, table), attributions, list(filter(None, found)), records, runs)


def write_report(folder: Path, tables: Sequence[ReportedTable]) -> list[Path]:
    """Writes the page and the LaTeX tables into a folder, which is made. Raises UserError without any table."""
    if not tables:
        raise UserError("no score to report", expected="finished runs", remedy="`alignboard run` makes them")
    folder.mkdir(parents=True, exist_ok=True)
    files = {PAGE: to_html(tables), TABLES: report_latex(tables)}
    for name, text in files.items():
        write_text(folder / name, text)
    return [folder / name for name in files]


def report_latex(tables: Sequence[ReportedTable]) -> str:
    """The results, and a table of attribution for each; all need booktabs."""
    parts = [to_latex([one.table for one in tables])]
    for one in tables:
        lines = [
            [label, step.name, *format_line(line)]
            for label, found in one.attributions.items()
            for step, own in found.steps.items()
            for line in own
            if line.task == AVERAGE
        ]
        if lines:
            parts.append(latex_rows(["method", "what is added", "gain", "95% interval", "p"], lines))
    return "\n".join(parts)


def to_html(tables: Sequence[ReportedTable]) -> str:
    """The page: for each table its methods paragraph, results, attribution, recipes and provenance."""
    body = "".join(map(_section, tables))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Alignboard report</title>'
        f"<style>{_STYLE}</style></head><body><h1>Alignboard report</h1>{body}</body></html>\n"
    )


def _section(one: ReportedTable) -> str:
    table = one.table
    marks = [
        Estimate(row.label, mean, one.estimates[row.label, AVERAGE].known_interval())
        for row in table.rows
        if (mean := row.cell(AVERAGE).mean) is not None and (row.label, AVERAGE) in one.estimates
    ]
    parts = [
        f"<h2>{_text(table_caption(table))}</h2>",
        *(f"<p><strong>{_text(sentence)}</strong></p>" for sentence in one.findings),
        f"<p>{_text(methods_paragraph(one))}</p>",
        _grid(_result_head(table), [_result_line(one, row) for row in table.rows]),
        *(f"<p>{_text(note)}</p>" for note in table.notes),
        interval_figure(marks, "Average with its 95% interval") if marks else "",
        *_attribution_parts(one),
        "<h3>What is set differently</h3>",
        _recipes(one),
        "<h3>Provenance</h3>",
        _provenance(one),
        "<h3>References</h3><ul>",
        *(f"<li>{_text(reference)}</li>" for reference in references(one)),
        "</ul>",
    ]
    return "".join(parts)


def methods_paragraph(one: ReportedTable) -> str:
    """How the results were made, in words that a paper can cite."""
    key, rows = one.table.key, one.table.rows
    tasks = [column.name for column in one.table.columns if column.name != AVERAGE]
    seeds = sorted({row.seeds for row in rows})
    budget = "the same sample, steps and optimiser" if key.recipe == "matched" else "each paper's own recipe"
    languages = f" in {counted(one.table.languages, 'language')}" if one.table.languages else ""
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    text = (
        f"{counted(len({row.method for row in rows}), 'method')} were compared on the encoder {key.base}, with "
        f"{budget} (Alignboard {__version__}, source {key.source}). They were scored on {', '.join(tasks)}{languages} "
        f"under the protocol {key.protocol}, with {span} seed{'' if span == '1' else 's'}; checkpoints were selected "
        f"by {'English dev data' if one.table.selection == HEADLINE else one.table.selection}. "
    )
    if seeds[-1] < MIN_SEEDS:
        return f"{text}Intervals are over test items alone, since fewer than {MIN_SEEDS} seeds support no test."
    return (
        f"{text}Intervals and tests are over seeds and test items together: crossed variance components on the items' "
        "additive statistics (delta method), t with Satterthwaite's degrees of freedom, p-values corrected after Holm "
        "(1979), and ranks with simultaneous 95% confidence (Mogstad et al. 2024)."
    )


def references(one: ReportedTable) -> list[str]:
    """The sources that the cards of the methods and tasks name, each once."""
    found: dict[str, None] = {}
    for label, record in one.records.items():
        card = record["card"] or {}
        if card.get("reference"):
            found[f"{label}: {card['reference']}"] = None
    for record in one.records.values():
        tasks = (record["card"] or {}).get("tasks") or {}
        found |= dict.fromkeys(f"{name}: {about['citation']}" for name, about in tasks.items() if about.get("citation"))
    return list(found)


def _result_head(table: ResultTable) -> list[str]:
    return ["method", "rank", "seeds", *(f"{column.name} {column.metric}".strip() for column in table.columns)]


def _result_line(one: ReportedTable, row: ResultRow) -> list[str]:
    """The cells as HTML: each figure above its interval."""
    cells = [_text(row.label), format_rank(row), str(row.seeds)]
    for column in one.table.columns:
        cell, estimate = row.cell(column.name), one.estimates.get((row.label, column.name))
        interval = estimate.known_interval() if estimate is not None else None
        mark = {1: " ▲", -1: " ▼"}.get(cell.sign or 0, "")
        below = f"<small>{interval[0]:.1f} to {interval[1]:.1f}</small>" if interval else ""
        cells.append(DASH if cell.mean is None else f"{cell.mean:.1f}{mark}{below}")
    return cells


def _attribution_parts(one: ReportedTable) -> Iterable[str]:
    if not one.attributions:
        return
    yield "<h3>Where the gains come from</h3>"
    for label, found in one.attributions.items():
        averages = {step: lines[-1] for step, lines in found.steps.items() if lines and lines[-1].task == AVERAGE}
        if averages:
            marks = [
                Estimate(step.name, line.difference.estimate, line.difference.known_interval())
                for step, line in averages.items()
            ]
            yield interval_figure(marks, f"{label}: gain in the average by step", signed=True)
        lines = [
            [*map(_text, (step.name, line.task, *format_line(line)))]
            for step, own in found.steps.items()
            for line in own
        ]
        yield _grid(["what is added", "task", "gain", "95% interval", "p"], lines)
        sentences = [describe(line, step.after, step.before) for step, line in averages.items()]
        yield "".join(f"<p>{_text(sentence)}</p>" for sentence in sentences)
        for name, command in found.missing.items():
            yield f"<p>No runs of {_text(name)}: <code>{_text(command)}</code></p>"


def _recipes(one: ReportedTable) -> str:
    """The settings in which rows differ."""
    recipes = {label: shown_recipe(record) for label, record in one.records.items()}
    fields = sorted({name for recipe in recipes.values() for name in recipe})
    shown = [name for name in fields if len({repr(recipe.get(name)) for recipe in recipes.values()}) > 1]
    lines = [[_text(name), *(_text(str(recipe.get(name, DASH))) for recipe in recipes.values())] for name in shown]
    return _grid(["setting", *map(_text, recipes)], lines) if lines else "<p>No setting.</p>"


def _provenance(one: ReportedTable) -> str:
    labels = {run: row.label for row in one.table.rows for run in row.runs}
    lines = []
    for run in one.runs:
        packages = ", ".join(f"{name} {version}" for name, version in sorted((run["packages"] or {}).items()))
        code = f"{run['code_version'] or DASH}{' (changed)' if run['dirty'] else ''}"
        host = ", ".join(str(value) for value in (run["host"] or {}).values() if value)
        names = (
            labels[run["id"]],
            run["id"],
            "" if run["align_seed"] is None else str(run["align_seed"]),
            code,
            packages,
            host,
        )
        fingerprints = (run["base_fingerprint"][:12], run["data_fingerprint"][:12])
        lines.append([_text(text) for text in (*names, *fingerprints)])
    return _grid(["row", "run", "seed", "code", "packages", "machine", "base", "data"], lines)


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'


def _text(text: str) -> str:
    return escape(clean(text))
