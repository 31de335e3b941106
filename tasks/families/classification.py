"""Classification of sentence pairs: the state of [CLS] through a pooler into a linear layer, scored by accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np

from harness.data.checked_file import CheckedFile
from harness.data.lines import shorten
from harness.errors import GoldFault
from harness.records import TextPair
from harness.statistics import MetricInputs
from harness.task import AlignedPredictions, Example, Family, TrainedSettings
from tasks.families.trained import TrainedTask, check_lengths, cluster_ids, withheld_gold

if TYPE_CHECKING:
    from harness.evaluation.metrics import AdditiveMetric
    from harness.method import Batch
    from harness.modeling.encoder import Encoder
    from harness.modeling.tokenizer import Encoded, Tokenizer
    from harness.training.finetuning import Model
    from tasks.families.heads import Head, PairHead


class LabelledPair(NamedTuple):
    ids: np.ndarray
    segments: np.ndarray
    label: int


@dataclass(frozen=True)
class LabelledPairs:
    """Tokenised pairs and the numbers of their labels (empty where not asked for)."""

    encoded: Encoded
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.encoded.ids)

    def __getitem__(self, number: int) -> LabelledPair:
        return LabelledPair(self.encoded.ids[number], self.encoded.segments[number], int(self.labels[number]))


class Classification(TrainedTask[LabelledPairs]):
    """Pairs of sentences with one of `spec.labels`. A prediction is a label.

    A file of predictions or gold has one label a line.
    """

    family: ClassVar[Family] = Family(
        "classification",
        TextPair,
        "A linear layer on the first token's last state. The whole encoder is fine-tuned on the training language "
        "alone, then predicts every language as it is (zero-shot transfer).",
    )

    def head(self, encoder: Encoder) -> Head:
        from tasks.families.heads import PairHead

        return PairHead(encoder, len(self.spec.labels))

    def encode(
        self, tokenizer: Tokenizer, records: Sequence[Any], settings: TrainedSettings, *, gold: bool
    ) -> LabelledPairs:
        pairs: Sequence[TextPair] = records
        encoded = tokenizer.encode_pairs([p.first for p in pairs], [p.second for p in pairs], settings.max_length)
        for pair in pairs if gold else ():
            self.require_gold(pair)
        labels = [self.spec.labels.index(str(pair.label)) for pair in pairs] if gold else []
        return LabelledPairs(encoded, np.asarray(labels, dtype=np.int64))

    def collate(self, examples: Sequence[Any], special_ids: frozenset[int]) -> Batch:
        import torch

        from harness.modeling.packing import pack

        chosen: Sequence[LabelledPair] = examples
        text = pack([e.ids for e in chosen], segments=[e.segments for e in chosen], special_ids=special_ids)
        return {"text": text, "labels": torch.tensor([e.label for e in chosen])}

    def label(self, model: Model, examples: LabelledPairs, precision: str) -> list[Any]:
        from harness.training.finetuning import sweep

        head = cast("PairHead", model.head)
        numbers = np.zeros(len(examples), dtype=np.int64)
        for swept in sweep(model.encoder, partial(head, model.encoder), *examples.encoded, precision=precision):
            numbers[swept.rows] = swept.output.argmax(-1).numpy()
        return [self.spec.labels[n] for n in numbers]

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics import Accuracy

        return (Accuracy(),)

    def metric_inputs(self, predictions: list[Any], records: Sequence[Any]) -> MetricInputs:
        check_lengths(self.spec.name, predictions, records)
        pairs: Sequence[TextPair] = records
        for pair in pairs:
            if pair.label is None:
                raise withheld_gold(self.spec.name, pair.id)
        columns: dict[str, Sequence[Any]] = {
            "predictions": [str(prediction) for prediction in predictions],
            "references": [pair.label for pair in pairs],
        }
        return MetricInputs(tuple(p.id for p in pairs), cluster_ids(pairs), columns)

    def show(self, final: Sequence[Any], records: Sequence[Any]) -> Iterator[Example]:
        for label, pair in zip(final, records, strict=True):
            yield Example(pair.id, f"{pair.first}\n{pair.second}", pair.label, str(label))

    def item_fault(self, record: TextPair, split: str) -> GoldFault | None:
        name = shorten(record.id)
        if record.label is None:
            return GoldFault("a label is withheld", f"item {name} without a label", "a label for each item")
        if record.label in self.spec.labels:
            return None
        return GoldFault("a label outside the set", f"{record.label!r} of item {name}", " | ".join(self.spec.labels))

    def item_labels(self, record: TextPair) -> Iterable[str]:
        return [record.label] if record.label is not None else []

    def texts(self, record: TextPair, view: str, pivot: str) -> Iterator[tuple[str, str]]:
        yield view, record.first
        yield view, record.second

    def read_gold(self, file: CheckedFile, view: str) -> Sequence[TextPair]:
        return [TextPair(str(row), "", "", label) for row, label in enumerate(self._labels(file))]

    def read_predictions(self, file: CheckedFile, gold: Sequence[Any] | None) -> AlignedPredictions:
        labels = self._labels(file)
        if gold is not None:
            file.check_length(len(labels), len(gold), "lines")
        return AlignedPredictions(labels, gold or ())

    def format_predictions(self, final: Sequence[Any], records: Sequence[Any]) -> str:
        return "".join(f"{label}\n" for label in final)

    def format_gold(self, records: Sequence[Any]) -> str:
        return "".join(f"{pair.label}\n" for pair in records)

    def _labels(self, file: CheckedFile) -> list[str]:
        return file.column(self.spec.labels.__contains__, " | ".join(self.spec.labels))
