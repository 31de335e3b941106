"""VECO: cross-attention in every layer during training, removed for the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from numpy.random import Generator
from torch import Tensor, nn

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.attention import Layout
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText
from harness.pair_method import PairExample, PairMethod
from methods.objectives.cross_attention import CrossAttention, reinitialize
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.settings import Rate, Weight


class VECO(PairMethod):
    """Masked LM without cross-attention, and with cross-attention to the translation.

    Reference: Luo et al., "VECO: Variable and Flexible Cross-lingual Pre-training", ACL 2021, arXiv 2010.16046.
    Objective: L = -log P(x|x^; s) - log P(y|y^; s) - log P(x|y^,x^; s,c) - log P(y|x^,y^; s,c), x^ and y^ the masked
        sides. With the plugs c each layer attends, between self-attention and feed-forward, to the last states of the
        other side in the pass without plugs. Each pair of terms is one mean over the masked subwords of both sides.
    Inputs: parallel pairs of the sample. The paper also uses adjacent sentences of running text.
    Relations: without the last two terms, `continued-mlm`; `xlm` reads the translation by self-attention instead.
    Released code: alibaba/AliceMind, VECO, for fine-tuning alone. The order inside a layer is equal on the same tensors
        to 1e-6 or better; the loss could not be compared.
    """

    reference: ClassVar[str] = "Luo et al. 2021, arXiv 2010.16046"
    objective: ClassVar[str] = "masked LM, and masked LM with cross-attention to the translation"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= -\frac{1}{|M|} \sum_{t \in M} \log P(x_t \mid \hat{x}; \theta_s) \\
        &\quad - \frac{1}{|M|} \sum_{t \in M} \log P(x_t \mid \hat{x}, \hat{y}; \theta_s, \theta_c)
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "x̂, ŷ: a masked sentence and its masked translation, either side in turn; M: the masked subwords; θ: the "
        "encoder (s) and the cross-attention to the translation's last states plugged into each of its layers (c)."
    )

    class Config(MethodConfig):
        """mask_rate: share of masked subwords; cross_weight: of masked LM with cross-attention; warm_plugs: the plugs
        start as copies of each layer's self-attention, not from random weights (a choice: the paper trains from
        scratch)."""

        mask_rate: Rate = 0.15
        cross_weight: Weight = 1.0
        warm_plugs: bool = True

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.plugs = nn.ModuleList(CrossAttention(block.attention) for block in encoder.blocks)
        if not self.config.warm_plugs:
            deviation = encoder.config.initializer_range
            for plug in self.plugs:
                plug.apply(lambda module: reinitialize(module, deviation))

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        text = super().collate(examples, rng)["text"]
        partners = Layout.of((*text.lengths[len(examples) :], *text.lengths[: len(examples)]))
        return {**masked_batch(text, self.tokenizer, rng, self.config.mask_rate), "partners": partners}

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return dict.fromkeys(("mlm", "ca_mlm"), float(len(batch["labels"])))

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        text, spots, labels = batch["text"], batch["positions"], batch["labels"]
        alone = encoder(text).tokens()
        together = self.states_with_plugs(encoder, text, alone, batch["partners"])
        crossed = masked_lm(encoder, together, spots, labels)
        return {
            "mlm": masked_lm(encoder, alone, spots, labels),
            "ca_mlm": Term(crossed.sum, crossed.count, self.config.cross_weight),
        }

    def states_with_plugs(self, encoder: Encoder, text: PackedText, alone: Tensor, partners: Layout) -> Tensor:
        """(T, H) last states with the plugs; `alone` (T, H) are those without, `partners` is the layout of the other
        sides in the order of `text`."""
        cut = text.starts[len(text) // 2]
        other = torch.cat([alone[cut:], alone[:cut]])

        def plug(layer: int, hidden: Tensor) -> Tensor:
            crossed: Tensor = self.plugs[layer - 1](hidden, other, text.layout, partners)
            return crossed

        states: Tensor = encoder(text, after_attention=plug).tokens()
        return states
