"""Scores a task's predictions: statistics of every item, and the metrics that follow from their sums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.evaluation.item_statistics import SCORES, Scored, scores_of, write
from harness.experiments.stage import Stage, StageRows, Workbench
from harness.experiments.stages.inputs import read_records, task_of
from harness.files import PREDICTIONS, read_json
from harness.storage.store import ScoreRow
from harness.task import TaskSettings


@dataclass(frozen=True, kw_only=True)
class Score(Stage):
    """Input `predictions`."""

    kind: ClassVar[str] = "score"
    row_files: ClassVar[tuple[str, ...]] = (SCORES,)
    on_device: ClassVar[bool] = False
    settings: TaskSettings
    views: tuple[str, ...]

    def run(self, bench: Workbench, folder: Path) -> None:
        task = task_of(self)
        predictions = read_json(bench.input(self.inputs["predictions"]) / PREDICTIONS)
        records = read_records(self, self.views, "test", self.settings)
        parts = [
            Scored(
                selection,
                view,
                made["final"],
                records[view],
                task.statistics(made["final"], records[view]),
                step=made["step"],
            )
            for selection, views in predictions.items()
            for view, made in views.items()
        ]
        write(folder, task, parts, scores_of(task, parts))

    def rows(self, folder: Path, protocol: str) -> StageRows:
        assert self.task is not None
        return StageRows(
            [
                ScoreRow(
                    stage=self.fingerprint,
                    task=self.task,
                    language=score["view"].partition(".")[0],
                    split="test",
                    protocol=protocol,
                    **score,
                )
                for score in read_json(folder / SCORES)
            ]
        )
