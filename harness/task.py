"""The Task contract: what a task declares, and how it is trained, predicted, scored, shown and exchanged as files.

A *family* is a subclass of `Task` that knows one kind of item, such as `Classification` in tasks/families. A *task* is
a subclass of a family with a `spec`. To add a task of a known family, write one file with a `TaskSpec` and a class:

    class XNLI(Classification):
        spec = TaskSpec(name="xnli", family=Classification.family, ...)

To add a family, subclass `Task` in one file: set `family` (and `Settings` where it has settings of its own) and
implement the abstract methods. Nothing else in Alignboard asks which family a task belongs to. Either is registered by
one entry point of the group `alignboard.tasks`; docs/adding-a-task.md walks through both.

A prediction is scored by metrics that give *statistics* of each item, of whose sums every score is a ratio; see
harness/statistics.py. To add a metric, write one subclass of `AdditiveMetric` and return it from `Task.metrics`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import Field

from harness.errors import GoldFault, UsageError
from harness.protocols import Choice, Shape, Variant
from harness.records import Record
from harness.statistics import TOLERANCE, MetricInputs, Ratio, Statistics

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn

    from harness.data.checked_file import CheckedFile
    from harness.evaluation.metrics import AdditiveMetric
    from harness.modeling.encoder import Encoder
    from harness.training.loop import Trace, Watch

Count = Annotated[int, Field(gt=0, le=10**9)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Prepare = Callable[[Any, "np.random.Generator"], Any]  # a training record before it is tokenised -> what it becomes
R = TypeVar("R", bound=Record)
ENGLISH = "english"  # the name of the headline selection: the dev set of the training language


@dataclass(frozen=True)
class TaskSettings:
    """The settings that every task has. A family adds its own in a subclass, named as its `Task.Settings`.

    `max_length` is in subwords. `max_dev` and `max_test` cap the items used (see `Task.cap`); None means all.
    """

    max_length: Annotated[int, Field(gt=2, le=2**20)] = 128
    max_dev: Count | None = None
    max_test: Count | None = None


@dataclass(frozen=True)
class TrainedSettings(TaskSettings):
    """The settings of a task that is fine-tuned. Learning rates are per step, sizes in items.

    `evaluate_every` counts updates; None means once per epoch. `dev_languages` is "english" (the pivot alone) or "all":
    curves and oracle selection for every language. Where `learning_rates` has several, each is fine-tuned once and the
    pivot's dev set chooses; () means `learning_rate` alone. `seed` is the task's official seed (see `seed_of`).
    """

    learning_rate: Positive = 2e-5
    batch_size: Count = 8
    accumulation: Count = 4
    epochs: Positive = 5
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    clip: Positive = 1.0
    adam_epsilon: Positive = 1e-8
    evaluate_every: Count | None = None
    dev_languages: Literal["english", "all"] = "english"
    attention_dropout: bool = True
    max_train: Count | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    learning_rates: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = ()

    def trials(self) -> tuple[Self, ...]:
        """The settings of each fine-tuning among which the pivot's dev set chooses; a single one needs no choice."""
        rates = self.learning_rates or (self.learning_rate,)
        return tuple(replace(self, learning_rate=rate, learning_rates=()) for rate in rates)

    def seed_of(self, run: int) -> int:
        """The seed of a run's fine-tuning: the task's official seed plus the run's, or the run's alone."""
        return run if self.seed is None else self.seed + run


@dataclass(frozen=True)
class Family:
    """What the tasks of a family have in common, for code that has only their specs: sources, planner and board.

    `name` labels the family on the board and its average in `alignboard score`. `record` is the type of the items that
    a source yields for its tasks. `how` says in a sentence or two how a task of the family works. A `trained` family is
    fine-tuned on the pivot's training set; a `calibrated` one tunes a parameter on each view's dev predictions. The
    items of an `embedded` one are pairs of translations, whose sentences `alignboard project` measures and maps,
    embedded by `Task.vectors`. The sentences of a `gold_file` one have ids, and a file beside the two pools names the
    pairs; without one, line i of a pool translates line i of the other.
    """

    name: str
    record: type[Any]
    how: str
    trained: bool = True
    calibrated: bool = False
    embedded: bool = False
    gold_file: bool = False


@dataclass(frozen=True)
class TaskSpec:
    """What a task is, before any data is read.

    A trained task whose `splits` have no "dev" is trained to the end, and no model is selected. The sources know where
    they have the data, by the task's name. `protocols` maps a protocol's name to the settings that the task runs with
    under it, `variants` to what it changes for some kinds of bases.
    """

    name: str
    title: str
    family: Family
    metric: str
    languages: tuple[str, ...]
    protocols: Mapping[str, TaskSettings]
    licence: str
    citation: str
    description: str
    labels: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("train", "dev", "test")
    deviations: tuple[str, ...] = ()  # how this differs from the official code, in words
    sizes: Mapping[str, str] = field(default_factory=dict)  # of the official data by split, in words
    variants: Mapping[str, tuple[Variant, ...]] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()

    @property
    def trained(self) -> bool:
        return self.family.trained

    @property
    def calibrated(self) -> bool:
        return self.family.calibrated

    def settings(self, protocol: str, shape: Shape | None = None) -> TaskSettings:
        """The settings under a protocol, for a base of this shape where it is known; every variant that fits counts."""
        fitting = [v for v in self.variants.get(protocol, ()) if shape is not None and v.fits(shape)]
        return replace(self.protocols[protocol], **{name: v.changes[name] for v in fitting for name in v.changes})


class Point(NamedTuple):
    """One evaluation during fine-tuning: the metrics of `view`'s dev set after `step` updates."""

    step: int
    view: str
    metrics: dict[str, float]


@dataclass
class Fit:
    """A fine-tuned model: its dev curve, and the weights of the steps that a selection kept.

    `kept` maps a selection ("english", or a view for its oracle) to a step; `states` maps those steps to weights;
    `trace` is what the loop read.
    """

    curve: list[Point]
    kept: dict[str, int]
    states: dict[int, dict[str, Tensor]] = field(repr=False)
    trace: Trace


class Example(NamedTuple):
    """An item as people read it. `gold` and `prediction` are words, tags or texts."""

    item: str
    text: str
    gold: str
    prediction: str


class AlignedPredictions(NamedTuple):
    """Final predictions, and the records that `Task.statistics` compares them with."""

    predictions: list[Any]
    records: Sequence[Any]


class Task(ABC):
    """One task. A family implements the methods once for all its tasks; a task sets `spec`.

    `settings` is always a record of the family's `Settings`, a frozen dataclass. Records are of the type
    `family.record`, and predictions are JSON-like: strings, numbers, lists.
    """

    family: ClassVar[Family]
    spec: ClassVar[TaskSpec]
    Settings: ClassVar[type[TaskSettings]] = TaskSettings
    extension: ClassVar[str] = "tsv"  # of the files of predictions and gold
    scheme: str = ""  # whose spans of tags count; only families that score such spans read it

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        spec = cls.__dict__.get("spec")
        if spec is not None and spec.family is not cls.family:
            raise TypeError(f"{cls.__name__}.spec has another family: write family={cls.__name__}.family")
        family = getattr(cls, "family", None)
        if family is not None and family.trained != issubclass(cls.Settings, TrainedSettings):
            settings = "TrainedSettings" if family.trained else "TaskSettings alone"
            raise TypeError(f"{cls.__name__}: trained={family.trained}, so its Settings must derive from {settings}")

    def build(self, encoder: Encoder, settings: Any) -> nn.Module:
        """The model that is fine-tuned: the encoder (`model.encoder`) under a head; by default the bare encoder."""
        return encoder

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
        """Fine-tunes `model` in place on the pivot's training set. Only trained tasks implement it.

        The result is a function of the encoder's weights, the data, the settings and `seed`: the head starts anew. It
        can be killed and called again with the same `checkpoint`, a folder that the caller removes in the end.
        `prepare` changes each training record before it is tokenised, with a generator that depends on (seed, step).
        """
        raise TypeError(f"{self.spec.name} is not a trained task")

    def cap(self, records: Sequence[R], limit: int | None) -> Sequence[R]:
        """At most `limit` records, in their order: the first of a permutation that depends on their number alone.

        Parallel sets of equal length keep the same items, and what is cut to a smaller limit lies within the larger.
        """
        if limit is None or len(records) <= limit:
            return records
        import numpy as np  # here, so that listing tasks imports nothing heavy

        chosen = np.random.default_rng(len(records)).permutation(len(records))[:limit]
        return [records[i] for i in np.sort(chosen)]

    @abstractmethod
    def predict(
        self, model: nn.Module, views: Mapping[str, Sequence[Record]], settings: Any, *, precision: str = "fp32"
    ) -> dict[str, list[Any]]:
        """JSON-like predictions per view, aligned with its records (candidates for mining). All views in one sweep."""

    def calibrate(self, predictions: list[Any], records: Sequence[Record]) -> dict[str, float]:
        """Parameters tuned on one view's dev predictions; {} for most tasks."""
        return {}

    def decide(self, predictions: list[Any], calibration: Mapping[str, float]) -> list[Any]:
        """Final predictions under a calibration: what an external system would submit."""
        return predictions

    @abstractmethod
    def metrics(self) -> tuple[AdditiveMetric, ...]:
        """The metrics of this task, one of which gives `spec.metric`. Import them in here: `evaluate` is slow to load.

        A view is scored by those metrics whose features are all among the columns of `metric_inputs`.
        """

    @abstractmethod
    def metric_inputs(self, predictions: list[Any], records: Sequence[Record]) -> MetricInputs:
        """Final predictions and their gold. Raises UserError where lengths differ or gold is withheld."""

    def ratios(self) -> tuple[Ratio, ...]:
        """What each score of this task is a ratio of."""
        return tuple(ratio for metric in self.metrics() for ratio in metric.ratios)

    def statistics(self, predictions: list[Any], records: Sequence[Record]) -> Statistics:
        """The additive statistics of final predictions. Raises UserError where lengths differ or gold is withheld."""
        inputs = self.metric_inputs(predictions, records)
        columns: dict[str, np.ndarray] = {}
        for metric, read in inputs.select(self.metrics()):
            columns |= metric.statistics(**read)
        return Statistics(inputs.items, inputs.clusters, columns)

    def metric(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Scores in percent from summed statistics; `spec.metric` is among the keys."""
        return {ratio.name: ratio.value(sums) for ratio in self.ratios() if ratio.columns <= sums.keys()}

    def scores(
        self, view: str, predictions: list[Any], records: Sequence[Record], statistics: Statistics
    ) -> dict[str, float]:
        """The scores of a view as its metrics compute them. Asserts that the summed statistics give the same.

        A score of columns that were filled with zeros (see `Statistics.filled`) is that of the sums.
        """
        summed = self.metric(statistics.sums())
        computed: dict[str, float] = {}
        for metric, read in self.metric_inputs(predictions, records).select(self.metrics()):
            computed |= metric.compute(**read)
        for name, value in computed.items():
            other = summed.get(name, float("nan"))
            assert abs(value - other) <= TOLERANCE, (
                f"{self.spec.name} {view}: {name} is {value!r} as computed and {other!r} from the summed statistics"
            )
        return {**summed, **computed}

    @abstractmethod
    def show(self, final: Sequence[Any], records: Sequence[Any]) -> Iterator[Example]:
        """The items of a view with their final predictions, in order, as the board shows them."""

    def vectors(self, encoder: Encoder, texts: Sequence[str], settings: Any, *, precision: str = "fp32") -> Tensor:
        """(n, H) float32 embeddings of sentences, as the task compares them. Only `embedded` families implement it."""
        raise TypeError(f"{self.spec.name} embeds no sentences")

    @abstractmethod
    def texts(self, record: Any, view: str, pivot: str) -> Iterator[tuple[str, str]]:
        """(language, text) of everything in a test item that must not be in the text that methods train on.

        The contamination guard judges each text alone, so a long one is best taken apart into sentences.
        """

    def item_id(self, record: Any) -> Hashable:
        """What tells the items of a test set apart."""
        return str(record.id)

    def item_fault(self, record: Any, split: str) -> GoldFault | None:
        """What is wrong with the gold of one item; None where it can be trained on, or scored."""
        return None

    def gold_faults(self, records: Iterable[Any], split: str) -> Iterator[tuple[Any, GoldFault]]:
        """The faults of a set's items, each with its item, or with None where the whole set has it.

        A run is not planned on data with a fault. Ids may repeat in training sets alone.
        """
        known: set[Hashable] = set()
        item = None
        for item in records:
            if (fault := self.item_fault(item, split)) is not None:
                yield item, fault
            if split != "train":
                if (name := self.item_id(item)) in known:
                    yield item, GoldFault("an id that occurs twice", f"{item.id!r:.80}", "each id once")
                known.add(name)
        if item is None:
            yield None, GoldFault("there are no items", "an empty set", "at least one item", "complete the data")

    @classmethod
    def file_name(cls, view: str) -> str:
        """The name of a view's file in a folder of predictions or gold, beneath the folder `spec.name`."""
        return f"test-{view}.{cls.extension}"

    def read_gold(self, file: CheckedFile, view: str) -> Sequence[Any]:
        """Records to score against, from a file of gold alone; faults are reported to `file`.

        With the next three methods this is the family's file format. A family without one can be run and shown, but
        neither exported nor scored from files.
        """
        raise self._no_files()

    def read_predictions(self, file: CheckedFile, gold: Sequence[Any] | None) -> AlignedPredictions:
        """One view's predictions, aligned with its gold; faults are reported to `file`. None: the gold has faults."""
        raise self._no_files()

    def format_predictions(self, final: Sequence[Any], records: Sequence[Any]) -> str:
        """The content of a file of predictions, as `read_predictions` reads it."""
        raise self._no_files()

    def format_gold(self, records: Sequence[Any]) -> str:
        """The content of a file of gold, as `read_gold` reads it."""
        raise self._no_files()

    def _no_files(self) -> UsageError:
        return UsageError(
            f"{self.spec.name} has no file format for predictions",
            found=f"the family {self.family.name}",
            expected="read_gold, read_predictions, format_predictions and format_gold in its class",
            remedy=f"choose a suite without {self.spec.name}",
        )
