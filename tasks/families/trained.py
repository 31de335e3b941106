"""What the fine-tuned families share: records are encoded as examples, which are trained on or predicted."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from harness.data.lines import shorten
from harness.errors import GoldFault, UserError
from harness.modeling.tokenizer import Tokenizer
from harness.records import Record
from harness.task import ENGLISH, Fit, Prepare, Task, TaskSettings, TrainedSettings

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from harness.method import Batch
    from harness.modeling.encoder import Encoder
    from harness.training.finetuning import Metrics, Model, Training
    from harness.training.loop import Watch
    from tasks.families.heads import Head

T = TypeVar("T")
S = TypeVar("S", bound=TaskSettings)
MANY = 50  # items: where so many have one and the same label, it is no label


class Examples(Protocol):
    """Tokenised records as training examples by number; a record may give several."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> Any: ...


E = TypeVar("E", bound=Examples)


class TrainedTask(Task, Generic[E]):
    """A task with a head that is fine-tuned on the pivot's training set."""

    Settings: ClassVar[type[TaskSettings]] = TrainedSettings

    @abstractmethod
    def head(self, encoder: Encoder) -> Head:
        """The family's head for this encoder."""

    @abstractmethod
    def encode(self, tokenizer: Tokenizer, records: Sequence[Any], settings: Any, *, gold: bool) -> E:
        """Tokenises records, at most `settings.max_length` subwords each; with `gold`, their labels as well."""

    @abstractmethod
    def collate(self, examples: Sequence[Any], special_ids: frozenset[int]) -> Batch:
        """A training batch of examples."""

    @abstractmethod
    def label(self, model: Model, examples: E, precision: str) -> list[Any]:
        """One prediction for each encoded record, in their order."""

    def build(self, encoder: Encoder, settings: Any) -> Model:
        from harness.training.finetuning import Model

        rate = encoder.config.attention_probs_dropout_prob if settings.attention_dropout else 0.0
        for block in encoder.blocks:
            block.attention.self.dropout.p = rate
        return Model(encoder, self.head(encoder).to(encoder.input_embeddings.device))

    def fit(
        self,
        model: nn.Module,
        train: Sequence[Record],
        dev: Mapping[str, Sequence[Record]],
        settings: Any,
        watch: Watch | None,
        *,
        pivot: str,
        seed: int,
        checkpoint: Path,
        prepare: Prepare | None = None,
        precision: str = "fp32",
    ) -> Fit:
        import torch

        from harness.training.finetuning import finetune

        model, seed = cast("Model", model), settings.seed_of(seed)
        torch.manual_seed(seed)
        cast("Head", model.head).initialise(model.encoder.config.initializer_range)
        return finetune(
            model,
            self._training(model.encoder, self.cap(train, settings.max_train), settings, prepare),
            self._evaluation(model, self._dev(dev, pivot, settings), settings, precision)
            if "dev" in self.spec.splits
            else None,
            settings,
            metric=self.spec.metric,
            pivot=pivot,
            seed=seed,
            checkpoint=checkpoint,
            watch=watch,
            precision=precision,
        )

    def predict(
        self,
        model: nn.Module,
        views: Mapping[str, Sequence[Record]],
        settings: Any,
        *,
        precision: str = "fp32",
    ) -> dict[str, list[Any]]:
        model = cast("Model", model).eval()
        records = [record for view in views.values() for record in view]
        if not records:
            return {view: [] for view in views}
        examples = self.encode(model.encoder.tokenizer, records, limit_length(model.encoder, settings), gold=False)
        return split_by_view(self.label(model, examples, precision), views)

    def item_labels(self, record: Any) -> Iterable[str]:
        """The labels of an item, where the task has a set of them."""
        return ()

    def gold_faults(self, records: Iterable[Any], split: str) -> Iterator[tuple[Any, GoldFault]]:
        """As for every task; and XTREME's code writes one label, such as neutral, 0 or O, where labels are withheld."""
        labels: Counter[frozenset[str]] = Counter()

        def counted() -> Iterator[Any]:
            for record in records:
                labels[frozenset(self.item_labels(record))] += 1
                yield record

        yield from super().gold_faults(counted(), split)
        ((kinds, count), *others) = labels.most_common(2) or [(frozenset(), 0)]
        if len(kinds) == 1 and not others and count >= MANY and len(self.spec.labels) > 1:
            found, expected = f"{min(kinds)!r} alone in {count:,} items", "the labels of the data, of several kinds"
            remedy = "use the labelled data; where labels are withheld, leave their column out"
            yield None, GoldFault("one label stands in place of all", found, expected, remedy)

    def require_gold(self, record: Any) -> None:
        """Raises UserError for a training item whose gold has a fault."""
        if (fault := self.item_fault(record, "train")) is not None:
            raise fault.error(f"in item {shorten(record.id)} of {self.spec.name}")

    def _training(
        self, encoder: Encoder, records: Sequence[Record], settings: Any, prepare: Prepare | None
    ) -> Training:
        from harness.training.finetuning import Training

        if not records:
            raise UserError(f"the training set of {self.spec.name} is empty")
        special, settings = encoder.tokenizer.special_ids, limit_length(encoder, settings)
        uncached = Tokenizer(encoder.tokenizer.hf)

        def collate(chosen: Sequence[Any], rng: np.random.Generator) -> Batch:
            if prepare is not None:
                encoded = self.encode(uncached, [prepare(record, rng) for record in chosen], settings, gold=True)
                chosen = [encoded[i] for i in range(len(encoded))]
            return self.collate(chosen, special)

        examples = records if prepare is not None else self.encode(encoder.tokenizer, records, settings, gold=True)
        return Training(cast("Sequence[Any]", examples), collate)

    def _dev(self, dev: Mapping[str, Sequence[Record]], pivot: str, settings: Any) -> dict[str, Sequence[Record]]:
        """The dev sets that are evaluated, the pivot's first."""
        if not dev.get(pivot):
            raise UserError(
                f"{self.spec.name} has no dev set in {pivot!r}, on which the model is selected",
                found=f"dev sets: {', '.join(dev) or 'none'}",
            )
        others = [] if settings.dev_languages == ENGLISH else [view for view in dev if view != pivot]
        return {view: self.cap(dev[view], settings.max_dev) for view in (pivot, *others)}

    def _evaluation(
        self, model: Model, dev: Mapping[str, Sequence[Record]], settings: Any, precision: str
    ) -> Callable[[], dict[str, Metrics]]:
        """Dev metrics per view of the model as it is; the dev sets are tokenised once."""
        records = [record for view in dev.values() for record in view]
        examples = self.encode(model.encoder.tokenizer, records, limit_length(model.encoder, settings), gold=False)

        def evaluate() -> dict[str, Metrics]:
            predictions = split_by_view(self.label(model, examples, precision), dev)
            return {view: self.metric(self.statistics(predictions[view], dev[view]).sums()) for view in dev}

        return evaluate


def limit_length(encoder: Encoder, settings: S) -> S:
    """The settings with sequences no longer than the encoder has positions for."""
    return replace(settings, max_length=min(settings.max_length, encoder.max_length))


def split_by_view(items: Sequence[T], views: Mapping[str, Sequence[Any]]) -> dict[str, list[T]]:
    """Splits a list with the items of all views, one view after another, by view."""
    place, found = 0, {}
    for view, records in views.items():
        found[view] = list(items[place : place + len(records)])
        place += len(records)
    return found


def check_lengths(name: str, predictions: Sequence[Any], records: Sequence[Record]) -> None:
    """Raises UserError unless there is one prediction per record."""
    if len(predictions) != len(records):
        raise UserError(
            f"{name}: predictions and gold differ in length",
            found=f"{len(predictions)} predictions",
            expected=f"{len(records)}, one for each item",
        )


def withheld_gold(name: str, item: str) -> UserError:
    """The error for an item without gold."""
    return UserError(
        f"{name}: the gold of item {shorten(item)} is withheld",
        expected="labelled data",
        remedy="score where the labels are, with `alignboard export-predictions` and `alignboard score`",
    )


def cluster_ids(records: Sequence[Record]) -> tuple[str, ...]:
    """The cluster of each record; a record without one is a cluster of its own."""
    return tuple(record.cluster or record.id for record in records)
