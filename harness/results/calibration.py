"""The harness tests itself: how often a method is called different from itself, and how often a weaker one is found.

Runs of one method under disjoint sets of seeds differ by chance alone, so at a level of 5% about 5% of the verdicts may
say otherwise. The sets are drawn many times from the same runs; intervals take the draws as independent, which is
right for few draws from many seeds and too narrow for many draws from few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from harness.errors import UsageError, UserError
from harness.evaluation import statistics
from harness.evaluation.statistics import LEVEL, MIN_SEEDS, Difference, ItemVariances
from harness.files import write_text
from harness.results.figures import Estimate, interval_figure
from harness.results.item_reader import ItemReader, SelectedRun, read_items, variances_of
from harness.results.rendering import markdown_rows
from harness.results.verdicts import correct_p_values
from harness.storage.store import AVERAGE

ANY = "any task, corrected"  # at least one verdict after Holm's correction


class VerdictShare(NamedTuple):
    """How many of the comparisons on a task gave a verdict, with the 95% interval of their share (Clopper-Pearson)."""

    task: str
    verdicts: int
    comparisons: int

    @property
    def share(self) -> float:
        return 100 * self.verdicts / self.comparisons

    @property
    def interval(self) -> tuple[float, float]:
        found = stats.binomtest(self.verdicts, self.comparisons).proportion_ci(LEVEL)
        return 100 * float(found.low), 100 * float(found.high)


def count_verdicts(
    reader: ItemReader,
    tasks: Sequence[str],
    first: Sequence[SelectedRun],
    second: Sequence[SelectedRun],
    size: int,
    draws: int,
) -> list[VerdictShare]:
    """The share of draws in which `size` runs of `first` are called different from `size` runs of `second`, by task,
    on average and in any task.

    Where both are the same runs, the two sets of a draw are disjoint; otherwise both have the same places in their
    lists, which are those of the seeds. Raises UsageError for fewer than three runs in a set, or too few runs.
    """
    same = list(first) == list(second)
    needed = 2 * size if same else size
    if size < MIN_SEEDS or min(len(first), len(second)) < needed:
        raise UsageError(
            "too few seeds for this study",
            found=f"{min(len(first), len(second))} seeds, sets of {size}",
            expected=f"sets of at least {MIN_SEEDS}, and {needed} seeds",
            remedy="raise --seeds",
        )
    read = {task: _read_task(reader, task, {*first, *second}) for task in tasks}
    rng = np.random.default_rng(0)
    counts = dict.fromkeys([*tasks, AVERAGE, ANY], 0)
    for _ in range(draws):
        order = rng.permutation(len(first))
        sets = [first[at] for at in order[:size]], [second[at] for at in order[size:needed] if same]
        pair = (sets[0], sets[1] or [second[at] for at in order[:size]])
        found = {task: _difference([read[task]], pair) for task in tasks}
        found[AVERAGE] = _difference(list(read.values()), pair)
        for task, one in found.items():
            counts[task] += statistics.is_significant(one.p)
        corrected = correct_p_values(found[task] for task in tasks)
        counts[ANY] += any(map(statistics.is_significant, corrected))
    return [VerdictShare(task, int(number), draws) for task, number in counts.items()]


class _TaskScores(NamedTuple):
    """The scores and the items of each run on one task."""

    values: Mapping[SelectedRun, float]
    items: Mapping[SelectedRun, pd.DataFrame | None]


def _read_task(reader: ItemReader, task: str, runs: Iterable[SelectedRun]) -> _TaskScores:
    chosen = sorted(runs)
    items = {run: read_items(reader.artifacts, reader.scores(task, run)) for run in chosen}
    if any(table is None for table in items.values()):
        raise UserError(
            f"no item statistics of {task} on this machine", remedy="run the study where its runs were made"
        )
    return _TaskScores(dict(zip(chosen, reader.values(task, chosen), strict=True)), items)


def _difference(tasks: Sequence[_TaskScores], pair: tuple[Sequence[SelectedRun], Sequence[SelectedRun]]) -> Difference:
    """The difference of two sets of runs in the mean over tasks."""
    scores = np.mean([[[task.values[run] for run in runs] for runs in pair] for task in tasks], axis=0)
    parts = [variances_of([[task.items[run] for run in runs] for runs in pair]) for task in tasks]
    known: list[ItemVariances] = [part for part in parts if part is not None]
    assert len(known) == len(tasks), "runs of one study read the same items"
    scores = np.concatenate([scores, np.zeros_like(scores[:1])])
    return statistics.differences(scores, statistics.average(known)).pair(0, 1)


def write_study(
    folder: Path, method: str, size: int, same: Sequence[VerdictShare], weaker: Sequence[VerdictShare], change: str
) -> list[Path]:
    """The report as Markdown with its figures."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"# {method} against itself\n", _describe(same, method, size), _table(same)]
    figures = {"false-verdicts.svg": (same, f"Verdicts on {method} against itself, percent")}
    parts.append("![false verdicts](false-verdicts.svg)\n")
    if weaker:
        parts += [f"## Against itself with {change}\n", _table(weaker), "![found](found.svg)\n"]
        figures["found.svg"] = (weaker, f"Verdicts on {method} against itself with {change}, percent")
    for name, (shares, title) in figures.items():
        marks = [Estimate(one.task, one.share, one.interval) for one in shares]
        write_text(folder / name, interval_figure(marks, title))
    write_text(folder / "study.md", "\n".join(parts))
    return [folder / name for name in ("study.md", *figures)]


def _describe(shares: Sequence[VerdictShare], method: str, size: int) -> str:
    low, high = shares[-2].interval
    holds = low <= 100 * (1 - LEVEL) <= high
    verdict = "as the level of 5% promises" if holds else "which is not what the level of 5% promises"
    return (
        f"{shares[0].comparisons} times, {size} seeds of {method} were compared with {size} others. On average over "
        f"tasks {shares[-2].share:.1f}% of the comparisons called them different [{low:.1f}, {high:.1f}], {verdict}.\n"
    )


def _table(shares: Sequence[VerdictShare]) -> str:
    lines = [
        [
            one.task,
            f"{one.verdicts} of {one.comparisons}",
            f"{one.share:.1f}%",
            "{:.1f} to {:.1f}".format(*one.interval),
        ]
        for one in shares
    ]
    return markdown_rows(["task", "verdicts", "share", "95% interval"], lines) + "\n"
