"""Standard errors of scores over items, from the additive statistics in the artifacts of the score stages.

Errors are of one run: its items are a sample, drawn in clusters, and its seeds are fixed. Without the statistics on
this machine, accuracies have a binomial error and other metrics have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.evaluation.item_statistics import read_ratios
from harness.files import EXAMPLES, STATISTICS
from leaderboard.artifacts import find_file

Z = 1.96  # half the width of a 95 % interval in standard errors
_NO_INFLUENCES = pd.DataFrame({"view": [], "cluster": [], "influence": []})


def score_influences(cells: pd.DataFrame, metric: str) -> pd.DataFrame:
    """How much each cluster of items moves the score of its view, in points: `view`, `cluster`, `influence`.

    `cells` are scores of one run, task and selection. Empty if their statistics are not on this machine or do not
    declare the metric.
    """
    parts = []
    for (stage, selection), rows in cells.groupby(["stage", "selection"]):
        path = find_file(str(stage), STATISTICS)
        influences = _NO_INFLUENCES if path is None else _read_influences(path, str(selection), metric)
        parts.append(influences[influences["view"].isin(rows["view"])])
    return pd.concat(parts, ignore_index=True) if parts else _NO_INFLUENCES


@lru_cache(maxsize=500)  # an artifact never changes
def _read_influences(path: Path, selection: str, metric: str) -> pd.DataFrame:
    table = pd.read_parquet(path)
    table = table[table["selection"].isin([selection, ""])]
    ratio = read_ratios(path).get(metric)
    if ratio is None or table.empty:
        return _NO_INFLUENCES
    above, below = ratio.parts(table)
    frame = table[["view", "cluster"]].assign(above=above, below=below)
    frame["cluster"] = frame["cluster"].where(frame["cluster"] != "", table["item"])
    sums = frame.groupby("view")[["above", "below"]].transform("sum")
    total = sums["below"].replace(0.0, np.nan)
    frame["influence"] = 100 * (frame["above"] - sums["above"] / total * frame["below"]) / total
    return frame.groupby(["view", "cluster"], sort=False)["influence"].sum().reset_index()


def mean_over_views(influences: pd.DataFrame) -> pd.Series:
    """The influence of each cluster on the mean over views; it is summed over views that share a cluster."""
    count = max(1, influences["view"].nunique())
    return influences.groupby("cluster")["influence"].sum() / count


def mean_over_runs(influences: Iterable[pd.Series]) -> pd.Series:
    """The influence of each cluster on the mean over runs that were scored on the same items."""
    runs = list(influences)
    return pd.concat(runs).groupby(level=0).sum() / len(runs) if runs else pd.Series(dtype=float)


def standard_error(influence: pd.Series) -> float | None:
    """The standard error of a score in points: linearised, between clusters. None below two clusters."""
    count = len(influence)
    if count < 2 or influence.isna().any():
        return None
    return float(np.sqrt((influence**2).sum() * count / (count - 1)))


def task_error(cells: pd.DataFrame, metric: str) -> tuple[float | None, str]:
    """The standard error of a run's task score, the mean over the views in `cells`, and what it is computed from."""
    influences = score_influences(cells, metric)
    if not influences.empty and set(influences["view"]) >= set(cells["view"]):
        return standard_error(mean_over_views(influences)), "clusters of items"
    if metric == "accuracy" and len(cells):
        counts = zip(cells["value"], cells["n"], strict=True)
        variances = [value * (100 - value) / count for value, count in counts if count]
        return float(np.sqrt(sum(variances)) / max(1, len(variances))), "items taken as independent"
    return None, "no item statistics on this machine"


def error_of_mean(errors: Iterable[float | None]) -> float | None:
    """The standard error of a mean of independent scores; None if one of their errors is unknown."""
    known: list[Any] = list(errors)
    if not known or any(error is None for error in known):
        return None
    return float(np.sqrt(sum(error**2 for error in known)) / len(known))


def item_examples(fingerprint: str, selection: str, view: str, metric: str) -> pd.DataFrame:
    """The stored items of one view: `item`, `text`, `gold`, `prediction`, `right`; empty if they are not here.

    An item is right if it adds to the metric all that it can.
    """
    texts, counts = find_file(fingerprint, EXAMPLES), find_file(fingerprint, STATISTICS)
    ratio = None if counts is None else read_ratios(counts).get(metric)
    if texts is None or counts is None or ratio is None:
        return pd.DataFrame()
    wanted = [("view", "==", view), ("selection", "in", [selection, ""])]
    examples, statistics = (pd.read_parquet(path, filters=wanted) for path in (texts, counts))
    above, below = ratio.parts(statistics)
    right = statistics.assign(right=above >= below)[["item", "right"]].drop_duplicates("item")
    return examples.merge(right, on="item")[["item", "text", "gold", "prediction", "right"]]
