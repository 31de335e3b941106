"""The Method contract: an alignment objective that is trained on top of a base encoder, or no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from harness.records import Corpus, CorpusRecord, SamplePair

if TYPE_CHECKING:
    from numpy.random import Generator

    from harness.modeling.encoder import Encoder
    from harness.modeling.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a loss: `weight * sum / count`, with sum and count over all micro-batches and ranks of a step."""

    sum: Tensor
    count: float
    weight: float = 1.0


class MethodConfig(BaseModel):
    """The settings of a method: frozen; unknown fields, infinities and NaN are refused.

    Defaults are the paper's values; where those are not published, the docstring calls the default a choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Corpora(Protocol):
    """The data that a method reads. `sample` is the list of pairs that all methods of a comparison share."""

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
        """The records of a corpus that the method declares in `needs`, in those of `languages` that the source has; by
        default the pivot and the languages of the sample."""


Batch = dict[str, Any]  # PackedText, tensors and plain numbers; the loop moves it to the device


class Method(nn.Module):
    """An alignment method. A method on parallel text derives from `PairMethod` and defines `loss` alone.

    The training loop owns the order of the examples (so that resume is bit-exact), the optimiser and the checkpoints.
    All parameters and buffers of the module are checkpointed. The registry sets `name`.
    """

    name: ClassVar[str] = ""
    needs: ClassVar[frozenset[Corpus]] = frozenset()
    control: ClassVar[str | None] = "continued-mlm"  # the baseline of its gain
    reference: ClassVar[str] = ""
    objective: ClassVar[str] = ""
    formula: ClassVar[str] = ""  # the objective in LaTeX, mathematics mode
    symbols: ClassVar[str] = ""  # one line on the symbols of the formula
    trains: ClassVar[bool] = True
    paper: ClassVar[dict[str, Any]] = {}  # alignment settings of the paper that differ from the recipe's
    paper_config: ClassVar[dict[str, Any]] = {}  # settings in `config` of the paper that differ from the defaults
    in_batch: ClassVar[frozenset[str]] = frozenset()  # terms with negatives from the micro-batch of all ranks
    finetunes: ClassVar[tuple[type, ...]] = (object,)  # types of record that `finetune_example` changes

    class Config(MethodConfig):
        pass

    def __init__(self, config: MethodConfig | None = None) -> None:
        super().__init__()
        self.config: Any = config if config is not None else self.Config()

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        """Creates heads, momentum copies and ids. Called once, before a checkpoint is loaded."""

    def examples(self, corpora: Corpora) -> Sequence[Any]:
        """The training examples, indexable. Called once, after `build`."""
        raise TypeError(f"{self.name or type(self).__name__} has no training examples")

    def collate(self, examples: Sequence[Any], rng: Generator) -> Batch:
        """A batch of the examples. Every random choice comes from `rng`, which depends on (seed, step) alone."""
        raise TypeError(f"{self.name or type(self).__name__} has no training examples")

    def counts(self, batch: Batch, step: int) -> dict[str, float] | None:
        """The count of each term that `loss` returns for `batch`, known without a forward pass.

        Called for the micro-batches of a step that accumulates several. None means that only `loss` knows the counts:
        it is then called once more per micro-batch, without gradient.
        """
        return None

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        """The terms of the loss on one micro-batch."""
        raise TypeError(f"{self.name or type(self).__name__} is not trained")

    def after_step(self, encoder: Encoder) -> None:
        """Called after each optimiser step, without gradient: momentum update, queue."""

    def export(self, encoder: Encoder) -> Encoder:
        """The encoder that the tasks get: by default, the trained one."""
        return encoder

    def prepare_finetuning(self, corpora: Corpora) -> None:
        """Reads what `finetune_example` needs. Called once, on a new method without `build`; `corpora` has the corpora
        of `needs` and an empty sample."""

    def finetune_example(self, example: Any, rng: Generator) -> Any:
        """Changes a fine-tuning record before it is tokenised, such as by code-switching. Identity by default.

        Only the tasks on a type of record in `finetunes` call it: their examples are then whole records, drawn and
        tokenised at each step, so that a long one of several windows counts once. Other tasks are fine-tuned as usual.
        """
        return example


def missing_methods(cls: type[Method]) -> list[str]:
    """The methods that training calls and that a class which trains does not define."""
    called = ("examples", "collate", "loss")
    return [name for name in called if cls.trains and getattr(cls, name) is getattr(Method, name)]
