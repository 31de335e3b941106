"""What is shown, as files: CSV, JSON, Markdown and LaTeX with booktabs. Names in them are foreign text, made inert."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.results.rendering import DASH, clean, escape, to_csv, to_latex, to_markdown
from harness.results.tables import ResultRow, ResultTable, table_caption


class Files(NamedTuple):
    """One table in every form; `stem` is the beginning of their names."""

    stem: str
    csv: str
    json: str
    markdown: str
    latex: str


def stem(*words: str) -> str:
    """A file name without an ending, of plain characters alone."""
    kept = ("".join(char for char in word if char.isascii() and (char.isalnum() or char in "-_")) for word in words)
    return "-".join(("alignboard", *(word[:40] for word in kept if word)))


def of_results(results: ResultTable) -> Files:
    """A table of results. CSV and JSON hold numbers (mean, sd, seeds), the others what one reads."""
    record = {
        "title": clean(table_caption(results)),
        **{name: clean(value) for name, value in results.key._asdict().items()},
        "columns": [{"name": clean(column.name), "metric": clean(column.metric)} for column in results.columns],
        "rows": [_row(results, row) for row in results.rows],
        "notes": list(map(clean, results.notes)),
    }
    one = [results]
    view = "by-task" if results.view == "task" else results.view
    name = stem(results.key.suite, results.key.protocol, view)
    return Files(name, to_csv(one), _json(record), to_markdown(one), to_latex(one))


def _row(results: ResultTable, row: ResultRow) -> dict[str, Any]:
    cells = {column.name: row.cell(column.name) for column in results.columns}
    figures = {
        clean(name): {
            "mean": cell.mean,
            "sd": cell.sd,
            "values": list(cell.values),
            "have": cell.have,
            "expected": cell.expected,
        }
        for name, cell in cells.items()
    }
    return {"method": clean(row.label), "badge": row.badge, "seeds": row.seeds, "figures": figures}


def of_frame(frame: pd.DataFrame, title: str, *words: str, notes: Sequence[str] = ()) -> Files:
    """Any other table. Its title and its notes stand in the forms that have a place for them."""
    header = [str(name) for name in frame.columns]
    rows = [list(map(_value, row)) for row in frame.itertuples(index=False, name=None)]
    records = [{clean(name): _plain(value) for name, value in zip(header, row, strict=True)} for row in rows]
    safe = frame.map(lambda value: escape(value, "csv") if isinstance(value, str) else value)
    safe.columns = pd.Index([escape(name, "csv") for name in header])
    return Files(
        stem(*words),
        safe.to_csv(index=False, lineterminator="\n"),
        _json({"title": clean(title), "rows": records, "notes": list(map(clean, notes))}),
        _markdown(title, header, rows, notes),
        _latex(title, header, rows, notes),
    )


def _value(value: Any) -> Any:
    """A cell as Python has it: nothing for what is missing."""
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False)
    return None if value is None or pd.isna(value) else value.item() if hasattr(value, "item") else value


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, bool, type(None))) else clean(str(value))


def _text(value: Any) -> str:
    if value is None:
        return DASH
    return f"{round(value, 2) + 0.0:.2f}" if isinstance(value, float) else str(value)  # zero has no sign


def _markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]], notes: Iterable[str]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(escape(_text(cell), "markdown") for cell in cells) + " |"

    table = [line(header), "| " + " | ".join("---" for _ in header) + " |", *map(line, rows)]
    return "\n\n".join([escape(title, "markdown"), "\n".join(table), *(escape(n, "markdown") for n in notes)]) + "\n"


def _latex(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]], notes: Iterable[str]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return " & ".join(escape(_text(cell), "latex") for cell in cells) + r" \\"

    kinds = ["r" if rows and all(_is_number(row[at]) for row in rows) else "l" for at in range(len(header))]
    top = [f"% {clean(text)}" for text in (title, *notes)]
    body = [rf"\begin{{tabular}}{{{''.join(kinds)}}}", r"\toprule", line(header), r"\midrule", *map(line, rows)]
    return "\n".join([*top, *body, r"\bottomrule", r"\end{tabular}", ""])


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
