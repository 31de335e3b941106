"""Masked language modelling of running text, the objective of `alignboard pretrain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from numpy.random import Generator

from harness.method import Batch, Method, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.modeling.tokenizer import Tokenizer
from methods.objectives.masking import masked_batch, token_cross_entropy
from methods.objectives.settings import Rate


class MaskedLanguageModel(Method):
    """Masked LM over tokenised texts with their segments (Devlin et al., NAACL 2019): 15% of the subwords, 80/10/10."""

    control: ClassVar[str | None] = None

    class Config(MethodConfig):
        """mask_rate: share of masked subwords."""

        mask_rate: Rate = 0.15

    tokenizer: Tokenizer

    def collate(self, examples: Sequence[Any], rng: Generator) -> Batch:
        ids, segments = zip(*examples, strict=True)
        text = pack(ids, segments=segments, special_ids=self.tokenizer.special_ids)
        return masked_batch(text, self.tokenizer, rng, self.config.mask_rate)

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"mlm": float(len(batch["labels"]))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        states = encoder.at(batch["text"], batch["rows"])
        return {"mlm": token_cross_entropy(encoder, states, batch["labels"])}
