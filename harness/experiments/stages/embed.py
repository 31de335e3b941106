"""Predicts with the bare encoder: retrieval and mining. A calibrated task is tuned on each view's dev predictions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.experiments.stage import Stage, Workbench
from harness.experiments.stages.inputs import load_encoder, read_records, task_of
from harness.files import PREDICTIONS, write_json
from harness.records import Record
from harness.task import Task, TaskSettings

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Embed(Stage):
    """Input `encoder`. `views` lists the language splits that are predicted."""

    kind: ClassVar[str] = "embed"
    settings: TaskSettings
    precision: str
    views: tuple[str, ...]

    def run(self, bench: Workbench, folder: Path) -> None:
        task = task_of(self)
        model = task.build(load_encoder(self, bench, self.inputs), self.settings).to(bench.device).eval()
        with self.keep_outputs(bench):
            write_json(folder / PREDICTIONS, {"": self.predict(task, model, self.views, step=0)})

    def keep_outputs(self, bench: Workbench) -> AbstractContextManager[None]:
        """Inside, the outputs of the model are kept, to resume after a kill."""
        from harness.training.outputs import keep_outputs

        return keep_outputs(bench.checkpoint(self) / bench.device.type)

    def predict(self, task: Task, model: nn.Module, views: Sequence[str], step: int) -> dict[str, Any]:
        """Final predictions of each view by a model after `step` updates."""
        calibration: dict[str, dict[str, float]] = {view: {} for view in views}
        if task.spec.calibrated:
            dev = read_records(self, views, "dev", self.settings)
            tuned = task.predict(model, dev, self.settings, precision=self.precision)
            calibration = {view: task.calibrate(tuned[view], dev[view]) for view in views}
        test = task.predict(model, self.gold_records(views), self.settings, precision=self.precision)
        return {
            v: {"final": task.decide(test[v], calibration[v]), "calibration": calibration[v], "step": step}
            for v in views
        }

    def gold_records(self, views: Sequence[str] | None = None) -> dict[str, Sequence[Record]]:
        """The test records by view."""
        return read_records(self, self.views if views is None else views, "test", self.settings)
