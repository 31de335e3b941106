"""Post-pretraining alignment: translation LM for words, momentum contrast with a queue for sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from numpy.random import Generator
from torch import nn

from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.pair_method import PairExample, PairMethod
from methods.objectives.bilingual import join_sides, max_side_length, random_order
from methods.objectives.masking import masked_batch, masked_lm
from methods.objectives.momentum import MomentumCopy, Queue, queue_nce
from methods.objectives.settings import Count, Rate, Share, Temperature, Weight


class PPA(PairMethod):
    """Translation LM on the query encoder, and momentum contrast between the two sides of a pair.

    Reference: Pan et al., "Multilingual BERT Post-Pretraining Alignment", NAACL 2021, arXiv 2010.12547.
    Objective: L = L_TLM + L_sent, L_sent = -log( e^{cos(q,k)/t} / (e^{cos(q,k)/t} + sum_{j in queue} e^{cos(q,j)/t}) ),
        q = g(f(x)[CLS]), k = g'(f'(y)[CLS]); f', g' are momentum copies of f, g. The order of x and y is random.
    Inputs: parallel pairs of the sample.
    Relations: `info-snt` takes its negatives from the batch; `ppa-switch` adds code-switching at fine-tuning; `infoxlm`
        contrasts a middle layer of masked and mixed text.
    Reported: XNLI zero-shot 4.7 points above mBERT for the best model; MLQA above XLM-R base (abstract).
    Released code: none was to be had; the formulas were not compared with any.
    """

    reference: ClassVar[str] = "Pan et al. 2021, arXiv 2010.12547"
    objective: ClassVar[str] = "translation LM + momentum contrast of [CLS] with a queue"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{TLM}} + \mathcal{L}_{\mathrm{sent}} \\
    \mathcal{L}_{\mathrm{sent}} &= -\frac{1}{n} \sum_{i=1}^{n} \log
        \frac{e^{s(q_i, k_i)}}{e^{s(q_i, k_i)} + \sum_{k \in Q} e^{s(q_i, k)}} \\
    s(a, b) &= \frac{\cos(a, b)}{\tau} \\
    q_i &= g_\theta\bigl(f_\theta(x_i)_{\mathrm{[CLS]}}\bigr) \\
    k_i &= g_{\theta'}\bigl(f_{\theta'}(y_i)_{\mathrm{[CLS]}}\bigr) \\
    \theta' &\leftarrow m \theta' + (1 - m) \theta
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "xᵢ, yᵢ: the sides of pair i in random order; Q: a queue of past keys; by default τ = 0.05, m = 0.999."
    )

    class Config(MethodConfig):
        """Choices for a base like mBERT; only mask_rate is the paper's value. temperature: of the cosine; queue: its
        size; momentum: share of the old weights in the copies; width: of the projected vectors; mask_rate: share of
        masked subwords; sentence_weight: of the sentence contrast."""

        temperature: Temperature = 0.05
        queue: Count = 32_000
        momentum: Share = 0.999
        width: Count = 300
        mask_rate: Rate = 0.15
        sentence_weight: Weight = 1.0

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.max_side_length = max_side_length(encoder, corpora)
        self.head = nn.Sequential(
            nn.Linear(encoder.width, encoder.width), nn.ReLU(), nn.Linear(encoder.width, self.config.width)
        )
        self.momentum_copy = MomentumCopy(self.config.momentum, encoder=encoder, head=self.head)
        self.queue = Queue(self.config.queue, self.config.width)

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        special, (sides, _) = self.tokenizer.special_ids, random_order(examples, rng)
        both = join_sides(sides, self.max_side_length, special_ids=special)
        return {
            "queries": pack([x for x, _ in sides], special_ids=special),
            "keys": pack([y for _, y in sides], special_ids=special),
            "sentence_ids": torch.tensor([[e.sentence] for e in examples]),
            **masked_batch(both, self.tokenizer, rng, self.config.mask_rate),
        }

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"tlm": float(len(batch["labels"])), "contrast": float(len(batch["queries"]))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        hidden = encoder(batch["text"]).tokens()
        queries = self.head(encoder(batch["queries"]).cls())
        with torch.no_grad():
            keys = self.momentum_copy["head"](self.momentum_copy["encoder"](batch["keys"]).cls())
        self.queue.add(keys, batch["sentence_ids"])
        losses = queue_nce(queries, keys, batch["sentence_ids"], self.queue, temperature=self.config.temperature)
        return {
            "tlm": masked_lm(encoder, hidden, batch["positions"], batch["labels"]),
            "contrast": Term(losses.sum(), float(len(losses)), self.config.sentence_weight),
        }

    def after_step(self, encoder: Encoder) -> None:
        self.queue.push()
        self.momentum_copy.update({"encoder": encoder, "head": self.head})
