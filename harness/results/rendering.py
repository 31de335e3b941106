"""Result tables as text: for a terminal, CSV, Markdown and LaTeX. Names are third-party text and are escaped."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import counted
from harness.results.tables import MARK, Column, ResultCell, ResultRow, ResultTable, table_caption

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement
    from rich.table import Table

    from harness.evaluation.statistics import Difference
    from harness.results.verdicts import ComparedLine

DASH = "–"
GAP = 2  # blanks before each column but the first
_SHORT = {"accuracy": "acc"}
_NARROW = ("Spread left out: use a wider terminal or another format.", "*: fewer seeds than the row.")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#$~:@&])|(?<=www)(?=\.)")  # links, badges, formulas
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # the start of a formula in a spreadsheet, wide forms too
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
    "[": "{[}",  # after the end of a row a bracket or a star would be its argument
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "▲": r"$\blacktriangle$",  # of amssymb
    "▼": r"$\blacktriangledown$",
    MARK: r"$\dagger$",
    DASH: "--",
    "\u2212": "$-$",
    "<": "$<$",
}


def format_cell(cell: ResultCell, seeds: int) -> str:
    """A figure as text: "71.2 ± 0.4", or a dash with the number of views that have a score.

    The number of seeds follows if it is not the row's (`seeds`), then the marks of a difference from the control and
    of a contaminated test set.
    """
    spread = "" if cell.sd is None else f" ± {cell.sd:.1f}"
    own = "" if cell.seeds == seeds or not cell.values else f" ({counted(cell.seeds, 'seed')})"
    return _format_mean(cell) + spread + own + _mark(cell)


def _format_mean(cell: ResultCell) -> str:
    if cell.mean is not None:
        return f"{cell.mean:.1f}"
    return f"{DASH} ({cell.have}/{cell.expected})" if cell.expected > 1 else DASH


def _mark(cell: ResultCell) -> str:
    sign = {1: " ▲", -1: " ▼"}.get(cell.sign or 0, "")
    return sign + (f" {MARK}" if cell.contaminated and cell.values else "")


def _has_ranks(table: ResultTable) -> bool:
    return any(row.rank for row in table.rows)


def format_rank(row: ResultRow) -> str:
    """ "1", "2–4", or a dash without a test."""
    if row.rank is None:
        return DASH
    best, worst = row.rank
    return str(best) if best == worst else f"{best}{DASH}{worst}"


def format_signed(value: float, digits: int = 1) -> str:
    """A difference with its sign; zero has none."""
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return f"+{text}" if value > 0 else f"\u2212{text}"


def format_interval(difference: Difference) -> str:
    """The 95% interval over seeds and items; a dash without a test."""
    interval = difference.interval()
    return DASH if interval is None else f"[{format_signed(interval[0])}, {format_signed(interval[1])}]"


def format_p(p: float | None) -> str:
    if p is None:
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def format_line(line: ComparedLine) -> tuple[str, str, str]:
    """The difference of two rows, its 95% interval over seeds and items, and its p-value."""
    return format_signed(line.difference.estimate), format_interval(line.difference), format_p(line.p)


def clean(text: str) -> str:
    """Text without control characters and without invisible characters or those that change the writing direction."""
    return "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))


def escape_csv(text: str) -> str:
    """Clean text that no spreadsheet reads as a formula."""
    text = clean(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def escape(text: str, form: str = "text", most: int | None = None) -> str:
    """Third-party text, cleaned and cut to `most` characters, escaped for a form so that it is never read as markup.

    Forms: "text", "csv", "markdown" (safe as HTML too), "latex", and "label", which is Markdown in Streamlit's widgets.
    """
    text = clean(text)
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return _FORMS[form](text)


@dataclass(frozen=True)
class TerminalTable:
    """A table for rich: its caption, the table, its notes, fitted to the width of the console.

    A narrow console leaves out the spread, and then splits the columns into several tables; no figure is ever cut.
    """

    table: ResultTable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        whole = _rich_grid(self.table, self.table.columns, brief=False)
        brief = _width(whole) > options.max_width
        parts: list[tuple[Column, ...]] = [()]
        for column in self.table.columns if brief else ():
            wider = (*parts[-1], column)
            if parts[-1] and _width(_rich_grid(self.table, wider, brief=True)) > options.max_width:
                parts.append((column,))
            else:
                parts[-1] = wider
        yield Text(clean(table_caption(self.table)))
        yield from [_rich_grid(self.table, columns, brief=True) for columns in parts] if brief else [whole]
        for note in (*self.table.notes, *(_NARROW if brief else ())):
            yield Text(clean(note), style="dim")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement(1, _width(_rich_grid(self.table, self.table.columns, brief=False)))


def _width(grid: Table) -> int:
    from rich.console import Console

    return Console(width=100_000).measure(grid).maximum


def _rich_grid(table: ResultTable, columns: Sequence[Column], *, brief: bool) -> Table:
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    def text(cell: ResultCell, seeds: int) -> str:
        if not brief:
            return format_cell(cell, seeds)
        return _format_mean(cell) + ("*" if 0 < cell.seeds < seeds else "") + _mark(cell)

    ranked = _has_ranks(table)
    uneven = len({row.seeds for row in table.rows}) > 1  # else the caption has the number of seeds
    heads = ["method", *(["rank"] if ranked else []), *(["seeds"] if uneven else [])]
    heads += [f"{clean(column.name)}\n{_SHORT.get(column.metric, clean(column.metric))}" for column in columns]
    lines = []
    for row in table.rows:
        counts = [*([format_rank(row)] if ranked else []), *([str(row.seeds)] if uneven else [])]
        lines.append([clean(row.label), *counts, *(text(row.cell(column.name), row.seeds) for column in columns)])
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)  # rich would lay out the padding of every cell
    for head, cells in zip(heads, zip(*lines, strict=True), strict=True):
        width = max(map(cell_len, (*head.split("\n"), *cells)))  # rich would lay out every cell to find it, three times
        gap = GAP if grid.columns else 0
        grid.add_column(Text(head), justify="right" if gap else "left", no_wrap=True, width=gap + width)
    for line, row, following in zip(lines, table.rows, [*table.rows[1:], None], strict=True):
        grid.add_row(*map(Text, line), end_section=following is not None and following.badge != row.badge)
    return grid


def to_csv(tables: Sequence[ResultTable]) -> str:
    """One line per row of every table: its key, then mean, standard deviation and seeds of each column.

    After a figure's seeds is 1 or -1 where it is better or worse than the row's control, 0 where neither is shown, and
    nothing without a test. An incomplete figure is empty; `missing` lists these with their views. `contaminated` lists
    the columns with test items in the alignment text.
    """
    names = list(dict.fromkeys(column.name for table in tables for column in table.columns))
    header = ["method", "badge", "suite", "protocol", "recipe", "base", "source", "view", "grouping"]
    header += ["selection", "seeds", "best rank", "worst rank", "missing", "contaminated"]
    header += [f"{name}{part}" for name in names for part in ("", " sd", " seeds", " against control")]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(escape_csv, header))
    for table in tables:
        for row in table.rows:
            own = [(column.name, row.cell(column.name)) for column in table.columns]
            missing = "; ".join(f"{name} {cell.have}/{cell.expected}" for name, cell in own if cell.mean is None)
            contaminated = "; ".join(name for name, cell in own if cell.contaminated)
            texts = [row.label, row.badge, *table.key[:5], table.view, table.grouping, table.selection]
            figures: list[Any] = []
            for cell in map(row.cell, names):
                sd = "" if cell.sd is None else round(cell.sd, 4)
                sign = "" if cell.sign is None else cell.sign
                figures += ["", "", "", ""] if cell.mean is None else [round(cell.mean, 4), sd, cell.seeds, sign]
            rank = row.rank or ("", "")
            writer.writerow(
                [*map(escape_csv, texts), row.seeds, *rank, escape_csv(missing), escape_csv(contaminated), *figures]
            )
    return stream.getvalue()


def to_markdown(tables: Sequence[ResultTable]) -> str:
    """Each table below its caption, with its notes after it."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def _markdown(table: ResultTable) -> str:
    heads = [f"{column.name} ({column.metric})" if column.metric else column.name for column in table.columns]
    rank = ["rank"] if _has_ranks(table) else []
    lines = []
    for row in table.rows:
        figures = (format_cell(row.cell(column.name), row.seeds) for column in table.columns)
        lines.append([row.label, *(format_rank(row) for _ in rank), str(row.seeds), *figures])
    rows = markdown_rows(["method", *rank, "seeds", *heads], lines)
    return "\n\n".join([_escape_markdown(table_caption(table)), rows, *map(_escape_markdown, table.notes)])


def markdown_rows(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    rows = ["| " + " | ".join(map(_escape_markdown, line)) + " |" for line in (head, *lines)]
    return "\n".join([rows[0], "| --- " + "| ---: " * (len(head) - 1) + "|", *rows[1:]])


def _escape_markdown(text: str) -> str:
    return _MARKDOWN.sub(lambda match: "\\" + match[0], clean(text))


def _escape_label(text: str) -> str:
    """Markdown in which no address becomes a link, even where links are detected after backslashes are removed."""
    text = _escape_markdown(text)
    return text.replace("\\://", "\\:\u2060//").replace("@", "@\u2060").replace("www\\.", "www\u2060\\.")


def to_latex(tables: Sequence[ResultTable]) -> str:
    """`tabular` environments for booktabs, with a rule between badges; caption and notes are comments above."""
    return "\n".join(map(_latex, tables))


def _latex(table: ResultTable) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_escape_latex, cells)) + r" \\"

    columns = table.columns
    rank = ["rank"] if _has_ranks(table) else []
    lines = [
        f"% {clean(table_caption(table))}",
        *(f"% {clean(note)}" for note in table.notes),
        rf"\begin{{tabular}}{{l{'r' * (len(columns) + len(rank) + 1)}}}",
        r"\toprule",
        line(["method", *rank, "seeds", *(column.name for column in columns)]),
        line(["", *("" for _ in rank), "", *(column.metric for column in columns)]),
        r"\midrule",
    ]
    for row, following in zip(table.rows, [*table.rows[1:], None], strict=True):
        figures = (format_cell(row.cell(column.name), row.seeds) for column in columns)
        lines.append(line([row.label, *(format_rank(row) for _ in rank), str(row.seeds), *figures]))
        if following is not None and following.badge != row.badge:
            lines.append(r"\midrule")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def latex_rows(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A `tabular` of texts for booktabs, the first column to the left."""
    rows = [" & ".join(map(_escape_latex, line)) + r" \\" for line in (head, *lines)]
    start = rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}"
    return "\n".join([start, r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}", ""])


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in clean(text))


_FORMS: dict[str, Callable[[str], str]] = {
    "text": str,
    "csv": escape_csv,
    "markdown": _escape_markdown,
    "label": _escape_label,
    "latex": _escape_latex,
}
