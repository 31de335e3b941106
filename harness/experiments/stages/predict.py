"""Predicts the test sets with the fine-tuned models that dev selected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.experiments.stage import StageRows, Workbench
from harness.experiments.stages.embed import Embed
from harness.experiments.stages.finetune import CURVE, CURVE_ROWS, curve_rows
from harness.experiments.stages.inputs import load_encoder, task_of
from harness.experiments.trials import CHOICE, LearningRateTrial, choose, trials
from harness.files import PREDICTIONS, read_json, write_json
from harness.task import ENGLISH, Task, TrainedSettings


@dataclass(frozen=True, kw_only=True)
class Predict(Embed):
    """Inputs `encoder` and a fine-tuned model for each learning rate that was tried; the best on the pivot's dev set
    predicts, and its dev curve is copied."""

    kind: ClassVar[str] = "predict"
    row_files: ClassVar[tuple[str, ...]] = (CHOICE, CURVE)
    settings: TrainedSettings

    def run(self, bench: Workbench, folder: Path) -> None:
        from safetensors.torch import load_file

        from harness.training.checkpoint import load_tensors

        task = task_of(self)
        model = task.build(load_encoder(self, bench, self.inputs), self.settings).to(bench.device).eval()
        fitted = bench.input(self._chosen_model(bench, folder, task.spec.metric))
        kept: dict[str, int] = read_json(fitted / CURVE)["kept"]
        predictions: dict[str, Any] = {}
        with self.keep_outputs(bench):
            for step in sorted(set(kept.values())):
                load_tensors(model, load_file(fitted / f"step-{step}.safetensors", device=str(bench.device)))
                oracle = [view for view in self.views if kept.get(view) == step]
                made = self.predict(task, model, self.views if kept[ENGLISH] == step else oracle, step)
                if kept[ENGLISH] == step:
                    predictions[self._headline(task)] = made
                if oracle:
                    predictions.setdefault("oracle", {}).update({view: made[view] for view in oracle})
        write_json(folder / PREDICTIONS, predictions)

    def rows(self, folder: Path, protocol: str) -> StageRows:
        """The dev curve of the chosen model, where there was a choice."""
        if not (folder / CHOICE).is_file():
            return StageRows()
        chosen = LearningRateTrial(*read_json(folder / CHOICE)[0]).fingerprint
        return StageRows(list(curve_rows(chosen, self.task, read_json(folder / CURVE), CURVE_ROWS, protocol)))

    def _headline(self, task: Task) -> str:
        """The selection of the headline; empty where an oracle is asked for and no dev set tells it from the rest."""
        return ENGLISH if "dev" in task.spec.splits or self.settings.dev_languages == ENGLISH else ""

    def _chosen_model(self, bench: Workbench, folder: Path, metric: str) -> str:
        """The fingerprint of the model that predicts; a choice is recorded with the chosen model's dev curve."""
        tried = trials(self.inputs)
        if len(tried) == 1:
            return next(iter(tried.values()))
        fits = {rate: read_json(bench.input(name) / CURVE) for rate, name in tried.items()}
        choice = choose(fits, tried, metric)
        write_json(folder / CHOICE, choice)
        write_json(folder / CURVE, fits[choice[0].rate])
        return choice[0].fingerprint
