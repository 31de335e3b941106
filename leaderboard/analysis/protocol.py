"""The page Protocol: what each task measures and how, with which settings, under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.results.rendering import escape
from leaderboard.analysis.board import METRIC_NAMES, tasks

METRIC_HELP = {
    "accuracy": "Accuracy: percent of items that are right.",
    "f1": "F1: harmonic mean of precision and recall, from counts over the whole test set, in percent.",
    "f1_em": "Mean of F1 over words and exact match, in percent, as XTREME averages question answering.",
}


def task_overview(run: Mapping[str, Any], summaries: pd.DataFrame) -> pd.DataFrame:
    """A line for each task in the order of the suite."""
    cards = run["card"]["tasks"]
    return pd.DataFrame(
        {
            "task": task,
            "title": cards[task]["title"],
            "family": cards[task]["family"],
            "metric": METRIC_NAMES.get(cards[task]["metric"], cards[task]["metric"]),
            "languages": len((run["views"] or {}).get(task, [])),
            "trained": "fine-tuned" if cards[task]["trained"] else "not trained",
            "licence": cards[task]["licence"],
        }
        for task in tasks(summaries)
        if task in cards
    )


def task_facts(card: Mapping[str, Any], views: list[str]) -> list[tuple[str, str]]:
    """The facts about a task as headings and texts, escaped: cards hold third-party text."""
    facts = {
        "What": card.get("description", ""),
        "How": card.get("how", ""),
        "Metric": METRIC_HELP.get(card.get("metric", ""), card.get("metric", "")),
        "Calibration": "A threshold is tuned on each language's dev set." if card.get("calibrated") else "",
        "Languages": ", ".join(views),
        "Official sizes": ", ".join(f"{split}: {size}" for split, size in (card.get("sizes") or {}).items()),
        "Differs from the official code": "; ".join(card.get("deviations") or ()),
        "Licence": card.get("licence", ""),
        "Citation": card.get("citation", ""),
    }
    return [(name, escape(str(text), most=3000)) for name, text in facts.items() if text]


def task_settings(run: Mapping[str, Any], task: str) -> pd.DataFrame:
    """The settings of a task in a run; empty if the run does not record them."""
    recorded = (run["card"].get("settings") or {}).get(task) or (run["recipe"].get("tasks") or {}).get(task) or {}
    settings = {name: value for name, value in recorded.items() if value is not None}
    return pd.DataFrame({"setting": list(settings), "value": [str(value) for value in settings.values()]})
