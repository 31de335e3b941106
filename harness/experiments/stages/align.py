"""Trains an alignment method on the sample, on top of the base encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.data.corpora import SourceCorpora
from harness.data.sample import load_sample
from harness.data.source import cached_source
from harness.data.transforms import transform_of
from harness.experiments.stage import Stage, StageRows, Workbench
from harness.experiments.stages.inputs import load_encoder
from harness.files import TRACE, read_json, write_json
from harness.layers import check_layers, layer_marks
from harness.registry import METHODS
from harness.training.settings import AlignSettings

if TYPE_CHECKING:
    from harness.method import Method
    from harness.training.loop import Trace, TrainSettings


@dataclass(frozen=True, kw_only=True)
class Align(Stage):
    """Inputs `encoder` and `sample`. `transform` of the sample may be empty; `languages` are those of the sample."""

    kind: ClassVar[str] = "align"
    row_files: ClassVar[tuple[str, ...]] = (TRACE,)
    method: str
    config: Mapping[str, Any]
    seed: int
    transform: str
    precision: str
    languages: tuple[str, ...]
    settings: AlignSettings

    @property
    def title(self) -> str:
        return f"{self.kind} {self.method} seed {self.seed}"

    def run(self, bench: Workbench, folder: Path) -> Trace:
        import torch

        from harness.training import distributed
        from harness.training.loop import Step, train

        torch.manual_seed(self.seed)  # of a language-model head that the base lacks
        encoder = load_encoder(self, bench, self.inputs).to(bench.device)
        pairs = load_sample(bench.input(self.inputs["sample"])).pairs
        if self.transform:
            pairs = transform_of(self.transform).sample(pairs, self.seed)
        cls: type[Method] = METHODS.get(self.method)
        corpora = SourceCorpora(
            pairs,
            encoder.tokenizer,
            cached_source(self.place.source),
            self.languages,
            min(self.settings.max_length, encoder.max_length),
            cls.needs,
        )
        torch.manual_seed(self.seed)
        config = cls.Config(**self.config)
        check_layers(self.config, layer_marks(cls.Config), encoder.depth)
        method = cls(config)
        method.build(encoder, corpora)
        encoder.recompute = self.settings.recompute_tokens
        trace = train(
            Step(encoder, method.to(bench.device)),
            method.examples(corpora),
            method.collate,
            self._loop_settings(),
            checkpoint=bench.checkpoint(self),
            watch=bench.watch,
        )
        if distributed.rank() == 0:
            method.export(encoder).save(folder)
            write_json(folder / TRACE, {**trace.to_json(), "initialised": encoder.initialised})
        return trace

    def rows(self, folder: Path, protocol: str) -> StageRows:
        initialised = read_json(folder / TRACE)["initialised"]
        return StageRows(alignment={"initialised": initialised} if initialised else None)

    def _loop_settings(self) -> TrainSettings:
        from harness.training.loop import TrainSettings

        settings = self.settings.model_dump(exclude={"batch_size", "max_length", "recompute_tokens"})
        return TrainSettings(**settings, batch=self.settings.batch_size, precision=self.precision, seed=self.seed)
