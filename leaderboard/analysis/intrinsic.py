"""Intrinsic measures of alignment against transfer, and maps of sentences, as the stage `project` left them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from harness.data.languages import language
from harness.files import PROJECTION
from harness.results.tables import ResultRow
from leaderboard.analysis import item_errors
from leaderboard.components.look import signed
from leaderboard.components.tables import name_of

MEASURES = {
    "retrieval": "Retrieval: percent of sentences whose nearest neighbour is their translation, both directions",
    "cosine_gap": "Cosine gap: mean cosine of translations less that of other pairs",
    "cka": "CKA: linear centred kernel alignment (Kornblith et al. 2019), 1 is equal up to rotation and scale",
    "separation": "Separation: share of the variance that lies between the two languages, 0 is one cloud",
    "anisotropy": "Anisotropy: mean cosine of different sentences of a language (Ethayarajh 2019)",
}
PERCENT = ("retrieval",)  # measures in percent; the others have no unit
PROPERTIES = ("method", "family", "script", "resource")
FEWEST = 4  # points that a correlation is told of


def digits(measure: str) -> int:
    """The decimal places of a measure: one of a percentage, three of a cosine, a share or a similarity."""
    return 1 if measure in PERCENT else 3


def axis(measure: str) -> str:
    """A measure as the title of an axis, with its unit."""
    name = MEASURES[measure].partition(":")[0]
    return f"{name}, %" if measure in PERCENT else name


class Correlation(NamedTuple):
    """A coefficient with its 95 % interval (Fisher's z; for ranks with the variance of Bonett and Wright 2000)."""

    name: str
    value: float
    low: float
    high: float
    n: int


def points(
    rows: Sequence[ResultRow],
    measured: pd.DataFrame,
    cells: pd.DataFrame,
    measure: str,
    task: str,
    selection: str,
    metric: str,
) -> pd.DataFrame:
    """One line per row and language that have both: `row`, `view`, `measure`, `transfer`, means over seeds."""
    known = measured[measured["metric"] == measure]
    scored = cells[(cells["task"] == task) & (cells["metric"] == metric) & cells["selection"].isin([selection, ""])]
    scored = scored.assign(language=[str(view).partition(".")[0] for view in scored["view"]])
    lines = []
    for row in rows:
        inner = known[known["run"].isin(row.runs)].groupby("language")["value"].mean()
        outer = scored[scored["run"].isin(row.runs)].groupby("language")["value"].mean()
        both = pd.concat([inner, outer], axis=1, keys=["measure", "transfer"], join="inner").reset_index()
        lines.append(both.rename(columns={"language": "view"}).assign(row=name_of(row.label)))
    columns = ["row", "view", "measure", "transfer"]
    return pd.concat(lines, ignore_index=True)[columns] if lines else pd.DataFrame(columns=columns)


def coloured(found: pd.DataFrame, by: str, source: str) -> pd.DataFrame:
    """The points with `colour`: the row, or a property of the language."""
    if by == "method":
        return found.assign(colour=found["row"])
    values = {view: str(getattr(language(str(view), source), by)) or "unknown" for view in found["view"].unique()}
    return found.assign(colour=found["view"].map(values))


def within_ranks(found: pd.DataFrame) -> pd.DataFrame:
    """The points as ranks among the rows of their own language: what differs between languages is taken out."""
    grouped = found.groupby("view")
    ranked = found.assign(measure=grouped["measure"].rank(), transfer=grouped["transfer"].rank())
    return ranked[grouped["row"].transform("size") > 1]


def correlations(found: pd.DataFrame) -> list[Correlation]:
    """Pearson's and Spearman's coefficients with intervals; none for too few points or where one side is constant."""
    n = len(found)
    if n < FEWEST or found["measure"].nunique() < 2 or found["transfer"].nunique() < 2:
        return []
    pearson = float(stats.pearsonr(found["measure"], found["transfer"])[0])
    spearman = float(stats.spearmanr(found["measure"], found["transfer"])[0])
    return [
        _interval("Pearson", pearson, n, 1 / np.sqrt(n - 3)),
        _interval("Spearman", spearman, n, np.sqrt((1 + spearman**2 / 2) / (n - 3))),
    ]


def _interval(name: str, value: float, n: int, error: float) -> Correlation:
    z = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    low, high = (float(np.tanh(z + sign * item_errors.Z * error)) for sign in (-1, 1))
    return Correlation(name, value, low, high, n)


def sentence(found: Sequence[Correlation]) -> str:
    """The coefficients in words."""
    return ", ".join(f"{c.name} {signed(c.value, 2)} [{signed(c.low, 2)}, {signed(c.high, 2)}]" for c in found)


def sentences(fingerprint: str) -> pd.DataFrame:
    """The points of a map: `language`, `pair`, `side`, `text`, and the coordinates of each projection."""
    path = item_errors.file(fingerprint, PROJECTION)
    if path is None:
        return pd.DataFrame()
    made: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return pd.DataFrame(made.get("points", []))
