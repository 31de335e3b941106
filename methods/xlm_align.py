"""XLM-Align: the model's own word alignments as labels of a pointer network on masked tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from numpy.random import Generator
from torch import Tensor, nn

from harness.layers import LayerOf
from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.pair_method import PairExample, PairMethod
from methods.objectives.alignment import gather_positions, iter_max, side_positions, sinkhorn
from methods.objectives.bilingual import join_sides, max_side_length, random_order
from methods.objectives.masking import masked_batch, masked_lm, pool_counts
from methods.objectives.settings import Count, Rate, Share, Weight, Whole


class XLMAlign(PairMethod):
    """Self-labelled word alignment: the model aligns the unmasked pair, then masked tokens point to their partners.

    Reference: Chi et al., "Improving Pretrained Cross-Lingual Language Models via Self-Labeled Word Alignment", ACL
        2021, arXiv 2106.06381.
    Objective: L = L_MLM + L_TLM + L_DWA. Labels a(i): IterMax on Sinkhorn(H_x H_y^T) of the unmasked pair [x; y], H the
        states of a middle layer, without gradient and dropout. On the masked pair, in the pass of L_TLM,
        L_DWA = -1/|M| sum_{i in M aligned} log softmax_j( (W_q h_i) . (W_k h_j) / sqrt(d) ) at j = a(i),
        j over the tokens of the other sentence, both directions. M are the masked tokens of L_TLM.
    Inputs: parallel pairs of the sample; the order of the two sides is random. No aligner, no dictionary.
    Relations: without L_DWA, `xlm` with one separator between the sides. As in the released code, the last of several
        partners of a token counts. By default L_DWA is divided by |M| as L_TLM is, and the three terms are added. The
        released code divides their sums by one count, of the masked tokens of L_MLM and L_TLM and of those that point
        (`pooled_counts`). W_q and W_k are dropped for the tasks.
    Released code: microsoft/unilm, infoxlm. Sinkhorn, IterMax and the pointer are equal on the same tensors to 1e-6 or
        better. `--recipe paper` follows the released command.
    """

    reference: ClassVar[str] = "Chi et al. 2021, arXiv 2106.06381"
    objective: ClassVar[str] = "masked LM + TLM + pointer from masked tokens to their self-labelled alignments"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{MLM}} + \mathcal{L}_{\mathrm{TLM}} + \mathcal{L}_{\mathrm{DWA}} \\
    \mathcal{L}_{\mathrm{DWA}} &= -\frac{1}{|M|} \sum_{i \in M} \log
        \frac{e^{q_i^\top k_{a(i)} / \sqrt{d}}}{\sum_j e^{q_i^\top k_j / \sqrt{d}}} \\
    q_i &= W_q h_i + b_q \\
    k_j &= W_k h_j + b_k \\
    a &= \mathrm{IterMax}\bigl(\mathrm{Sinkhorn}(H_x H_y^\top)\bigr)
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "M: the masked tokens; a(i): the partner of token i, if it has one, in the unmasked pair; j: the tokens of "
        "the other sentence; H: states of a middle layer, without gradient."
    )
    paper: ClassVar[dict[str, Any]] = {
        "steps": 200_000,
        "batch_size": 64,
        "accumulation": 32,
        "learning_rate": 2e-4,
        "warmup_steps": 10_000,
        "weight_decay": 0.01,
        "adam_betas": (0.9, 0.98),
        "adam_epsilon": 1e-6,
        "max_length": 512,
    }
    paper_config: ClassVar[dict[str, Any]] = {"layer": 10, "align_from": 0, "pooled_counts": True, "dropout": 0.0}

    class Config(MethodConfig):
        """mask_rate: share of masked subwords; mlm_weight: of masked LM on single sentences; align_weight: of L_DWA;
        layer: its states are aligned (none: two thirds of the depth, layer 8 of 12, the default of the released code;
        its command takes 10); iterations: of Sinkhorn; rounds: of IterMax; align_from: the first step with L_DWA (0 in
        the released code, whose base has seen more text; a choice, so that translation LM improves the labels first);
        pooled_counts: all terms are divided by one count, as in the released code (a step that accumulates then takes a
        second pass to count); dropout: of the encoder while it is aligned (none: that of the base; 0 in the released
        code)."""

        mask_rate: Rate = 0.15
        mlm_weight: Weight = 1.0
        align_weight: Weight = 1.0
        layer: Annotated[int | None, LayerOf()] = None
        iterations: Whole = 2
        rounds: Count = 2
        align_from: Whole = 100
        pooled_counts: bool = False
        dropout: Share | None = None

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        if self.config.dropout is not None:
            encoder.set_dropout(self.config.dropout)
        self.max_side_length = max_side_length(encoder, corpora)
        layer = self.config.layer
        self.layer = max(1, round(encoder.depth * 2 / 3)) if layer is None else encoder.layer(layer)
        self.query, self.key = (nn.Linear(encoder.width, encoder.width) for _ in range(2))

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        sides, _ = random_order(examples, rng)
        both = join_sides(sides, self.max_side_length, special_ids=self.tokenizer.special_ids)
        text, rate = super().collate(examples, rng)["text"], self.config.mask_rate
        alone = masked_batch(text, self.tokenizer, rng, rate, prefix="alone_")
        first, second = side_positions(both)
        return {
            **masked_batch(both, self.tokenizer, rng, rate),
            **alone,
            "clean": both.ids,
            "first": first,
            "second": second,
        }

    def counts(self, batch: Batch, step: int) -> dict[str, float] | None:
        if self.config.pooled_counts:  # how many tokens point is known with the labels, inside `loss`
            return None
        masked = float(len(batch["labels"]))
        return {"tlm": masked, "mlm": float(len(batch["alone_labels"])), "align": masked}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        hidden = encoder(batch["text"]).tokens()
        alone = encoder(batch["alone_text"]).tokens()
        mlm = masked_lm(encoder, alone, batch["alone_positions"], batch["alone_labels"])
        terms = {
            "tlm": masked_lm(encoder, hidden, batch["positions"], batch["labels"]),
            "mlm": Term(mlm.sum, mlm.count, self.config.mlm_weight),
        }
        pooled = self.config.pooled_counts
        if step >= self.config.align_from:
            total, pointing = self.pointer(hidden, self.links(encoder, batch), batch)
            count = float(pointing) if pooled else terms["tlm"].count
            terms["align"] = Term(total, count, self.config.align_weight)
        return pool_counts(terms) if pooled else terms

    @torch.no_grad()
    def links(self, encoder: Encoder, batch: Batch) -> Tensor:
        """Bool (B, m, n): the labels, from the states of the unmasked pair."""
        training = encoder.training
        encoder.eval()
        states = encoder(batch["text"].with_ids(batch["clean"]), layers=(self.layer,)).tokens(self.layer)
        encoder.train(training)
        first, second = batch["first"], batch["second"]
        valid = (first >= 0)[:, :, None] & (second >= 0)[:, None, :]
        with torch.autocast(states.device.type, enabled=False):
            wide = torch.promote_types(states.dtype, torch.float32)
            x, y = (gather_positions(states.to(wide), positions) for positions in (first, second))
            return iter_max(sinkhorn(x @ y.transpose(1, 2), valid, self.config.iterations), valid, self.config.rounds)

    def pointer(self, hidden: Tensor, links: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The summed loss of both directions and the number of pointing tokens, from the states hidden (T, H) of the
        masked pair."""
        masked = torch.zeros(len(hidden), dtype=torch.bool, device=hidden.device)
        masked = masked.index_fill(0, batch["positions"], value=True)
        first, second = batch["first"], batch["second"]
        there = self._pointer_loss(hidden, first, second, links, masked)
        back = self._pointer_loss(hidden, second, first, links.transpose(1, 2), masked)
        return there[0] + back[0], there[1] + back[1]

    def _pointer_loss(
        self, hidden: Tensor, source: Tensor, target: Tensor, links: Tensor, masked: Tensor
    ) -> tuple[Tensor, Tensor]:
        """-log p(partner), summed over the masked tokens of `source` (B, m) with a partner in `target` (B, n), and how
        many these are."""
        queries, keys = gather_positions(self.query(hidden), source), gather_positions(self.key(hidden), target)
        with torch.autocast(hidden.device.type, enabled=False):
            wide = torch.promote_types(queries.dtype, torch.float32)
            logits = queries.to(wide) @ keys.to(wide).transpose(1, 2) / math.sqrt(hidden.shape[1])
            logits = logits.masked_fill((target < 0)[:, None, :], torch.finfo(wide).min)
            number = torch.arange(links.shape[2], device=links.device)
            partner = torch.where(links, number, -1).amax(2)
            counted = (partner >= 0) & (source >= 0) & masked[source.clamp(min=0)]
            chosen = logits.log_softmax(2).gather(2, partner.clamp(min=0)[..., None]).squeeze(2)
            return -chosen.masked_fill(~counted, 0.0).sum(), counted.sum()
