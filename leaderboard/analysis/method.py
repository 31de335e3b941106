"""What the page Method shows of one row: its card in parts, its scores by language and seed, its learning curves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from harness.results.tables import ResultRow
from harness.storage.store import AVERAGE
from leaderboard.analysis import item_errors

_SECTION = re.compile(r"\b(References?|Objective|Inputs|Relations|Losses|Example|Limits?):\s")
_FEW = 12  # dev languages that a chart of curves can tell apart


class Part(NamedTuple):
    """A part of a docstring under its word; the first has none."""

    title: str
    text: str


def sections(docstring: str) -> list[Part]:
    """A method's docstring by its sections, lines joined, but for indented ones: they are formulas."""
    pieces = _SECTION.split(inspect.cleandoc(docstring))
    parts = [Part("", pieces[0]), *map(Part, pieces[1::2], pieces[2::2])]
    return [Part(title, _joined(text)) for title, text in parts if text.strip()]


def _joined(text: str) -> str:
    lines: list[str] = []
    for line in text.strip().splitlines():
        formula = line.startswith("    ") and line.strip()
        if formula or not lines or not line.strip() or lines[-1].startswith("    "):
            lines.append(line if formula else line.strip())
        else:
            lines[-1] = f"{lines[-1]} {line.strip()}"
    return "\n".join(lines)


def by_view(row: ResultRow, cells: pd.DataFrame, summaries: pd.DataFrame, task: str, selection: str) -> pd.DataFrame:
    """One line per run and view of a task: `view`, `seed`, `value`, `error` (standard error over items), `run`."""
    metric = summaries.loc[summaries["task"] == task, "metric"]
    kept = cells[(cells["task"] == task) & cells["selection"].isin([selection, ""])]
    kept = kept[kept["metric"] == (metric.iloc[0] if len(metric) else "")]
    seeds = summaries.drop_duplicates("run").set_index("run")["align_seed"]
    lines = []
    for name in row.runs:
        for _, part in kept[kept["run"] == name].groupby("view", sort=False):
            only = part.iloc[0]
            error, _ = item_errors.of_task(part, str(only["metric"]))
            seed = seeds.get(name)
            lines.append(
                {
                    "view": only["view"],
                    "seed": seed,
                    "value": only["value"],
                    "error": error,
                    "n": only["n"],
                    "run": name,
                }
            )
    return pd.DataFrame(lines, columns=["view", "seed", "value", "error", "n", "run"])


def spread(lines: pd.DataFrame) -> pd.DataFrame:
    """By view: the mean over seeds, the standard deviation over seeds, the item-level error of the first run."""
    grouped = lines.groupby("view", sort=False)
    found = grouped["value"].agg(["mean", "std", "count"]).reset_index()
    found["error"] = list(grouped["error"].first())
    found["items"] = list(grouped["n"].first())
    names = {"mean": "score", "std": "sd", "count": "seeds", "error": "standard error"}
    return found.rename(columns=names).sort_values("score", ascending=False, ignore_index=True)


def dev_curve(dev: pd.DataFrame, task: str, metric: str) -> pd.DataFrame:
    """The dev scores during fine-tuning, mean over seeds: `step`, `view`, `value`."""
    kept = dev[(dev["task"] == task) & (dev["metric"] == metric) & (dev["selection"] == "curve")]
    means = kept.groupby(["step", "view"], as_index=False)["value"].mean()
    views = list(dict.fromkeys(means["view"]))[:_FEW]
    kept = means.loc[means["view"].isin(views)]
    return pd.DataFrame(kept)


def losses(traces: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The loss terms of the alignment, mean over seeds: `step`, `term`, `value`."""
    lines = [
        {"step": point["step"], "term": term, "value": value}
        for trace in traces
        for point in trace.get("losses", ())
        for term, value in point.items()
        if term != "step" and isinstance(value, (int, float))
    ]
    found = pd.DataFrame(lines, columns=["step", "term", "value"])
    return found.groupby(["term", "step"])["value"].mean().reset_index()


def throughput(links: pd.DataFrame) -> pd.DataFrame:
    """By kind of stage, over the runs of a row: device seconds, million tokens, tokens per second, peak memory."""
    used = links.drop_duplicates("fingerprint")
    used = used[used["kind"].isin(["pretrain", "align", "finetune", "predict", "embed"])]
    sums = used.groupby("kind", sort=False).agg(
        stages=("fingerprint", "size"),
        seconds=("device_seconds", "sum"),
        tokens=("tokens", "sum"),
        memory=("peak_memory_bytes", "max"),
    )
    sums["tokens per second"] = [
        t / s if s and t else None for t, s in zip(sums["tokens"], sums["seconds"], strict=True)
    ]
    sums["million tokens"] = sums["tokens"].astype(float) / 1e6
    sums["peak MiB"] = sums["memory"].astype(float) / 2**20
    columns = ["kind", "stages", "seconds", "million tokens", "tokens per second", "peak MiB"]
    return sums.reset_index().rename(columns={"seconds": "seconds"})[columns]


def metric_of(summaries: pd.DataFrame, task: str) -> str:
    found = summaries.loc[(summaries["task"] == task) & (summaries["task"] != AVERAGE), "metric"]
    return str(found.iloc[0]) if len(found) else ""
