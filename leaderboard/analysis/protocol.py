"""What the page Protocol tells of each task: what is measured and how, with which settings, from whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.results.rendering import escape
from harness.storage.store import AVERAGE
from leaderboard.components.tables import METRICS

METRIC_HELP = {
    "accuracy": "Accuracy: percent of items that are right.",
    "f1": "F1: harmonic mean of precision and recall, from counts over the whole test set, in percent.",
    "f1_em": "Mean of F1 over words and exact match, in percent, as XTREME averages question answering.",
}


def newest(summaries: pd.DataFrame) -> Mapping[str, Any]:
    """The newest run of a group that tells its tasks; {} where none does."""
    rows = summaries.sort_values("created", ascending=False).drop_duplicates("run")
    told = (dict(zip(rows.columns, row, strict=True)) for row in rows.itertuples(index=False, name=None))
    return next((row for row in told if (row["card"] or {}).get("tasks")), {})


def overview(run: Mapping[str, Any], summaries: pd.DataFrame) -> pd.DataFrame:
    """One line per task in the order of the suite."""
    cards = run["card"]["tasks"]
    placed = summaries[summaries["task"] != AVERAGE].groupby("task", sort=False)["position"].max().sort_values()
    lines = []
    for task in [str(name) for name in placed.index if name in cards]:
        card, views = cards[task], (run["views"] or {}).get(task, [])
        lines.append(
            {
                "task": task,
                "title": card["title"],
                "family": card["family"],
                "metric": METRICS.get(card["metric"], card["metric"]),
                "languages": len(views),
                "trained": "fine-tuned" if card["trained"] else "not trained",
                "licence": card["licence"],
            }
        )
    return pd.DataFrame(lines)


def lines(card: Mapping[str, Any], views: list[str]) -> list[tuple[str, str]]:
    """What to tell of a task, as words and texts. All of it is foreign text."""
    deviations = "; ".join(card.get("deviations") or ())
    sizes = ", ".join(f"{split}: {size}" for split, size in (card.get("sizes") or {}).items())
    told = {
        "What": card.get("description", ""),
        "How": card.get("how", ""),
        "Measure": METRIC_HELP.get(card.get("metric", ""), card.get("metric", "")),
        "Calibrated": "A threshold is tuned on each language's dev set." if card.get("calibrated") else "",
        "Languages": ", ".join(views),
        "Official sizes": sizes,
        "Differs from the official code": deviations,
        "Licence": card.get("licence", ""),
        "Cite": card.get("citation", ""),
    }
    return [(name, escape(str(text), most=3000)) for name, text in told.items() if text]


def settings(run: Mapping[str, Any], task: str) -> pd.DataFrame:
    """The settings that a task runs with; empty where the run does not tell them."""
    found = (run["card"].get("settings") or {}).get(task) or (run["recipe"].get("tasks") or {}).get(task) or {}
    kept = {name: value for name, value in found.items() if value is not None}
    return pd.DataFrame({"setting": list(kept), "value": [str(value) for value in kept.values()]})
