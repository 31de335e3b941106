"""Fine-tunes the encoder on a task's training set in the pivot language, and keeps the weights that dev selects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.data.corpora import SourceCorpora
from harness.data.source import cached_source
from harness.experiments.stage import Stage, StageRows, Workbench
from harness.experiments.stages.inputs import load_encoder, read_cell, read_records, task_of
from harness.files import read_json, write_json
from harness.registry import METHODS
from harness.storage.store import ScoreRow
from harness.task import Prepare, TrainedSettings

if TYPE_CHECKING:
    from harness.method import Method
    from harness.modeling.tokenizer import Tokenizer
    from harness.training.loop import Trace

CURVE = "fit.json"
CURVE_ROWS = "curve"  # the selection of dev scores in the store


@dataclass(frozen=True)
class Hook:
    """A method that changes fine-tuning records, with its configuration and the languages of its corpora."""

    method: str
    config: Mapping[str, Any]
    languages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Finetune(Stage):
    """Input `encoder`. `dev` lists the views whose dev sets are evaluated, the pivot's first."""

    kind: ClassVar[str] = "finetune"
    row_files: ClassVar[tuple[str, ...]] = (CURVE,)
    settings: TrainedSettings
    seed: int
    precision: str
    pivot: str
    dev: tuple[str, ...]
    hook: Hook | None = None
    is_trial: bool = field(default=False, compare=False)  # one of several learning rates

    @property
    def title(self) -> str:
        return f"{self.kind} {self.task} seed {self.seed}"

    def run(self, bench: Workbench, folder: Path) -> Trace:
        import torch
        from safetensors.torch import save_file

        from harness.training.checkpoint import unique_tensors

        task = task_of(self)
        torch.manual_seed(self.seed)
        encoder = load_encoder(self, bench, self.inputs)
        model = task.build(encoder, self.settings).to(bench.device)
        dev = read_records(self, self.dev, "dev", self.settings)
        fit = task.fit(
            model,
            read_cell(self.place.source, task.spec.name, self.pivot, "train"),
            dev,
            self.settings,
            bench.watch,
            pivot=self.pivot,
            seed=self.seed,
            checkpoint=bench.checkpoint(self),
            precision=self.precision,
            prepare=self._record_hook(encoder.tokenizer),
        )
        for step, state in fit.states.items():
            save_file(unique_tensors(state), folder / f"step-{step}.safetensors")
        curve = [point._asdict() for point in fit.curve]
        sizes = {view: len(records) for view, records in dev.items()}
        trace = fit.trace.to_json()
        write_json(
            folder / CURVE, {"kept": fit.kept, "pivot": self.pivot, "curve": curve, "sizes": sizes, "trace": trace}
        )
        return fit.trace

    def rows(self, folder: Path, protocol: str) -> StageRows:
        selection = f"{CURVE_ROWS} {self.settings.learning_rate:g}" if self.is_trial else CURVE_ROWS
        return StageRows(list(curve_rows(self.fingerprint, self.task, read_json(folder / CURVE), selection, protocol)))

    def _record_hook(self, tokenizer: Tokenizer) -> Prepare | None:
        """What the method does to training records, where it takes part in fine-tuning."""
        if self.hook is None:
            return None
        cls: type[Method] = METHODS.get(self.hook.method)
        method = cls(cls.Config(**self.hook.config))
        source = cached_source(self.place.source)
        method.prepare_finetuning(
            SourceCorpora((), tokenizer, source, self.hook.languages, self.settings.max_length, cls.needs)
        )
        return method.finetune_example


def curve_rows(
    fingerprint: str, task: str | None, fit: Mapping[str, Any], selection: str, protocol: str
) -> Iterator[ScoreRow]:
    """The dev scores in a fine-tuning's `fit.json`, under the name of a selection."""
    assert task is not None
    for point in fit["curve"]:
        for metric, value in point["metrics"].items():
            yield ScoreRow(
                stage=fingerprint,
                task=task,
                view=point["view"],
                language=point["view"].partition(".")[0],
                split="dev",
                protocol=protocol,
                selection=selection,
                step=point["step"],
                metric=metric,
                value=value,
                n=fit["sizes"][point["view"]],
            )
