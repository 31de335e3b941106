"""InfoXLM: masked LM, translation LM, and momentum contrast of translations in a middle layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from harness.layers import LayerOf
from harness.method import Batch, Corpora, Term
from harness.modeling.encoder import Encoder
from harness.pair_method import PairExample
from harness.training import distributed
from harness.training.loop import to_device
from methods.objectives.bilingual import join_sides, mix_pairs
from methods.objectives.masking import masked_batch, pool_counts
from methods.objectives.momentum import MomentumCopy, Queue, queue_nce
from methods.objectives.settings import Count, Share, Temperature, Weight
from methods.xlm import XLM

FILLED = 256  # pairs whose keys each process adds to the queue at once


class InfoXLM(XLM):
    """The two objectives of XLM, and contrast of mixed translation pairs with a queue of momentum keys (XlCo).

    Reference: Chi et al., "InfoXLM", NAACL 2021, arXiv 2007.07834, with the values of its released code.
    Objective: L = L_MLM + L_TLM + L_XlCo, L_XlCo = -log( e^{q.k/t} / (e^{q.k/t} + sum_{j in queue} e^{q.j/t}) ),
        q = W f(c_x)[CLS], k = W' f'(c_y)[CLS] after a middle layer, not normalised; f', W' are momentum copies of f, W.
        c_x joins the x sides of two pairs of one language, c_y their y sides, each in a random order and masked; c_x
        and c_y are swapped at random.
    Inputs: parallel pairs of the sample. A batch of n pairs makes n / 2 mixed pairs.
    Relations: without L_XlCo, `xlm` with one separator between the sides; `ppa` contrasts whole sentences, normalised,
        after the last layer, without MLM. By default the three terms are means, which weigh alike. The released code
        divides their sums by one count of masked tokens and mixed pairs together (`pooled_counts`): a mixed pair weighs
        as much as a masked token, so that L_XlCo is about a 77th of L_MLM in its blocks of 512 tokens.
    Released code: microsoft/unilm, infoxlm. L_XlCo is equal on the same tensors to 1e-6 or better. `--recipe paper`
        follows the released command, which trains in fp16.
    """

    reference: ClassVar[str] = "Chi et al. 2021, arXiv 2007.07834"
    objective: ClassVar[str] = "masked LM + translation LM + momentum contrast of a middle layer's [CLS] (XlCo)"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= \mathcal{L}_{\mathrm{MLM}} + \mathcal{L}_{\mathrm{TLM}} + \mathcal{L}_{\mathrm{XlCo}} \\
    \mathcal{L}_{\mathrm{XlCo}} &= -\mathbb{E} \left[ \log
        \frac{e^{q^\top k / \tau}}{e^{q^\top k / \tau} + \sum_{j \in Q} e^{q^\top j / \tau}} \right] \\
    q &= W f_\theta(c_x)_{\mathrm{[CLS]}} \\
    k &= W' f_{\theta'}(c_y)_{\mathrm{[CLS]}} \\
    \theta' &\leftarrow m \theta' + (1 - m) \theta
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "c: the x sides or the y sides of two pairs, joined and masked; f: a middle layer; Q: a queue of past keys; "
        "W′ follows W as θ′ does θ; by default τ = 0.25, m = 0.999."
    )
    paper: ClassVar[dict[str, Any]] = {
        "steps": 200_000,
        "batch_size": 64,  # times accumulation: 4,096 pairs, which make the 2,048 mixed pairs of a step
        "accumulation": 64,
        "learning_rate": 2e-4,
        "schedule": "linear",
        "warmup_steps": 10_000,
        "weight_decay": 0.01,
        "clip": 1.0,
        "adam_betas": (0.9, 0.98),
        "adam_epsilon": 1e-6,
        "max_length": 512,
    }
    own_boundaries: ClassVar[bool] = False
    paper_config: ClassVar[dict[str, Any]] = {
        "queue": 131_072,
        "momentum": 0.9999,
        "fill_queue": True,
        "pooled_counts": True,
        "dropout": 0.0,
    }

    class Config(XLM.Config):
        """Values of the released code, except where a choice is stated.

        mask_rate: share of masked subwords; mlm_weight: of masked LM on single sentences; target_first: how often the
        side that is not the pivot comes first; reset_positions: positions start at 0 on the second side;
        language_embeddings: a learned vector per language in the two language models, not in the contrast; layer: its
        [CLS] is contrasted (none: two thirds of the depth, layer 8 of 12 as in the code); temperature: of the dot
        product; normalize: cosines instead of dot products (more robust, with a temperature of about 0.05); queue: its
        size (131,072 in the code, whose batch is 2,048; less is a choice); momentum: share of the old weights in the
        copies (0.9999 in the code, whose run is longer; less is a choice); fill_queue: keys of random pairs fill the
        queue before the first step, as in the code (by default empty places are skipped, so that a short run contrasts
        from its second step); wait_for_queue: no contrast until the queue is full; xlco_weight: of the contrast;
        pooled_counts: all terms are divided by one count, as in the code; dropout: of the encoder while it is aligned
        (none: that of the base; 0 in the code)."""

        layer: Annotated[int | None, LayerOf(1)] = None
        temperature: Temperature = 0.25
        normalize: bool = False
        queue: Count = 16_384
        momentum: Share = 0.999
        fill_queue: bool = False
        wait_for_queue: bool = False
        xlco_weight: Weight = 1.0
        pooled_counts: bool = False
        dropout: Share | None = None

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        if self.config.dropout is not None:
            encoder.set_dropout(self.config.dropout)
        chosen = round(encoder.depth * 2 / 3) if self.config.layer is None else self.config.layer
        self.layer = encoder.layer(chosen)
        self.project = nn.Linear(encoder.width, encoder.width, bias=False)
        nn.init.normal_(self.project.weight, std=0.02)
        self.momentum_copy = MomentumCopy(self.config.momentum, encoder=encoder, project=self.project)
        self.queue = Queue(self.config.queue, encoder.width, members=2)

    def examples(self, corpora: Corpora) -> Sequence[PairExample]:
        examples = super().examples(corpora)
        if self.config.fill_queue:
            self.fill(examples)
        return examples

    def fill(self, examples: Sequence[PairExample]) -> None:
        """Fills the queue with keys of random pairs; each process makes a part of them. A checkpoint that is loaded
        afterwards replaces them."""
        seed = int(torch.randint(2**31, ()))  # follows the seed of the run
        draw, views = np.random.default_rng(seed), np.random.default_rng([seed, distributed.rank()])
        while bool(self.queue.empty_mask().any()):
            numbers = draw.integers(len(examples), size=FILLED * distributed.world_size())
            chosen = np.array_split(numbers, distributed.world_size())[distributed.rank()]
            batch = to_device(self.mixed_views([examples[i] for i in chosen.tolist()], views), self.queue.keys.device)
            self.queue.add(self.encode_keys(batch), batch["sentence_ids"])
            self.queue.push()

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        return {**super().collate(examples, rng), **self.mixed_views(examples, rng)}

    def mixed_views(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        """The `queries` and `keys` of mixed pairs, masked, and the `sentence_ids` (n / 2, 2) in them."""
        mixed_pairs = list(mix_pairs(examples, rng))
        batch: Batch = {"sentence_ids": torch.tensor([pair.sentences for pair in mixed_pairs])}
        for name in ("queries", "keys"):
            text = join_sides(
                [getattr(pair, name) for pair in mixed_pairs],
                self.max_side_length,
                special_ids=self.tokenizer.special_ids,
            )
            batch[name] = masked_batch(text, self.tokenizer, rng, self.config.mask_rate)["text"]
        return batch

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        counts = {**super().counts(batch, step), "xlco": float(len(batch["queries"]))}
        return dict.fromkeys(counts, sum(counts.values())) if self.config.pooled_counts else counts

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        queries = self.project(encoder(batch["queries"], layers=(self.layer,)).cls(self.layer))
        keys = self.encode_keys(batch)
        self.queue.add(keys, batch["sentence_ids"])
        terms = {**super().loss(encoder, batch, step), "xlco": self.contrast(queries, keys, batch["sentence_ids"])}
        return pool_counts(terms) if self.config.pooled_counts else terms

    @torch.no_grad()
    def encode_keys(self, batch: Batch) -> Tensor:
        """(n / 2, H) the momentum keys of the mixed pairs."""
        encode: Any = self.momentum_copy["encoder"]
        keys: Tensor = self.momentum_copy["project"](encode(batch["keys"], layers=(self.layer,)).cls(self.layer))
        return keys

    def contrast(self, queries: Tensor, keys: Tensor, sentence_ids: Tensor) -> Term:
        """Each query against its own key and the queue; 0 until the queue is full with `wait_for_queue`."""
        config = self.config
        losses = queue_nce(
            queries, keys, sentence_ids, self.queue, temperature=config.temperature, normalize=config.normalize
        )
        if config.wait_for_queue:
            losses = losses * ~self.queue.empty_mask().any()
        return Term(losses.sum(), float(len(losses)), config.xlco_weight)

    def after_step(self, encoder: Encoder) -> None:
        self.queue.push()
        self.momentum_copy.update({"encoder": encoder, "project": self.project})
