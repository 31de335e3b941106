"""Two rows side by side: differences by language with intervals, and the items that one gets right and the other not.

Intervals are over items alone, paired by cluster, with the runs held fixed. They are not a test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.results.tables import ResultRow
from harness.results.versions import differing_views
from harness.storage.store import AVERAGE
from leaderboard.analysis import item_errors

SEPARATOR = " | "  # between the lines of a text that is shown on one line
CHARACTER = 7.0  # mean width of a character of a table in pixels
FIRST, SECOND, BOTH, NEITHER = "only the first", "only the second", "both", "neither"
OUTCOMES = (FIRST, SECOND, BOTH, NEITHER)


class PairedScores(NamedTuple):
    """The scores of two rows for one task and selection, in the task's official metric.

    `changed` are the views whose test items are not the same in both, so that their items cannot be compared.
    """

    first: pd.DataFrame
    second: pd.DataFrame
    metric: str
    changed: frozenset[str] = frozenset()


def pair_scores(
    first: ResultRow, second: ResultRow, cells: pd.DataFrame, task: str, selection: str, metric: str
) -> PairedScores:
    """The scores of both rows from `cells`, which hold the scores of all their runs."""
    kept = cells[(cells["task"] == task) & (cells["metric"] == metric) & cells["selection"].isin([selection, ""])]
    changed = differing_views(first.data, second.data, task)
    views = frozenset(kept["view"].unique() if changed is None else changed)
    one, two = (_in_order(kept, row.runs) for row in (first, second))
    return PairedScores(one, two, metric, views)


def _in_order(scores: pd.DataFrame, runs: Sequence[str]) -> pd.DataFrame:
    """The scores of some runs, in the order of the runs, which is that of their seeds."""
    order = scores["run"].map({run: place for place, run in enumerate(runs)}).dropna().sort_values(kind="stable")
    return scores.loc[order.index]


def view_differences(paired: PairedScores) -> pd.DataFrame:
    """A line for each view that both have: `view`, `first`, `second`, `difference` (second minus first), `error`,
    `low`, `high`, from the largest gain down.

    Means are over seeds; `error` is the standard error of the difference over items, None without their statistics and
    where the items have changed.
    """
    sides = (paired.first, paired.second)
    means = [scores.groupby("view")["value"].mean() for scores in sides]
    lines = pd.concat(means, axis=1, keys=["first", "second"], join="inner").reset_index()
    lines["difference"] = lines["second"] - lines["first"]
    first, second = (_influences_by_view(scores, paired.metric) for scores in sides)
    lines["error"] = [
        None if view in paired.changed else _difference_error(first.get(view), second.get(view))
        for view in lines["view"]
    ]
    low, high = (lines["difference"] + sign * item_errors.Z * lines["error"].astype(float) for sign in (-1, 1))
    return lines.assign(low=low, high=high).sort_values("difference", ascending=False, ignore_index=True)


def _influences_by_view(scores: pd.DataFrame, metric: str) -> dict[str, pd.Series]:
    """For each view the influence of each cluster on the mean over seeds; views that a run lacks are left out."""
    runs = [item_errors.score_influences(rows, metric) for _, rows in scores.groupby("run")]
    if not runs or any(influences.empty for influences in runs):
        return {}
    by_view: dict[str, list[pd.Series]] = {}
    for influences in runs:
        for view, rows in influences.groupby("view"):
            by_view.setdefault(str(view), []).append(rows.set_index("cluster")["influence"])
    return {view: item_errors.mean_over_runs(listed) for view, listed in by_view.items() if len(listed) == len(runs)}


def _difference_error(first: pd.Series | None, second: pd.Series | None) -> float | None:
    if first is None or second is None or set(first.index) != set(second.index):
        return None  # not the same items
    return item_errors.standard_error(second - first)


def task_comparison(first: ResultRow, second: ResultRow, tasks: Sequence[str]) -> pd.DataFrame:
    """A line for each task and the average: means over seeds, spreads, difference. Incomplete scores are left out."""
    lines = []
    for task in [*tasks, AVERAGE]:
        one, two = first.cell(task), second.cell(task)
        if one.mean is not None and two.mean is not None:
            lines.append((task, one.mean, one.sd, two.mean, two.sd, two.mean - one.mean))
    return pd.DataFrame(lines, columns=["task", "first", "first sd", "second", "second sd", "difference"])


def compare_items(paired: PairedScores, view: str) -> pd.DataFrame:
    """The stored items of one view as the first run of each row predicted them; empty if they are not kept, or not the
    same in both rows.

    Columns: `outcome`, `text`, `gold`, `first`, `second`, `item`.
    """
    first, second = (_examples(scores, view, paired.metric) for scores in (paired.first, paired.second))
    columns = ["outcome", "text", "gold", "first", "second", "item"]
    if first.empty or second.empty or view in paired.changed:
        return pd.DataFrame(columns=columns)
    second = second.rename(columns={"prediction": "second", "right": "second right"})
    first = first.rename(columns={"prediction": "first", "right": "first right"})
    both = first.merge(second[["item", "second", "second right"]], on="item")
    names = {(True, False): FIRST, (False, True): SECOND, (True, True): BOTH, (False, False): NEITHER}
    right = zip(both["first right"], both["second right"], strict=True)
    both["outcome"] = [names[bool(one), bool(two)] for one, two in right]
    return both[columns]


def _examples(scores: pd.DataFrame, view: str, metric: str) -> pd.DataFrame:
    rows = scores[scores["view"] == view]
    if rows.empty:
        return pd.DataFrame()
    row: Any = rows.iloc[0]
    examples = item_errors.item_examples(str(row["stage"]), str(row["selection"]), view, metric)
    texts = [name for name in ("text", "gold", "prediction") if name in examples]
    return examples.assign(**{name: [single_line(str(text)) for text in examples[name]] for name in texts})


def single_line(text: str) -> str:
    """A text of several lines on one line, for example premise | hypothesis."""
    return SEPARATOR.join(part for line in text.splitlines() if (part := line.strip()))


def typical_line_count(items: pd.DataFrame, widths: Mapping[str, int]) -> int:
    """The number of lines that nine in ten items need, if columns have these widths in pixels."""
    needed = [
        [math.ceil(len(text) * CHARACTER / (width - 16)) for text in items[name]] for name, width in widths.items()
    ]
    longest = sorted(max(each) for each in zip(*needed, strict=True))
    return max(1, longest[(len(longest) * 9) // 10]) if longest else 1


def filter_items(items: pd.DataFrame, outcomes: Sequence[str], words: str) -> pd.DataFrame:
    """The items with some outcomes that contain the words in any of their texts, ignoring case."""
    kept = items[items["outcome"].isin(outcomes)] if outcomes else items
    if not words:
        return kept
    texts = kept[["text", "gold", "first", "second", "item"]].agg(" ".join, axis=1)
    return kept[texts.str.contains(words, case=False, regex=False)]
