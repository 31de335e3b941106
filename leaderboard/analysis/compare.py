"""Two rows side by side: differences by language with intervals, and the items that one gets right and the other not.

Intervals are those of `harness.results.verdicts`: over seeds and items, and below three seeds over items alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.data.babel.gloss import gloss_text
from harness.data.babel.settings import parse_settings
from harness.data.languages import plain_source
from harness.results.tables import ResultRow
from harness.results.verdicts import ComparedLine
from harness.results.versions import differing_views
from leaderboard.analysis import item_errors

SEPARATOR = " | "  # between the lines of a text that is shown on one line
CHARACTER = 7.0  # mean width of a character of a table in pixels
FIRST, SECOND, BOTH, NEITHER = "only the first", "only the second", "both", "neither"
ONE, ALL = "only one", "all"
OUTCOMES = {ONE: (FIRST, SECOND), **{name: (name,) for name in (FIRST, SECOND, BOTH, NEITHER)}, ALL: ()}


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


def view_differences(paired: PairedScores, compared: Sequence[ComparedLine]) -> pd.DataFrame:
    """A line for each view that both have: `view`, `first`, `second`, `difference` (second minus first), `error`,
    `low`, `high`, `p`.

    Means are over seeds; intervals are those of the lines of `compared` (second row minus first, by view), None where
    a view has no line there.
    """
    means = [scores.groupby("view")["value"].mean() for scores in (paired.first, paired.second)]
    lines = pd.concat(means, axis=1, keys=["first", "second"], join="inner").reset_index()
    lines["difference"] = lines["second"] - lines["first"]
    intervals = interval_frame({line.view: line for line in compared}, lines["view"])
    return pd.concat([lines, intervals], axis="columns")


def interval_frame(compared: Mapping[str, ComparedLine], names: Iterable[str]) -> pd.DataFrame:
    """The `error`, the ends of the interval and the corrected p-value of each name's line; NaN without one."""
    records = []
    for name in names:
        line = compared.get(name)
        interval = None if line is None else line.difference.known_interval()
        error, p = (None, None) if line is None else (line.difference.known_error, line.p)
        records.append((error, *(interval or (None, None)), p))
    return pd.DataFrame(records, columns=["error", "low", "high", "p"], dtype=float)


def task_comparison(
    first: ResultRow, second: ResultRow, names: Sequence[str], compared: Sequence[ComparedLine]
) -> pd.DataFrame:
    """A line for each column of `names`: means over seeds, spreads, difference, `error`, `low`, `high`, `p`.

    Incomplete scores are left out. `compared` has the lines of the second row minus the first.
    """
    lines = []
    for task in names:
        one, two = first.cell(task), second.cell(task)
        if one.mean is not None and two.mean is not None:
            lines.append((task, one.mean, one.sd, two.mean, two.sd, two.mean - one.mean))
    found = pd.DataFrame(lines, columns=["task", "first", "first sd", "second", "second sd", "difference"])
    return pd.concat([found, interval_frame({line.task: line for line in compared}, found["task"])], axis="columns")


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


def split_texts(items: pd.DataFrame) -> pd.DataFrame:
    """The items with their two texts, such as premise and hypothesis, as `text` and `other`, if each has two."""
    parts = [text.split(SEPARATOR) for text in items["text"]]
    if items.empty or any(len(texts) != 2 for texts in parts):
        return items
    split = items.assign(text=[texts[0] for texts in parts])
    split.insert(list(items.columns).index("text") + 1, "other", [texts[1] for texts in parts])
    return split


def add_gloss(items: pd.DataFrame, source: str, view: str) -> pd.DataFrame:
    """The items with the meaning of each word of their texts as `gloss`, in a language of the made-up world."""
    plain = plain_source(source)
    kind, _, location = plain.partition(":")
    changed = not source.endswith(plain)  # by a transform: its words are not those of the world
    settings = parse_settings(location) if kind == "babel" and not changed else None
    if settings is None or view not in settings.languages:
        return items
    shown = items["text"] + (SEPARATOR + items["other"] if "other" in items else "")
    glossed = items.copy()
    place = list(items.columns).index("gold")
    glossed.insert(place, "gloss", [gloss_text(settings, view, text) for text in shown])
    return glossed


def typical_line_count(items: pd.DataFrame, widths: Mapping[str, int]) -> int:
    """The number of lines that nine in ten items need, if columns have these widths in pixels."""
    needed = [
        [math.ceil(len(text) * CHARACTER / (width - 16)) for text in items[name]]
        for name, width in widths.items()
        if name in items
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
