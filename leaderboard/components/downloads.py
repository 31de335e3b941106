"""Tables as files: CSV, JSON, Markdown and LaTeX with booktabs. Names are third-party text and are escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.results.rendering import DASH, clean, escape, to_csv, to_latex, to_markdown
from harness.results.tables import ResultTable, table_caption


class TableFiles(NamedTuple):
    """One table in every form; `stem` starts their file names."""

    stem: str
    csv: str
    json: str
    markdown: str
    latex: str


def file_stem(*words: str) -> str:
    """A file name without ending, of ASCII letters, digits, hyphens and underscores."""
    kept = ("".join(char for char in word if char.isascii() and (char.isalnum() or char in "-_")) for word in words)
    return "-".join(("alignboard", *(word[:40] for word in kept if word)))


def table_files(table: ResultTable) -> TableFiles:
    """A table of results. CSV and JSON hold numbers (mean, sd, seeds), the others formatted figures."""
    rows = []
    for row in table.rows:
        cells = {clean(column.name): row.cell(column.name) for column in table.columns}
        figures = {
            name: {"mean": c.mean, "sd": c.sd, "values": list(c.values), "have": c.have, "expected": c.expected}
            for name, c in cells.items()
        }
        rows.append({"method": clean(row.label), "badge": row.badge, "seeds": row.seeds, "figures": figures})
    record = {
        "title": clean(table_caption(table)),
        **{name: clean(value) for name, value in table.key._asdict().items()},
        "columns": [{"name": clean(column.name), "metric": clean(column.metric)} for column in table.columns],
        "rows": rows,
        "notes": list(map(clean, table.notes)),
    }
    view = "by-task" if table.view == "task" else table.view
    stem = file_stem(table.key.suite, table.key.protocol, view)
    return TableFiles(stem, to_csv([table]), _json(record), to_markdown([table]), to_latex([table]))


def frame_files(frame: pd.DataFrame, title: str, *words: str, notes: Sequence[str] = ()) -> TableFiles:
    """Any other table. Forms with a place for them hold its title and notes."""
    header = [str(name) for name in frame.columns]
    rows = [list(map(_to_python, row)) for row in frame.itertuples(index=False, name=None)]
    records = [
        {
            clean(name): clean(value) if isinstance(value, str) else value
            for name, value in zip(header, row, strict=True)
        }
        for row in rows
    ]
    safe = frame.map(lambda value: escape(value, "csv") if isinstance(value, str) else value)
    safe.columns = pd.Index([escape(name, "csv") for name in header])
    return TableFiles(
        file_stem(*words),
        safe.to_csv(index=False, lineterminator="\n"),
        _json({"title": clean(title), "rows": records, "notes": list(map(clean, notes))}),
        _markdown(title, header, rows, notes),
        _latex(title, header, rows, notes),
    )


def _to_python(value: Any) -> Any:
    """A cell as text, number or truth value; None if it is missing."""
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False)
    if value is None or pd.isna(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, (int, float)) else str(value)


def _text(value: Any) -> str:
    if value is None:
        return DASH
    return f"{round(value, 2) + 0.0:.2f}" if isinstance(value, float) else str(value)  # + 0.0: zero has no sign


def _markdown(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]], notes: Iterable[str]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return "| " + " | ".join(escape(_text(cell), "markdown") for cell in cells) + " |"

    table = [line(header), "| " + " | ".join("---" for _ in header) + " |", *map(line, rows)]
    return "\n\n".join([escape(title, "markdown"), "\n".join(table), *(escape(n, "markdown") for n in notes)]) + "\n"


def _latex(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]], notes: Iterable[str]) -> str:
    def line(cells: Iterable[Any]) -> str:
        return " & ".join(escape(_text(cell), "latex") for cell in cells) + r" \\"

    def is_number(value: Any) -> bool:
        return value is None or isinstance(value, (int, float))

    kinds = ["r" if rows and all(is_number(row[at]) for row in rows) else "l" for at in range(len(header))]
    top = [f"% {clean(text)}" for text in (title, *notes)]
    body = [rf"\begin{{tabular}}{{{''.join(kinds)}}}", r"\toprule", line(header), r"\midrule", *map(line, rows)]
    return "\n".join([*top, *body, r"\bottomrule", r"\end{tabular}", ""])


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
