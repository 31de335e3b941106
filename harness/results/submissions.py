"""External predictions in the official folder layout: every fault found and told, then scored as XTREME scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, Protocol

from harness.data.formats import Problem, Reading, file_name, read_gold, read_predictions
from harness.errors import UserError
from harness.records import Family, Record
from harness.registry import TASKS
from harness.task import Statistics, Suite, Task, TaskSpec

Scores = dict[str, dict[str, float]]  # metric -> language -> percent


class Made(NamedTuple):
    """The predictions of one view as they count, what they are aligned with, and their statistics against it."""

    predictions: list[Any]
    records: Sequence[Record]
    statistics: Statistics


@dataclass
class Report:
    """What was found. `tasks` holds scores by task, metric and language; it is only complete without `problems`.

    `made` holds what they were computed from, by task and language.
    """

    suite: Suite
    tasks: dict[str, Scores] = field(default_factory=dict)
    made: dict[str, dict[str, Made]] = field(default_factory=dict, repr=False)
    problems: list[Problem] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def task_score(self, name: str) -> float:
        """The mean over languages of the task's metric."""
        return fmean(self.tasks[name][TASKS.get(name).spec.metric].values())

    def overall(self) -> dict[str, float]:
        """The mean over all tasks, and over the tasks of each family; only where all of them are there."""
        groups = {"all_task": self.suite.tasks}
        for family in Family:
            groups[family.value] = tuple(n for n in self.suite.tasks if TASKS.get(n).spec.family is family)
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


class Gold(Protocol):
    """What predictions are scored against."""

    def views(self, spec: TaskSpec) -> Sequence[str]:
        """The languages (or views such as de.en) of a task that must be there; none where it has no gold."""

    def records(self, report: Report, spec: TaskSpec, view: str) -> Sequence[Record] | None:
        """The gold of one view, or None where something is wrong with it, which the report then tells."""


@dataclass(frozen=True)
class LabelFolder:
    """Gold from a folder of labels: of the official languages, or with `available` of those that have labels."""

    folder: Path
    available: bool = False

    def views(self, spec: TaskSpec) -> Sequence[str]:
        if not (self.folder / spec.name).is_dir():
            return ()
        return labelled(spec, self.folder / spec.name) if self.available else spec.languages

    def records(self, report: Report, spec: TaskSpec, view: str) -> Sequence[Record] | None:
        reading = Reading(self.folder / spec.name / file_name(spec, view))
        found = read_gold(spec, view, reading) if reading.there() else []
        report.problems += reading.all()
        return None if reading.problems else found


def score(
    predictions: Path, labels: Path, suite: Suite, scheme: str | None = None, *, available: bool = False
) -> Report:
    """Checks and scores a folder of predictions against a folder of labels.

    A task counts where both folders have it; then every language of its official list must be there, or with
    `available` every language that has labels. `scheme` chooses how tagging reads spans (see tasks/metrics.py). Raises
    UserError where either folder is missing.
    """
    _folder(labels)
    return score_against(predictions, LabelFolder(labels, available), suite, scheme)


def score_against(predictions: Path, gold: Gold, suite: Suite, scheme: str | None = None) -> Report:
    """Checks and scores a folder of predictions against any gold; as `score`."""
    _folder(predictions)
    report = Report(suite)
    for name in suite.tasks:
        if not (predictions / name).is_dir():
            continue
        task: Task = TASKS.get(name)()
        views = gold.views(task.spec)
        if not views:
            report.notices.append(f"{name}: left out, since there are no labels for it")
            continue
        if scheme is not None and hasattr(task, "scheme"):
            task.scheme = scheme
        _score_task(report, task, views, predictions / name, gold)
    return report


def _folder(path: Path) -> None:
    if not path.is_dir():
        raise UserError("the folder is missing", file=path, expected="a folder with xnli/, pawsx/, ...")


def labelled(spec: TaskSpec, labels: Path) -> tuple[str, ...]:
    """The languages (or views such as de.en) that have a label file, the task's own first."""
    first, last = file_name(spec, "*").split("*")
    found = {path.name.removeprefix(first).removesuffix(last) for path in labels.glob(file_name(spec, "*"))}
    return (*(n for n in spec.languages if n in found), *sorted(found - set(spec.languages)))


def _score_task(report: Report, task: Task, views: Sequence[str], predictions: Path, gold: Gold) -> None:
    found: Scores = {}
    made: dict[str, Made] = {}
    before = len(report.problems)
    for view in views:
        reading = Reading(predictions / file_name(task.spec, view))
        if not reading.there():
            report.problems += reading.all()
            continue
        records = gold.records(report, task.spec, view)
        read = read_predictions(task.spec, reading, records)
        report.problems += reading.all()
        report.notices += reading.notices
        if records is None or reading.problems:
            continue
        made[view] = Made(*read, task.statistics(*read))
        for metric, value in task.metric(made[view].statistics.sums()).items():
            found.setdefault(metric, {})[view] = value
    if len(report.problems) == before:
        report.tasks[task.spec.name], report.made[task.spec.name] = found, made
