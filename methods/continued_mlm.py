"""continued-mlm: masked LM on the text of the sample, a control of the alignment methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from numpy.random import Generator

from harness.method import Batch
from harness.pair_method import PairExample, PairMethod
from methods.objectives.masking import masked_batch
from methods.objectives.pretraining import MaskedLanguageModel


class ContinuedMLM(PairMethod, MaskedLanguageModel):
    """Masked LM on both sides of the sample's pairs: the text and steps of a method, without the pairing.

    Reference: Devlin et al., "BERT", NAACL 2019, arXiv 1810.04805, for the objective; Wu and Dredze, EMNLP 2020, arXiv
        2010.02537, for its use as a control.
    Objective: L = -1/|M| sum_{t in M} log P(x_t | x without M), 15% of the subwords masked (80/10/10).
    Inputs: parallel pairs of the sample, each side read alone.
    Relations: the gain of a method over this row comes from its objective; that of this row over `mbert` from text and
        steps.
    """

    control: ClassVar[str | None] = "mbert"
    reference: ClassVar[str] = "Devlin et al. 2019, arXiv 1810.04805"
    objective: ClassVar[str] = "masked LM on both sides of the pairs, unpaired"
    formula: ClassVar[str] = r"\mathcal{L} = -\frac{1}{|M|} \sum_{t \in M} \log P(x_t \mid x_{\setminus M})"
    symbols: ClassVar[str] = "M: the masked subwords of both sides of the pairs, 15 % of all."

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        text = super().collate(examples, rng)["text"]
        return masked_batch(text, self.tokenizer, rng, self.config.mask_rate)
