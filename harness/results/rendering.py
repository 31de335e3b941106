"""Result tables as text: for a terminal, CSV, Markdown and LaTeX. Names are foreign text and are made harmless."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import counted
from harness.results.tables import MARK, Column, ResultCell, ResultTable, table_caption

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement
    from rich.table import Table

DASH = "–"
_SHORT = {"accuracy": "acc"}
_NARROW = ("Spread left out: a wider terminal or another format has it.", "*: fewer seeds than the row.")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#$~:@&])|(?<=www)(?=\.)")  # links need no brackets, badges and formulas neither
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # what spreadsheets begin a formula with, wide forms too
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after the end of a row a bracket or a star is an argument of it
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    MARK: r"$\dagger$",
    DASH: "--",
}


def format_cell(cell: ResultCell, seeds: int) -> str:
    """A figure as people read it: "71.2 ± 0.4", with its own number of seeds where that is not the row's (`seeds`),
    or a dash with the number of views that are there. A mark stands behind what test items in alignment text touch."""
    spread = "" if cell.sd is None else f" ± {cell.sd:.1f}"
    own = "" if cell.seeds == seeds else f" ({counted(cell.seeds, 'seed')})"
    return _mean(cell) + spread + (own if cell.values else "") + _mark(cell)


def _mark(cell: ResultCell) -> str:
    return f" {MARK}" if cell.contaminated and cell.values else ""


def _mean(cell: ResultCell) -> str:
    if cell.mean is not None:
        return f"{cell.mean:.1f}"
    return f"{DASH} ({cell.have}/{cell.expected})" if cell.expected > 1 else DASH


def clean(text: str) -> str:
    """Text without control characters and without characters that turn the direction of writing or hide."""
    return "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))


def escape_csv(text: str) -> str:
    """Clean text that no spreadsheet takes for a formula."""
    text = clean(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def escape(text: str, form: str = "text", most: int | None = None) -> str:
    """Foreign text as it may stand in a "text", "csv", "markdown" or "latex", where it is never read as more than text;
    cut to `most` characters. Markdown is safe as HTML too. A "label" is Markdown for the board's widgets."""
    text = clean(text)
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return _FORMS[form](text)


@dataclass(frozen=True)
class TerminalTable:
    """What rich prints of a table: its sentence, the table, its notes.

    Where the terminal is too narrow the spread is left out, and then the columns are spread over several tables; no
    figure is ever cut.
    """

    results: ResultTable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        brief = _width(_grid(self.results, self.results.columns, brief=False)) > options.max_width
        yield Text(clean(table_caption(self.results)))
        for columns in _fitting(self.results, options.max_width, brief=brief):
            yield _grid(self.results, columns, brief=brief)
        for note in (*self.results.notes, *(_NARROW if brief else ())):
            yield Text(clean(note), style="dim")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement(1, _width(_grid(self.results, self.results.columns, brief=False)))


def rich_table(results: ResultTable) -> TerminalTable:
    """The table as something that rich prints to the width of its console."""
    return TerminalTable(results)


def _fitting(results: ResultTable, width: int, *, brief: bool) -> list[tuple[Column, ...]]:
    parts: list[tuple[Column, ...]] = [()]
    for column in results.columns:
        wider = (*parts[-1], column)
        if parts[-1] and _width(_grid(results, wider, brief=brief)) > width:
            parts.append((column,))
        else:
            parts[-1] = wider
    return parts


def _width(table: Table) -> int:
    from rich.console import Console

    return Console(width=100_000).measure(table).maximum


def _grid(results: ResultTable, columns: Sequence[Column], *, brief: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", no_wrap=True)
    uneven = len({row.seeds for row in results.rows}) > 1  # else the sentence has told them
    if uneven:
        table.add_column("seeds", justify="right", no_wrap=True)
    for column in columns:
        head = f"{clean(column.name)}\n{_SHORT.get(column.metric, clean(column.metric))}"
        table.add_column(Text(head), justify="right", no_wrap=True)
    for row, following in zip(results.rows, [*results.rows[1:], None], strict=True):
        cells = [(_brief if brief else format_cell)(row.cell(column.name), row.seeds) for column in columns]
        seeds = [str(row.seeds)] if uneven else []
        ends = following is not None and following.badge != row.badge
        table.add_row(Text(clean(row.label)), *seeds, *map(Text, cells), end_section=ends)
    return table


def _brief(cell: ResultCell, seeds: int) -> str:
    return _mean(cell) + ("*" if 0 < cell.seeds < seeds else "") + _mark(cell)


def to_csv(tables: Sequence[ResultTable]) -> str:
    """One line per row of every table: its key, then mean, standard deviation and seeds of each column.

    A figure that is incomplete is empty; `missing` tells which, with the views that are there. `contaminated` names the
    columns with test items in the alignment text.
    """
    names = list(dict.fromkeys(column.name for results in tables for column in results.columns))
    figures = [heading for name in names for heading in (name, f"{name} sd", f"{name} seeds")]
    header = ["method", "badge", "suite", "protocol", "recipe", "base", "source", "view", "grouping"]
    header += ["selection", "seeds", "missing", "contaminated"]
    lines = [line for results in tables for line in _csv_lines(results, names)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([escape_csv(text) for text in (*header, *figures)])
    writer.writerows(lines)
    return stream.getvalue()


def _csv_lines(results: ResultTable, names: Sequence[str]) -> list[list[Any]]:
    lines = []
    for row in results.rows:
        own = [(column.name, row.cell(column.name)) for column in results.columns]
        missing = "; ".join(f"{name} {cell.have}/{cell.expected}" for name, cell in own if cell.mean is None)
        contaminated = "; ".join(name for name, cell in own if cell.contaminated)
        texts = [row.label, row.badge, *results.key[:5], results.view, results.grouping, results.selection]
        figures = [figure for name in names for figure in _figures(row.cell(name))]
        lines.append([*map(escape_csv, texts), row.seeds, escape_csv(missing), escape_csv(contaminated), *figures])
    return lines


def _figures(cell: ResultCell) -> tuple[Any, Any, Any]:
    if cell.mean is None:
        return "", "", ""
    return round(cell.mean, 4), "" if cell.sd is None else round(cell.sd, 4), cell.seeds


def to_markdown(tables: Sequence[ResultTable]) -> str:
    """Each table under its sentence, with its notes below."""
    return "\n\n".join(_markdown(results) for results in tables) + "\n"


def _markdown(results: ResultTable) -> str:
    heads = [f"{column.name} ({column.metric})" if column.metric else column.name for column in results.columns]
    lines = [["method", "seeds", *heads], ["---", *("---:" for _ in range(len(heads) + 1))]]
    for row in results.rows:
        lines.append([row.label, str(row.seeds), *(format_cell(row.cell(c.name), row.seeds) for c in results.columns)])
    first, rule, *rest = lines
    table = [_markdown_line(first), "| " + " | ".join(rule) + " |", *map(_markdown_line, rest)]
    blocks = [_markdown_text(table_caption(results)), "\n".join(table), *map(_markdown_text, results.notes)]
    return "\n\n".join(blocks)


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_markdown_text, cells)) + " |"


def _markdown_text(text: str) -> str:
    return _MARKDOWN.sub(lambda found: "\\" + found[0], clean(text))


def _label(text: str) -> str:
    """Markdown whose addresses make no link even where links are found after backslashes are gone."""
    return (
        _markdown_text(text).replace("\\://", "\\:\u2060//").replace("@", "@\u2060").replace("www\\.", "www\u2060\\.")
    )


def to_latex(tables: Sequence[ResultTable]) -> str:
    """`tabular` environments for booktabs, a rule between controls and methods; the sentence is a comment above."""
    return "\n".join(_latex(results) for results in tables)


def _latex(results: ResultTable) -> str:
    columns = results.columns
    lines = [
        f"% {clean(table_caption(results))}",
        *(f"% {clean(note)}" for note in results.notes),
        rf"\begin{{tabular}}{{l{'r' * (len(columns) + 1)}}}",
        r"\toprule",
        _latex_line(["method", "seeds", *(column.name for column in columns)]),
        _latex_line(["", "", *(column.metric for column in columns)]),
        r"\midrule",
    ]
    for row, following in zip(results.rows, [*results.rows[1:], None], strict=True):
        lines.append(
            _latex_line([row.label, str(row.seeds), *(format_cell(row.cell(c.name), row.seeds) for c in columns)])
        )
        if following is not None and following.badge != row.badge:
            lines.append(r"\midrule")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(_latex_text(cell) for cell in cells) + r" \\"


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in clean(text))


_FORMS: dict[str, Callable[[str], str]] = {
    "text": str,
    "csv": escape_csv,
    "markdown": _markdown_text,
    "label": _label,
    "latex": _latex_text,
}
