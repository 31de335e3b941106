"""AMBER: translation LM, contrast of sentences, and attention that agrees in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from harness.layers import LayerOf
from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText
from harness.pair_method import PairExample, PairMethod
from harness.training import distributed
from methods.objectives.bilingual import join_sides, max_side_length, random_order
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.settings import Rate, Weight


class AMBER(PairMethod):
    """Alignment of sentences by their means, and of words by mutual attention inside a joined pair.

    Reference: Hu et al., "Explicit Alignment Objectives for Multilingual Bidirectional Encoders", NAACL 2021, arXiv
        2010.07972.
    Objective: L = L_TLM + L_SA + L_WA. L_SA = -mean_i log( e^{c_xi . c_yi} / sum_j e^{c_xi . c_yj} ), c the mean of the
        last layer over a sentence alone, plain dot products. On the joined pair [x; y], with the blocks A_xy and A_yx
        of a layer's attention (rows are queries), H heads and lengths without special tokens,
        L_WA = 1 - 1/H sum_h sum_ij A_xy[i, j] A_yx[j, i] / min(|x|, |y|).
    Inputs: parallel pairs of the sample; the order of the sides of a joined pair is random.
    Relations: without L_SA and L_WA, the translation LM of `xlm`. The paper's monolingual text is not used. The layer
        of L_WA is not published; the layer, and that L_WA shares the masked pass of L_TLM, are choices.
    Released code: none was to be had; the formulas were not compared with any.
    """

    reference: ClassVar[str] = "Hu et al. 2021, arXiv 2010.07972"
    objective: ClassVar[str] = "TLM + sentence contrast by dot products + agreement of both directions of attention"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{TLM}} + \mathcal{L}_{\mathrm{SA}} + \mathcal{L}_{\mathrm{WA}} \\
    \mathcal{L}_{\mathrm{SA}} &= -\frac{1}{n} \sum_{i=1}^{n} \log
        \frac{e^{c_{x_i}^\top c_{y_i}}}{\sum_j e^{c_{x_i}^\top c_{y_j}}} \\
    \mathcal{L}_{\mathrm{WA}} &= 1 - \frac{1}{H} \sum_{h=1}^{H}
        \frac{\sum_{i, j} A^h_{x \to y}[i, j] \, A^h_{y \to x}[j, i]}{\min(|x|, |y|)}
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "c: the mean of a sentence's last states; A: the two blocks of a layer's attention between the sides of a "
        "joined pair, rows are queries; H heads."
    )
    in_batch: ClassVar[frozenset[str]] = frozenset({"sentence"})
    paper: ClassVar[dict[str, Any]] = {"steps": 1_000_000, "batch_size": 64, "accumulation": 32}

    class Config(MethodConfig):
        """mask_rate: share of masked subwords; sentence_weight, word_weight: of L_SA and L_WA; layer: its attention
        enters L_WA (a choice); normalize_rows: divide each row of a block by its sum, so that attention within a side
        has no cost."""

        mask_rate: Rate = 0.15
        sentence_weight: Weight = 1.0
        word_weight: Weight = 1.0
        layer: Annotated[int, LayerOf(1)] = -1
        normalize_rows: bool = False

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.max_side_length = max_side_length(encoder, corpora)
        self.layer = encoder.layer(self.config.layer)

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        sides, _ = random_order(examples, rng)
        both = join_sides(sides, self.max_side_length, special_ids=self.tokenizer.special_ids)
        alone = super().collate(examples, rng)
        return {
            **masked_batch(both, self.tokenizer, rng, self.config.mask_rate),
            "first_lengths": first_lengths(both),
            "alone": alone["text"],
            "groups": alone["groups"],
        }

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        pairs = float(len(batch["text"]))
        return {"tlm": float(len(batch["labels"])), "sentence": pairs * distributed.world_size(), "word": pairs}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        text, weight = batch["text"], self.config.word_weight
        states = encoder(text, layers=(self.layer - 1, -1))
        tlm = masked_lm(encoder, states.tokens(), batch["positions"], batch["labels"])
        agreed = agreement(states.attention(self.layer), batch["first_lengths"], self.config.normalize_rows)
        x, y = encoder(batch["alone"]).mean().chunk(2)
        return {
            "tlm": tlm,
            "sentence": self.sentences(x, y, batch["groups"]),
            "word": Term((1 - agreed).sum(), float(len(text)), weight),
        }

    def sentences(self, x: Tensor, y: Tensor, groups: Tensor) -> Term:
        """L_SA over the pairs of all ranks; a repeat of a sentence with another word is not a negative of it."""
        x, y, groups = distributed.gather(x), distributed.gather(y), distributed.gather(groups)
        with torch.autocast(x.device.type, enabled=False):
            same = (groups[:, None] == groups[None, :]).fill_diagonal_(fill_value=False)
            scores = (x @ y.T).masked_fill(same, -torch.inf)
            own = torch.arange(len(x), device=x.device)
            total = functional.cross_entropy(scores, own, reduction="sum")
        return Term(total, float(len(x)), self.config.sentence_weight)


def first_lengths(text: PackedText) -> tuple[int, ...]:
    """The number of tokens of the first side of each joined pair, special tokens included."""
    return tuple(int((segments == 0).sum()) for segments in torch.split(text.segments, list(text.lengths)))


def agreement(attention: Sequence[Tensor], middles: Sequence[int], normalize_rows: bool) -> Tensor:
    """(B,) the mutual attention between the two sides of each pair, from 0 to 1, averaged over heads.

    attention: one (heads, L, L) matrix per joined pair `[CLS] x [SEP] y [SEP]`; its second side starts at `middles`.
    """
    values = []
    for matrix, middle in zip(attention, middles, strict=True):
        wide = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        forward, backward = wide[:, 1 : middle - 1, middle:-1], wide[:, middle:-1, 1 : middle - 1]
        if normalize_rows:
            forward, backward = (block / block.sum(2, keepdim=True) for block in (forward, backward))
        shorter = max(1, min(forward.shape[1:]))
        values.append((forward * backward.transpose(1, 2)).sum() / (len(wide) * shorter))
    return torch.stack(values)
