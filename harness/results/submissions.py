"""Predictions in the official folder layout: every fault is reported, then they are scored as XTREME scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, Protocol

from harness.data.checked_file import CheckedFile, Problem
from harness.data.languages import is_in_capitals
from harness.errors import UserError
from harness.protocols import Suite
from harness.records import Record
from harness.registry import TASKS
from harness.statistics import Statistics
from harness.task import Task

Scores = dict[str, dict[str, float]]  # metric -> language -> percent


class ScoredView(NamedTuple):
    """The final predictions of one view, the gold they are aligned with, and their statistics against it."""

    predictions: list[Any]
    records: Sequence[Record]
    statistics: Statistics


@dataclass
class SubmissionReport:
    """The scores of a submission and its faults.

    `tasks` has the scores by task, metric and view, `views` what they were computed from, by task and view. A task with
    problems is in neither.
    """

    suite: Suite
    tasks: dict[str, Scores] = field(default_factory=dict)
    views: dict[str, dict[str, ScoredView]] = field(default_factory=dict, repr=False)
    problems: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def task_score(self, name: str) -> float:
        """The mean over languages of the task's metric."""
        return fmean(self.tasks[name][TASKS.get(name).spec.metric].values())

    def overall(self) -> dict[str, float]:
        """The mean over all tasks, and over the tasks of each family; only where all of them are there."""
        groups: dict[str, list[str]] = {"all_task": list(self.suite.tasks)}
        for name in self.suite.tasks:
            groups.setdefault(TASKS.get(name).spec.family.name, []).append(name)
        complete = {name: tasks for name, tasks in groups.items() if tasks and set(tasks) <= set(self.tasks)}
        return {name: fmean(map(self.task_score, tasks)) for name, tasks in complete.items()}

    def detailed(self) -> dict[str, dict[str, Any]]:
        """By task, as the official script gives it: each metric by language, the averages, and the task's score."""
        return {
            name: {
                **scores,
                **{f"avg_{metric}": fmean(by_language.values()) for metric, by_language in scores.items()},
                "avg_metric": self.task_score(name),
            }
            for name, scores in self.tasks.items()
        }


class GoldLabels(Protocol):
    """What predictions are scored against."""

    def views(self, task: Task) -> Sequence[str]:
        """The views of a task that must be there; none where it has no gold."""

    def records(self, report: SubmissionReport, task: Task, view: str) -> Sequence[Record] | None:
        """The gold of one view, or None where it has faults, which are added to the report."""


@dataclass(frozen=True)
class LabelFolder:
    """Gold from a folder of labels: of the official languages, or with `available` of those that have labels."""

    folder: Path
    available: bool = False

    def views(self, task: Task) -> Sequence[str]:
        folder, official = self.folder / task.spec.name, task.spec.languages
        if not folder.is_dir():
            return ()
        if not self.available:
            return official
        first, last = task.file_name("*").split("*")
        held = {path.name.removeprefix(first).removesuffix(last) for path in folder.glob(task.file_name("*"))}
        for view in filter(is_in_capitals, sorted(held)):
            name, expected = task.file_name(view), task.file_name(view.lower())
            raise UserError("labels of a language in capitals", file=folder / name, expected=expected)
        return (*(view for view in official if view in held), *sorted(held - set(official)))

    def records(self, report: SubmissionReport, task: Task, view: str) -> Sequence[Record] | None:
        file = CheckedFile(self.folder / task.spec.name / task.file_name(view))
        gold = task.read_gold(file, view) if file.exists() else []
        if not gold and not file.problems:
            file.report(0, "the labels have no items")
        report.problems += file.all_problems()
        return None if file.problems else gold


def score(
    predictions: Path, labels: Path, suite: Suite, scheme: str | None = None, *, available: bool = False
) -> SubmissionReport:
    """Checks and scores a folder of predictions against a folder of labels.

    A task counts where both folders have it; then every language of its official list must be there, or with
    `available` every language that has labels. `scheme`: see tasks/metrics/spans.py. Raises
    UserError where either folder is missing.
    """
    _folder(labels)
    return score_against(predictions, LabelFolder(labels, available), suite, scheme)


def score_against(predictions: Path, gold: GoldLabels, suite: Suite, scheme: str | None = None) -> SubmissionReport:
    """Checks and scores a folder of predictions against any gold, but not against itself; as `score`."""
    _folder(predictions)
    if isinstance(gold, LabelFolder) and gold.folder.resolve() == predictions.resolve():
        raise UserError("predictions and labels are one folder", file=predictions, expected="two folders")
    report = SubmissionReport(suite)
    for name in suite.tasks:
        if not (predictions / name).is_dir():
            continue
        task = TASKS.get(name)()
        views = gold.views(task)
        if not views:
            report.notices.append(f"{name}: left out, since there are no labels for it")
            continue
        if scheme is not None:
            task.scheme = scheme
        _score_task(report, task, views, predictions / name, gold)
    return report


def _folder(path: Path) -> None:
    if not path.is_dir():
        raise UserError("the folder is missing", file=path, expected="a folder with xnli/, pawsx/, ...")


def _score_task(
    report: SubmissionReport, task: Task, views: Sequence[str], predictions: Path, gold: GoldLabels
) -> None:
    scores: Scores = {}
    scored: dict[str, ScoredView] = {}
    before = len(report.problems)
    for view in views:
        file = CheckedFile(predictions / task.file_name(view))
        if not file.exists():
            report.problems += file.all_problems()
            continue
        records = gold.records(report, task, view)
        aligned = task.read_predictions(file, records)
        report.problems += file.all_problems()
        report.notices += file.notices
        if records is None or file.problems:
            continue
        scored[view] = ScoredView(*aligned, task.statistics(*aligned))
        for metric, value in task.scores(view, *scored[view]).items():
            scores.setdefault(metric, {})[view] = value
    if len(report.problems) == before:
        report.tasks[task.spec.name], report.views[task.spec.name] = scores, scored
