"""XLM: masked language modelling and translation language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.random import Generator
from torch import nn

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.pair_method import PairExample, PairMethod
from methods.objectives.bilingual import join_sides, max_side_length, random_order
from methods.objectives.masking import masked_batch, token_cross_entropy
from methods.objectives.settings import Rate, Share, Weight


class XLM(PairMethod):
    """Masked LM on each sentence alone, and on both joined, where the translation helps to predict a masked word.

    Reference: Lample and Conneau, "Cross-lingual Language Model Pretraining", NeurIPS 2019, arXiv 1901.07291.
    Objective: L = L_MLM + L_TLM, L_TLM = -1/|M| sum_{t in M} log P(z_t | z without M), z = [CLS] x [SEP] [CLS] y [SEP],
        M 15% of the subwords (80/10/10) of both sides; L_MLM the same on x and on y alone.
    Inputs: parallel pairs of the sample, the two sides in random order. The paper reads running text for L_MLM.
    Relations: without L_TLM, `continued-mlm`. The row "XLM" of XTREME's tables is a model without L_TLM. The paper
        trains from scratch, 12 layers of 1,024 units, in alternating steps, a number that is not known to us; its rate
        decays by their inverse square root. Masking is uniform, as by default in the code (paper: by frequency^-1/2).
    Released code: facebookresearch/XLM was read for the form of z and the settings; no loss was compared.
    """

    reference: ClassVar[str] = "Lample and Conneau 2019, arXiv 1901.07291"
    objective: ClassVar[str] = "masked LM on the sides alone + masked LM on both joined (TLM)"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{MLM}} + \mathcal{L}_{\mathrm{TLM}} \\
    \mathcal{L}_{\mathrm{TLM}} &= -\frac{1}{|M|} \sum_{t \in M} \log P(z_t \mid z_{\setminus M}) \\
    z &= [\mathrm{CLS}] \, x \, [\mathrm{SEP}] \, [\mathrm{CLS}] \, y \, [\mathrm{SEP}]
    \end{aligned}
    """
    symbols: ClassVar[str] = "M: 15 % of the subwords of both sides; the masked LM is the same on x and on y alone."
    paper: ClassVar[dict[str, Any]] = {
        "learning_rate": 1e-4,
        "batch_size": 32,
        "clip": 5.0,
        "adam_betas": (0.9, 0.98),
        "max_length": 256,
    }
    own_boundaries: ClassVar[bool] = True  # each side has its own first token
    paper_config: ClassVar[dict[str, Any]] = {"reset_positions": True, "language_embeddings": True}

    class Config(MethodConfig):
        """mask_rate: share of masked subwords; mlm_weight: of masked LM on single sentences; target_first: how often
        the side that is not the pivot comes first (0.5, as in the released command; 0 or 1 fixes the order);
        reset_positions: positions start at 0 on the second side, as in the paper; language_embeddings: a learned vector
        per language, initially 0, added to the embeddings in training as in the paper, and dropped for the tasks."""

        mask_rate: Rate = 0.15
        mlm_weight: Weight = 1.0
        target_first: Share = 0.5
        reset_positions: bool = False
        language_embeddings: bool = False

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.max_side_length = max_side_length(encoder, corpora)
        self.numbers = {code: i for i, code in enumerate(dict.fromkeys((corpora.pivot, *corpora.languages)))}
        self.languages: nn.Parameter | None = None
        if self.config.language_embeddings:
            self.languages = nn.Parameter(torch.zeros(len(self.numbers), encoder.width))

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        special, rate, reset = self.tokenizer.special_ids, self.config.mask_rate, self.config.reset_positions
        sides, swapped = random_order(examples, rng, self.config.target_first)
        both = join_sides(
            sides, self.max_side_length, special_ids=special, own_boundaries=self.own_boundaries, reset_positions=reset
        )
        alone = super().collate(examples, rng)["text"]
        n, numbers = len(examples), [self.numbers[e.language] for e in examples]
        pivot_first = torch.tensor([[m, 0] if s else [0, m] for m, s in zip(numbers, swapped, strict=True)])
        return {
            **masked_batch(both, self.tokenizer, rng, rate),
            **masked_batch(alone, self.tokenizer, rng, rate, prefix="alone_"),
            "languages": pivot_first[both.layout.owner, both.segments],
            "alone_languages": torch.tensor([0] * n + numbers)[alone.layout.owner],
        }

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"tlm": float(len(batch["labels"])), "mlm": float(len(batch["alone_labels"]))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        tlm, mlm = (self.masked_term(encoder, batch, prefix) for prefix in ("", "alone_"))
        return {"tlm": tlm, "mlm": Term(mlm.sum, mlm.count, self.config.mlm_weight)}

    def masked_term(self, encoder: Encoder, batch: Batch, prefix: str) -> Term:
        vectors = None if self.languages is None else self.languages[batch[f"{prefix}languages"]]
        states = encoder.at(batch[f"{prefix}text"], batch[f"{prefix}rows"], added=vectors)
        return token_cross_entropy(encoder, states, batch[f"{prefix}labels"])
