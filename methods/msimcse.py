"""mSimCSE: supervised SimCSE on an inference corpus in the pivot alone, without parallel text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.random import Generator
from torch import nn

from harness.errors import UserError
from harness.method import Batch, Corpora, Method, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, TextPair
from harness.training import distributed
from methods.objectives.contrastive import nce
from methods.objectives.inference import Triplet, triplets
from methods.objectives.settings import Temperature


class MSimCSE(Method):
    """Contrast of premises and entailed hypotheses, with contradicting ones as hard negatives; pivot only.

    Reference: Wang, Wu and Neubig, "English Contrastive Learning Can Learn Universal Cross-lingual Sentence
        Embeddings", EMNLP 2022, arXiv 2211.06127; Gao, Yao and Chen, "SimCSE", EMNLP 2021, arXiv 2104.08821.
    Objective: L = -mean_i log( e^{s(h_i, h_i+)} / sum_j (e^{s(h_i, h_j+)} + e^{s(h_i, h_j-)}) ), s = cos / 0.05,
        h = tanh(W [CLS] + b) of the last layer; W and b are dropped for the tasks.
    Inputs: the inference corpus in the pivot, grouped by premise: its k-th entailment and its k-th contradiction make a
        triplet; neutral hypotheses are not used. Neither the sample nor another language is read.
    Relations: it has no bitext, so a method on pairs that does not beat it gains nothing from its pairs. The paper's
        variant on inference pairs of several languages is another method. The released code keeps the checkpoint that
        is best on STS-B's dev set; here the last one is kept.
    Released code: yaushian/mSimCSE. The loss is equal on the same tensors to 1e-6 or better.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.NLI})
    reference: ClassVar[str] = "Wang et al. 2022, arXiv 2211.06127"
    objective: ClassVar[str] = "InfoNCE of premise and entailment, contradictions as hard negatives; pivot only"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= -\frac{1}{n} \sum_{i=1}^{n} \log
        \frac{e^{s_{ii}^+}}{\sum_{j=1}^{n} \bigl( e^{s_{ij}^+} + e^{s_{ij}^-} \bigr)} \\
    s_{ij}^{\pm} &= \frac{\cos(h_i, h_j^{\pm})}{\tau} \\
    h &= \tanh(W h_{\mathrm{[CLS]}} + b)
    \end{aligned}
    """
    symbols: ClassVar[str] = "hᵢ: a premise; hᵢ⁺, hᵢ⁻: an entailed and a contradicting hypothesis; by default τ = 0.05."
    in_batch: ClassVar[frozenset[str]] = frozenset({"contrast"})
    paper: ClassVar[dict[str, Any]] = {
        "steps": 4_308,  # 2 epochs of 2,154 batches: the 275,601 triplets that SimCSE made of SNLI and MultiNLI
        "learning_rate": 1e-5,
        "batch_size": 128,
        "max_length": 32,
    }

    class Config(MethodConfig):
        """temperature: of the cosine."""

        temperature: Temperature = 0.05

    tokenizer: Tokenizer

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        self.tokenizer = corpora.tokenizer
        self.head = nn.Sequential(nn.Linear(encoder.width, encoder.width), nn.Tanh())

    def examples(self, corpora: Corpora) -> Sequence[Triplet]:
        records = corpora.records(Corpus.NLI, (corpora.pivot,))
        pairs = [record for record in records if isinstance(record, TextPair)]
        texts = triplets(pairs)
        if not texts:
            labels = sorted({pair.label or "withheld" for pair in pairs})
            raise UserError(
                f"the inference corpus has no triplet in the pivot, {corpora.pivot!r}",
                found=f"{len(pairs)} pairs, labels {', '.join(labels) or 'none'}",
                expected="a premise with both an entailment and a contradiction",
            )
        sides = (corpora.tokenizer.encode(side, corpora.max_length).ids for side in zip(*texts, strict=True))
        return [Triplet(*row) for row in zip(*sides, strict=True)]

    def collate(self, examples: Sequence[Triplet], rng: Generator) -> Batch:
        return {"text": pack([text for side in zip(*examples, strict=True) for text in side])}

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"contrast": len(batch["text"]) / 3 * distributed.world_size()}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        vectors = self.head(encoder(batch["text"]).cls())
        premises, entailed, contradicting = (distributed.gather(part) for part in vectors.chunk(3))
        own = torch.arange(len(premises), device=premises.device)
        candidates = torch.cat([entailed, contradicting])
        losses = nce(premises, candidates, own, temperature=self.config.temperature)
        return {"contrast": Term(losses.sum(), float(len(losses)))}
