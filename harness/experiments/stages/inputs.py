"""What several stages read: the source, the records of a task's test and dev sets, and the encoder they start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from harness.data.source import cached_source
from harness.experiments.stage import Stage, Workbench
from harness.records import Record
from harness.registry import TASKS
from harness.task import Task, TaskSettings

if TYPE_CHECKING:
    from harness.modeling.encoder import Encoder


def task_of(stage: Stage) -> Task:
    assert stage.task is not None
    task: Task = TASKS.get(stage.task)()
    return task


def read_records(stage: Stage, views: Sequence[str], split: str, settings: TaskSettings) -> dict[str, Sequence[Record]]:
    """The records of a task's test or dev set by view, at most as many as the settings allow."""
    limit = settings.max_test if split == "test" else settings.max_dev
    task = task_of(stage)
    return {view: task.cap(read_cell(stage.place.source, task.spec.name, view, split), limit) for view in views}


@cache
def read_cell(source: str, task: str, view: str, split: str) -> Sequence[Record]:
    """The records of one cell, read once by each process."""
    return cached_source(source).task(TASKS.get(task).spec, view, split)


def load_encoder(stage: Stage, bench: Workbench, inputs: Mapping[str, str]) -> Encoder:
    """The encoder that a stage starts from: its input `encoder`, or the base itself where it has an input `base`."""
    from harness.modeling.encoder import Encoder

    path = stage.place.base if "base" in inputs else bench.input(inputs["encoder"])
    return Encoder.load(path, bench.tokens)
