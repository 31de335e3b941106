"""Intrinsic measures of alignment against transfer, and maps of sentences, from the stage `project`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import pandas as pd

from harness.data.languages import language
from harness.evaluation.correlation import Correlation
from harness.files import PROJECTION, read_json
from harness.results.rendering import format_signed
from harness.results.tables import ResultRow
from leaderboard.analysis.board import row_name
from leaderboard.artifacts import find_file

MEASURES = {
    "retrieval": "Accuracy@1: percent of mapped sentences whose nearest neighbour is their translation, both ways",
    "neighbour_rank": "Neighbour rank: median place of the translation among all sentences, 1 is the nearest",
    "cosine_gap": "Cosine gap: mean cosine of translations minus that of other pairs",
    "cka": "CKA: linear centred kernel alignment (Kornblith et al. 2019), 1 is equal up to rotation and scale",
    "separation": "Separation: share of the variance between the two languages, 0 is one cloud",
    "anisotropy": "Anisotropy: mean cosine of different sentences of a language (Ethayarajh 2019)",
}
PERCENT = ("retrieval",)  # measures in percent; the others have no unit
ONE_DECIMAL = (*PERCENT, "neighbour_rank")
PROPERTIES = ("method", "family", "script", "resource")


def decimal_places(measure: str) -> int:
    """One for a percentage or a rank, three for a cosine, a share or a similarity."""
    return 1 if measure in ONE_DECIMAL else 3


def measure_name(measure: str) -> str:
    return MEASURES[measure].partition(":")[0]


def axis_title(measure: str) -> str:
    """The name of a measure with its unit."""
    return f"{measure_name(measure)}, %" if measure in PERCENT else measure_name(measure)


def measure_points(
    rows: Sequence[ResultRow],
    measured: pd.DataFrame,
    cells: pd.DataFrame,
    measure: str,
    task: str,
    selection: str,
    metric: str,
) -> pd.DataFrame:
    """A line for each row and language with a measure and a score: `row`, `view`, `measure`, `transfer`, means over
    seeds."""
    known = measured[measured["metric"] == measure]
    scored = cells[(cells["task"] == task) & (cells["metric"] == metric) & cells["selection"].isin([selection, ""])]
    scored = scored.assign(language=[str(view).partition(".")[0] for view in scored["view"]])
    lines = []
    for row in rows:
        inner = known[known["run"].isin(row.runs)].groupby("language")["value"].mean()
        outer = scored[scored["run"].isin(row.runs)].groupby("language")["value"].mean()
        both = pd.concat([inner, outer], axis=1, keys=["measure", "transfer"], join="inner").reset_index()
        lines.append(both.rename(columns={"language": "view"}).assign(row=row_name(row.label)))
    columns = ["row", "view", "measure", "transfer"]
    return pd.concat(lines, ignore_index=True)[columns] if lines else pd.DataFrame(columns=columns)


def add_colour(points: pd.DataFrame, by: str, source: str) -> pd.DataFrame:
    """The points with `colour`: the row, or a property of the language."""
    if by == "method":
        return points.assign(colour=points["row"])
    values = {view: str(getattr(language(str(view), source), by)) or "unknown" for view in points["view"].unique()}
    return points.assign(colour=points["view"].map(values))


def centre_within_languages(points: pd.DataFrame) -> pd.DataFrame:
    """The points around the means of their language, of languages with several rows: what is left when languages are
    not compared with each other."""
    grouped = points.groupby("view")
    sides = {name: points[name] - grouped[name].transform("mean") for name in ("measure", "transfer")}
    return points.assign(**sides)[grouped["row"].transform("size") > 1]


def describe_correlations(found: Sequence[Correlation]) -> str:
    """The coefficients as text: "Pearson +0.71 [+0.20, +0.92], ..."."""
    parts = []
    for one in found:
        interval = "" if isnan(one.low) else f" [{format_signed(one.low, 2)}, {format_signed(one.high, 2)}]"
        parts.append(f"{one.name} {format_signed(one.value, 2)}{interval}")
    return ", ".join(parts)


def describe_relation(found: Sequence[Correlation], measure: str) -> str:
    """What coefficients within languages say of a measure, in words."""
    name = measure_name(measure)
    if all(one.low > 0 for one in found):
        return f"Within languages, higher {name} goes with higher scores"
    if all(one.high < 0 for one in found):
        return f"Within languages, higher {name} goes with lower scores"
    return f"Within languages, no relation of {name} to scores can be seen"


def map_points(fingerprint: str) -> pd.DataFrame:
    """The points of a map: `language`, `pair`, `side`, `text` and coordinates; empty if it is not on this machine."""
    path = find_file(fingerprint, PROJECTION)
    if path is None:
        return pd.DataFrame()
    return pd.DataFrame(read_json(path).get("points", []))
