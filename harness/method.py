"""The Method contract: an alignment objective trained on top of a base encoder, or no training at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from harness.errors import UsageError
from harness.records import Corpus, CorpusRecord

if TYPE_CHECKING:
    from numpy.random import Generator

    from harness.modeling.encoder import Encoder
    from harness.modeling.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a loss: `weight` times its `sum` divided by its `count`, both over all micro-batches and ranks."""

    sum: Tensor
    count: float
    weight: float = 1.0


class MethodConfig(BaseModel):
    """A method's own settings: frozen; unknown fields, infinities and NaN are refused.

    Defaults are the paper's values; where those are not published, the docstring calls the default a choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class LayerOf:
    """Marks a field of a configuration as the number of a layer of the base, `Annotated[int, LayerOf(1)]`: 0 are the
    embeddings, -1 is the last layer, and `lowest` the first that the method can use. None leaves the choice to it."""

    lowest: int = 0


def check_layers(config: MethodConfig, depth: int) -> None:
    """Raises UsageError where a field marked `LayerOf` numbers no layer that a base of `depth` layers has."""
    for name, field in type(config).model_fields.items():
        number = getattr(config, name)
        for mark in (m for m in field.metadata if isinstance(m, LayerOf)):
            resolved = number if number is None or number >= 0 else depth + 1 + number
            if resolved is not None and not mark.lowest <= resolved <= depth:
                raise UsageError(
                    f"config.{name} is no layer that this method can take from the base",
                    found=f"{name}={number}, a base of {depth} layers",
                    expected=f"{mark.lowest} to {depth}, or {mark.lowest - depth - 1} to -1 counted from the last",
                    remedy=f"choose another layer, or leave out --set config.{name}",
                )


class Span(NamedTuple):
    """Code points [start, end) of a word in its sentence."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SamplePair:
    """One training pair of the sample: pivot side, foreign side, and the one word pair placed in it (or none).

    `sentence` numbers the sentence pair: the same pair comes back once per matched word.
    """

    sentence: int
    language: str
    source: str
    target: str
    source_span: Span | None
    target_span: Span | None

    def lowered(self) -> SamplePair:
        """The pair in lower case, letter by letter, so that spans stay where they are."""
        return replace(self, source=_lowered(self.source), target=_lowered(self.target))


def _lowered(text: str) -> str:
    return "".join(low if len(low := c.lower()) == 1 else c for c in text)


class Corpora(Protocol):
    """What a method is given to read. `sample` is the one list of pairs that all methods of a comparison share."""

    @property
    def sample(self) -> Sequence[SamplePair]: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def pivot(self) -> str: ...
    @property
    def languages(self) -> tuple[str, ...]: ...
    @property
    def max_length(self) -> int: ...

    def records(self, kind: Corpus, languages: Sequence[str] | None = None) -> Sequence[CorpusRecord]:
        """The records of another corpus that the method declared in `needs`, in those of `languages` that the source
        has it for; by default the pivot and then the sample's."""


Batch = dict[str, Any]  # PackedText, tensors and plain numbers; the loop moves it to the device


class Method(nn.Module):
    """An alignment method. A plain one overrides `loss` alone, on top of `PairMethod`.

    The loop owns the order of the examples (so that it can resume exactly), the optimiser and the checkpoints;
    everything in the module (parameters, buffers) is checkpointed. `name` is set by the registry.
    """

    name: ClassVar[str] = ""
    needs: ClassVar[frozenset[Corpus]] = frozenset()
    control: ClassVar[str | None] = "continued-mlm"
    reference: ClassVar[str] = ""
    objective: ClassVar[str] = ""
    formula: ClassVar[str] = ""  # of the objective: LaTeX in mathematics mode, for the board
    symbols: ClassVar[str] = ""  # one line on the symbols of the formula
    trains: ClassVar[bool] = True
    paper: ClassVar[dict[str, Any]] = {}  # the paper's alignment settings, where they differ from the recipe's
    in_batch: ClassVar[frozenset[str]] = frozenset()  # terms whose negatives are those of the micro-batch on all ranks

    class Config(MethodConfig):
        pass

    def __init__(self, config: MethodConfig | None = None) -> None:
        super().__init__()
        self.config: Any = config if config is not None else self.Config()

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        """Makes heads, momentum copies and ids. Called once, before any state is loaded."""

    def examples(self, corpora: Corpora) -> Sequence[Any]:
        """The training examples, indexable. Called once, after `build`."""
        raise TypeError(f"{self.name or type(self).__name__} has no training examples")

    def collate(self, examples: Sequence[Any], rng: Generator) -> Batch:
        """A batch from examples; every random choice comes from `rng`, which depends on (seed, step) alone."""
        raise TypeError(f"{self.name or type(self).__name__} has no training examples")

    def counts(self, batch: Batch, step: int) -> dict[str, float] | None:
        """The count of each term that `loss` returns for `batch`, known without a forward pass.

        Asked for where a step accumulates several micro-batches. None means that only `loss` can tell: it is then run
        once more per micro-batch, without gradient.
        """
        return None

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        """The terms of the loss on one micro-batch."""
        raise TypeError(f"{self.name or type(self).__name__} is not trained")

    def after_step(self, encoder: Encoder) -> None:
        """Called after each optimiser step, without gradient: momentum update, queue."""

    def export(self, encoder: Encoder) -> Encoder:
        """What the tasks get."""
        return encoder

    def prepare_finetuning(self, corpora: Corpora) -> None:
        """Reads what `finetune_example` needs. Called once before it, on a new method that was not built: the corpora
        of `needs` are there, the sample is empty."""

    def finetune_example(self, example: Any, rng: Generator) -> Any:
        """Changes a fine-tuning record before it is tokenised (PPA's code-switching). Identity by default."""
        return example


def missing_methods(cls: type[Method]) -> list[str]:
    """The methods that training calls and that a class which trains does not define."""
    called = ("examples", "collate", "loss")
    return [name for name in called if cls.trains and getattr(cls, name) is getattr(Method, name)]
