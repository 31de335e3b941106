"""Two rows side by side: differences by language with intervals, and the items that one gets right and the other not.

Intervals are of items alone, paired by cluster: the runs that were made are held fixed. They are no test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.results.tables import ResultRow
from harness.storage.store import AVERAGE
from leaderboard.analysis import item_errors

LINES = " | "  # between the lines of a text
CHARACTER = 7.0  # mean width of a character of a table in pixels
FIRST, SECOND, BOTH, NEITHER = "only the first", "only the second", "both", "neither"
OUTCOMES = (FIRST, SECOND, BOTH, NEITHER)


class Sides(NamedTuple):
    """The score rows of two table rows for one task and selection, of their official metric."""

    first: pd.DataFrame
    second: pd.DataFrame
    metric: str


def sides(a: ResultRow, b: ResultRow, cells: pd.DataFrame, task: str, selection: str, metric: str) -> Sides:
    """The scores of both rows. `cells` are those of all their runs."""
    kept = cells[(cells["task"] == task) & (cells["metric"] == metric) & cells["selection"].isin([selection, ""])]
    return Sides(kept[kept["run"].isin(a.runs)], kept[kept["run"].isin(b.runs)], metric)


def by_view(found: Sides) -> pd.DataFrame:
    """One line per view that both have: `view`, `first`, `second`, `difference` (second less first), `error`.

    Means over seeds; `error` is the standard error of the difference over items, None without their statistics.
    """
    means = [side.groupby("view")["value"].mean() for side in found[:2]]
    both = pd.concat(means, axis=1, keys=["first", "second"], join="inner").reset_index()
    both["difference"] = both["second"] - both["first"]
    influence = [_by_cluster(side, found.metric) for side in found[:2]]
    both["error"] = [_error(*(part.get(view) for part in influence)) for view in both["view"]]
    low, high = (both["difference"] + sign * item_errors.Z * both["error"].astype(float) for sign in (-1, 1))
    return both.assign(low=low, high=high).sort_values("difference", ascending=False, ignore_index=True)


def _by_cluster(side: pd.DataFrame, metric: str) -> dict[str, pd.Series]:
    """For each view the influence of each cluster on the mean over seeds; views that lack a run's are left out."""
    runs = [item_errors.of_cells(rows, metric) for _, rows in side.groupby("run")]
    if not runs or any(found.empty for found in runs):
        return {}
    parts: dict[str, list[pd.Series]] = {}
    for found in runs:
        for view, rows in found.groupby("view"):
            parts.setdefault(str(view), []).append(rows.set_index("cluster")["influence"])
    return {view: item_errors.mean_of(listed) for view, listed in parts.items() if len(listed) == len(runs)}


def _error(first: pd.Series | None, second: pd.Series | None) -> float | None:
    if first is None or second is None or set(first.index) != set(second.index):
        return None  # not the same items
    return item_errors.error(second - first)


def by_task(a: ResultRow, b: ResultRow, tasks: Sequence[str]) -> pd.DataFrame:
    """One line per task and for the average: means over seeds, spreads, difference. Incomplete scores are left out."""
    lines = []
    for task in [*tasks, AVERAGE]:
        one, two = a.cell(task), b.cell(task)
        if one.mean is not None and two.mean is not None:
            lines.append(
                {
                    "task": task,
                    "first": one.mean,
                    "first sd": one.sd,
                    "second": two.mean,
                    "second sd": two.sd,
                    "difference": two.mean - one.mean,
                }
            )
    return pd.DataFrame(lines, columns=["task", "first", "first sd", "second", "second sd", "difference"])


def items(found: Sides, view: str, seed: int = 0) -> pd.DataFrame:
    """The items of one view as both rows' runs of the same place predicted them; empty where they are not kept.

    Columns: `item`, `text`, `gold`, `first`, `second`, `outcome`.
    """
    tables = [_examples(side, view, found.metric, seed) for side in found[:2]]
    if any(table.empty for table in tables):
        return pd.DataFrame(columns=["outcome", "text", "gold", "first", "second", "item"])
    one, two = tables
    two = two.rename(columns={"prediction": "second", "right": "second right"})[["item", "second", "second right"]]
    both = one.rename(columns={"prediction": "first", "right": "first right"}).merge(two, on="item")
    right = zip(both["first right"], both["second right"], strict=True)
    names = {(True, False): FIRST, (False, True): SECOND, (True, True): BOTH, (False, False): NEITHER}
    both["outcome"] = [names[bool(x), bool(y)] for x, y in right]
    return both[["outcome", "text", "gold", "first", "second", "item"]]


def _examples(side: pd.DataFrame, view: str, metric: str, seed: int) -> pd.DataFrame:
    rows = side[side["view"] == view].sort_values("run")
    if len(rows) <= seed:
        return pd.DataFrame()
    row: Any = rows.iloc[seed]
    found = item_errors.examples(str(row["stage"]), str(row["selection"]), view, metric)
    texts = [name for name in ("text", "gold", "prediction") if name in found]
    return found.assign(**{name: [in_line(str(text)) for text in found[name]] for name in texts})


def in_line(text: str) -> str:
    """A text of several lines in one, a bar between premise and hypothesis, or between question and context."""
    return LINES.join(part for line in text.splitlines() if (part := line.strip()))


def lines_of(shown: pd.DataFrame, widths: Mapping[str, int]) -> int:
    """How many lines the texts of most items take in columns of these widths in pixels."""
    taken = [
        [math.ceil(len(text) * CHARACTER / (width - 16)) for text in shown[name]] for name, width in widths.items()
    ]
    longest = sorted(max(each) for each in zip(*taken, strict=True))
    return max(1, longest[(len(longest) * 9) // 10]) if longest else 1


def searched(found: pd.DataFrame, outcomes: Sequence[str], words: str) -> pd.DataFrame:
    """The items of some outcomes that hold the words in any of their texts, whatever their case."""
    kept = found[found["outcome"].isin(outcomes)] if outcomes else found
    if not words:
        return kept
    texts = kept[["text", "gold", "first", "second", "item"]].agg(" ".join, axis=1)
    return kept[texts.str.contains(words, case=False, regex=False)]
