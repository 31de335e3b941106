"""What lies behind one figure of the leaderboard: the runs of its row, each with its value and its item-level error."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from harness.results.tables import ResultRow
from harness.storage.store import AVERAGE
from leaderboard.analysis import item_errors


def figure(
    row: ResultRow,
    column: str,
    summaries: pd.DataFrame,
    cells: pd.DataFrame,
    selection: str,
    languages: Collection[str] | None,
) -> pd.DataFrame:
    """One line per run of a row: seed, value of a task or of the average, its standard error over items, how many."""
    cells = cells[cells["selection"].isin([selection, ""])]
    if languages is not None:
        cells = cells[[view.partition(".")[0] in languages for view in cells["view"]]]
    lines = []
    for name in row.runs:
        own = summaries[summaries["run"] == name]
        metric = dict(zip(own["task"], own["metric"], strict=True))
        tasks = [task for task in metric if task != AVERAGE] if column == AVERAGE else [column]
        parts = {task: cells[(cells["run"] == name) & (cells["task"] == task)] for task in tasks}
        parts = {task: part[part["metric"] == metric.get(task)] for task, part in parts.items()}
        lines.append(_line(name, own, {task: part for task, part in parts.items() if len(part)}, metric))
    return pd.DataFrame(lines)


def _line(name: str, own: pd.DataFrame, parts: dict[str, pd.DataFrame], metric: dict[str, str]) -> dict[str, object]:
    found = [item_errors.of_task(part, metric[task]) for task, part in parts.items()]
    means = [float(part["value"].mean()) for part in parts.values()]
    first = own.iloc[0]
    return {
        "seed": first["align_seed"],
        "value": sum(means) / len(means) if means else None,
        "standard error": item_errors.total(error for error, _ in found),
        "error from": "; ".join(dict.fromkeys(told for _, told in found)),
        "views": sum(len(part) for part in parts.values()),
        "items": int(sum(part["n"].sum() for part in parts.values())),
        "status": first["status"],
        "run": name,
    }
