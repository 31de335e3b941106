"""The page Method: a method's docstring in sections, its scores by language and seed, learning curves and costs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from harness.results.findings import format_difference
from harness.results.rendering import DASH, format_cell, format_rank
from harness.results.tables import ResultRow
from harness.results.verdicts import Verdicts
from leaderboard.analysis import item_errors
from leaderboard.analysis.board import task_metric, tasks

_SECTION = re.compile(r"\b(References?|Objective|Inputs|Relations|Released code|Losses|Example|Limits?):\s")
_MAX_VIEWS = 12  # dev languages that can be told apart in a chart of curves


class DocSection(NamedTuple):
    """A section of a docstring under its title; the first has none."""

    title: str
    text: str


def docstring_sections(docstring: str) -> list[DocSection]:
    """A method's docstring by sections. Lines are joined into paragraphs, except indented ones, which are formulas."""
    pieces = _SECTION.split(inspect.cleandoc(docstring))
    sections = [DocSection("", pieces[0]), *map(DocSection, pieces[1::2], pieces[2::2])]
    return [DocSection(title, _join_lines(text)) for title, text in sections if text.strip()]


def _join_lines(text: str) -> str:
    lines: list[str] = []
    for line in text.strip().splitlines():
        formula = line.startswith("    ") and line.strip()
        if formula or not lines or not line.strip() or lines[-1].startswith("    "):
            lines.append(line if formula else line.strip())
        else:
            lines[-1] = f"{lines[-1]} {line.strip()}"
    return "\n".join(lines)


def score_strip(row: ResultRow, names: Sequence[str], verdicts: Verdicts | None) -> pd.DataFrame:
    """Three lines, the score, the gain over the control and the rank, with a column for each of `names`."""
    columns: dict[str, list[str]] = {"": ["Score, %", "Gain", "Rank"]}
    for name in names:
        compared = verdicts.columns.get(name) if verdicts else None
        gain = rank = DASH
        if verdicts and compared and row.label in compared.labels:
            rank = format_rank(replace(row, rank=compared.rank(row.label)))
            if (control := verdicts.controls.get(row.label)) in compared.labels:
                gain = format_difference(compared.difference(row.label, str(control)))
        columns[name] = [format_cell(row.cell(name), row.seeds), gain, rank]
    return pd.DataFrame(columns)


def score_map(row: ResultRow, cells: pd.DataFrame, summaries: pd.DataFrame, selection: str) -> pd.DataFrame:
    """The mean over seeds of each task and view: `task`, `view`, `value`."""
    kept = cells[cells["run"].isin(row.runs) & cells["selection"].isin([selection, ""])]
    lines = []
    for task in tasks(summaries):
        own = kept[(kept["task"] == task) & (kept["metric"] == task_metric(summaries, task))]
        lines += [(task, view, float(scores.mean())) for view, scores in own.groupby("view")["value"]]
    return pd.DataFrame(lines, columns=["task", "view", "value"])


def scores_by_view(
    row: ResultRow, cells: pd.DataFrame, summaries: pd.DataFrame, task: str, selection: str
) -> pd.DataFrame:
    """A line for each run and view of a task: `view`, `seed`, `value`, `error` (standard error over items), `n`,
    `run`."""
    kept = cells[(cells["task"] == task) & cells["selection"].isin([selection, ""])]
    kept = kept[kept["metric"] == task_metric(summaries, task)]
    seeds = summaries.drop_duplicates("run").set_index("run")["align_seed"]
    lines = []
    for run in row.runs:
        for _, part in kept[kept["run"] == run].groupby("view", sort=False):
            score = part.iloc[0]
            error, _ = item_errors.task_error(part, str(score["metric"]))
            lines.append((score["view"], seeds.get(run), score["value"], error, score["n"], run))
    return pd.DataFrame(lines, columns=["view", "seed", "value", "error", "n", "run"])


def summarise_views(scores: pd.DataFrame) -> pd.DataFrame:
    """By view: mean and standard deviation over seeds, the error over items of the first run."""
    grouped = scores.groupby("view", sort=False)
    summary = grouped["value"].agg(["mean", "std", "count"]).reset_index()
    summary["error"] = list(grouped["error"].first())
    summary["items"] = list(grouped["n"].first())
    names = {"mean": "score", "std": "sd", "count": "seeds", "error": "standard error"}
    return summary.rename(columns=names)


def dev_curve(dev: pd.DataFrame, task: str, metric: str) -> pd.DataFrame:
    """Dev scores during fine-tuning, mean over seeds, of the first views: `step`, `view`, `value`."""
    kept = dev[(dev["task"] == task) & (dev["metric"] == metric) & (dev["selection"] == "curve")]
    means = kept.groupby(["step", "view"], as_index=False)["value"].mean()
    views = list(dict.fromkeys(means["view"]))[:_MAX_VIEWS]
    return pd.DataFrame(means.loc[means["view"].isin(views)])


def loss_curves(traces: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The loss terms of the alignment, mean over seeds: `term`, `step`, `value`."""
    lines = [
        {"step": point["step"], "term": term, "value": value}
        for trace in traces
        for point in trace.get("losses", ())
        for term, value in point.items()
        if term != "step" and isinstance(value, (int, float))
    ]
    losses = pd.DataFrame(lines, columns=["step", "term", "value"])
    return losses.groupby(["term", "step"])["value"].mean().reset_index()


def stage_costs(links: pd.DataFrame) -> pd.DataFrame:
    """By kind of stage, over all runs of a row: stages, device seconds, million tokens, tokens per second, peak MiB."""
    used = links.drop_duplicates("fingerprint")
    used = used[used["kind"].isin(["pretrain", "align", "finetune", "predict", "embed"])]
    costs = used.groupby("kind", sort=False).agg(
        stages=("fingerprint", "size"),
        seconds=("device_seconds", "sum"),
        tokens=("tokens", "sum"),
        memory=("peak_memory_bytes", "max"),
    )
    costs["tokens per second"] = [
        tokens / seconds if seconds and tokens else None
        for tokens, seconds in zip(costs["tokens"], costs["seconds"], strict=True)
    ]
    costs["million tokens"] = costs["tokens"].astype(float) / 1e6
    costs["peak MiB"] = costs["memory"].astype(float) / 2**20
    columns = ["kind", "stages", "seconds", "million tokens", "tokens per second", "peak MiB"]
    return costs.reset_index()[columns]
