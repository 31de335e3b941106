"""Standard errors of scores over items, from the additive statistics in the artifacts of the score stages.

Errors are of one run: its items are a sample, drawn in clusters, and its seeds are fixed. Without the statistics on
this machine, accuracies have a binomial error and other metrics have none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from harness.evaluation.item_statistics import read_ratios
from harness.files import EXAMPLES, STATISTICS
from leaderboard.artifacts import find_file

Z = 1.96  # half the width of a 95 % interval in standard errors
NOTHING = pd.DataFrame({"view": [], "cluster": [], "influence": []})


def influences(fingerprint: str, selection: str, metric: str) -> pd.DataFrame:
    """By how much each cluster of items moves the score of its view: `view`, `cluster`, `influence` in points.

    Empty where the artifact is not there, or where its statistics do not declare the metric.
    """
    path = find_file(fingerprint, STATISTICS)
    return NOTHING if path is None else _influences(str(path), selection, metric)


@lru_cache(maxsize=500)
def _influences(path: str, selection: str, metric: str) -> pd.DataFrame:
    table = pd.read_parquet(path)  # an artifact never changes
    table = table[table["selection"].isin([selection, ""])]
    ratio = read_ratios(Path(path)).get(metric)
    if ratio is None or table.empty:
        return NOTHING
    above, below = ratio.parts(table)
    frame = table[["view", "cluster"]].assign(above=above, below=below)
    frame["cluster"] = frame["cluster"].where(frame["cluster"] != "", table["item"])
    sums = frame.groupby("view")[["above", "below"]].transform("sum")
    total = sums["below"].replace(0.0, np.nan)
    frame["influence"] = 100 * (frame["above"] - sums["above"] / total * frame["below"]) / total
    return frame.groupby(["view", "cluster"], sort=False)["influence"].sum().reset_index()


def mean_influence(found: pd.DataFrame, views: Collection[str] | None = None) -> pd.Series:
    """The influence of each cluster on the mean over views; clusters that views share are summed over them."""
    kept = found if views is None else found[found["view"].isin(list(views))]
    count = max(1, kept["view"].nunique())
    return kept.groupby("cluster")["influence"].sum() / count


def error(influence: pd.Series) -> float | None:
    """The standard error of a score in points: linearised, between clusters. None below two clusters."""
    count = len(influence)
    if count < 2 or influence.isna().any():
        return None
    return float(np.sqrt((influence**2).sum() * count / (count - 1)))


def mean_of(parts: Iterable[pd.Series]) -> pd.Series:
    """The influence on a mean over runs that were scored on the same items."""
    listed = list(parts)
    return pd.concat(listed).groupby(level=0).sum() / len(listed) if listed else pd.Series(dtype=float)


def of_cells(cells: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The influences on the views of some score rows of one run and one task, and of one selection."""
    parts = []
    for (stage, selection), rows in cells.groupby(["stage", "selection"]):
        found = influences(str(stage), str(selection), metric)
        parts.append(found[found["view"].isin(rows["view"])])
    return pd.concat(parts, ignore_index=True) if parts else NOTHING


def binomial(values: Iterable[float], counts: Iterable[int]) -> float:
    """The standard error in points of a mean of accuracies whose items are independent of each other."""
    parts = [value * (100 - value) / count for value, count in zip(values, counts, strict=True) if count]
    return float(np.sqrt(sum(parts)) / max(1, len(parts)))


def of_task(cells: pd.DataFrame, metric: str) -> tuple[float | None, str]:
    """The standard error of a run's task score, the mean over the views in `cells`, and what it rests on."""
    found = of_cells(cells, metric)
    if not found.empty and set(found["view"]) >= set(cells["view"]):
        return error(mean_influence(found)), "clusters of items"
    if metric == "accuracy" and len(cells):
        return binomial(cells["value"], cells["n"]), "items taken as independent"
    return None, "no item statistics on this machine"


def total(errors: Iterable[float | None]) -> float | None:
    """The standard error of a mean of independent scores; None where one of them is unknown."""
    listed: list[Any] = list(errors)
    if not listed or any(one is None for one in listed):
        return None
    return float(np.sqrt(sum(one**2 for one in listed)) / len(listed))


def examples(fingerprint: str, selection: str, view: str, metric: str) -> pd.DataFrame:
    """The kept items of one view: `item`, `text`, `gold`, `prediction`, `right`. Empty where they are not there.

    An item is right where it adds to the metric all that it can.
    """
    texts, counts = find_file(fingerprint, EXAMPLES), find_file(fingerprint, STATISTICS)
    if texts is None or counts is None:
        return pd.DataFrame()
    wanted = [("view", "==", view), ("selection", "in", [selection, ""])]
    shown, table = (pd.read_parquet(path, filters=wanted) for path in (texts, counts))
    ratio = read_ratios(counts).get(metric)
    if ratio is None:
        return pd.DataFrame()
    above, below = ratio.parts(table)
    table = table.assign(right=above >= below)[["item", "right"]].drop_duplicates("item")
    return shown.merge(table, on="item")[["item", "text", "gold", "prediction", "right"]]
