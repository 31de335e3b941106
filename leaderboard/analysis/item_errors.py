"""Standard errors of single runs over their items, from the additive statistics in the artifacts of score stages.

A run's items are a sample, drawn in clusters, and its seeds are fixed. Without the statistics on this machine,
accuracies have a binomial error and other metrics have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import UserError
from harness.evaluation.item_statistics import read_ratios
from harness.files import EXAMPLES, STATISTICS
from harness.results.item_reader import read_items, variances_of
from harness.results.tables import frame_records
from harness.storage.home import artifacts_root
from leaderboard.artifacts import find_file

Z = 1.96  # half the width of a 95 % interval in standard errors


def task_error(cells: pd.DataFrame, metric: str) -> tuple[float | None, str]:
    """The standard error of a run's task score, the mean over the views in `cells`, and what it is computed from."""
    try:
        items = read_items(artifacts_root(), frame_records(cells[cells["metric"] == metric]))
    except UserError as error:
        return None, str(error)
    parts = None if items is None else variances_of([[items]])
    if parts is not None:
        between = float(parts.between[0, -1])  # against nothing
        return (between**0.5 if np.isfinite(between) else None), "clusters of items"
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
