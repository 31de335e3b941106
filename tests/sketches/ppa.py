"""Post-pretraining alignment: translation LM for words, momentum contrast with a queue for sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from harness import Batch, Corpora, Corpus, Encoder, MethodConfig, PairMethod, Term, distributed, pack, register
from methods.objectives.contrastive import nce
from methods.objectives.masking import masked_batch, masked_lm


@register("ppa-sketch")
class PPA(PairMethod):
    """Translation LM on the query encoder, and MoCo between the two sides of a pair.

    Reference: Pan et al., "Multilingual BERT Post-Pretraining Alignment", NAACL 2021, arXiv 2010.12547.
    Objective: L = L_TLM + L_sent, L_sent = -log( e^{q.k/t} / (e^{q.k/t} + sum_{j in queue} e^{q.j/t}) ), with
        q = g(f(x)[CLS]), k = g'(f'(y)[CLS]); f', g' follow f, g by momentum; x and y change places at random.
    Inputs: parallel pairs of the sample.
    Relations: `info-snt` takes its negatives from the batch, not from a queue.
    """

    reference = "Pan et al. 2021, arXiv 2010.12547"
    objective = "translation LM + momentum contrast of [CLS] with a queue"

    class Config(MethodConfig):
        """temperature: of the cosine; queue: how many keys are kept; momentum: share of the old weights in the copies;
        width: of the projected vectors; mask_rate: share of masked subwords."""

        temperature: float = 0.05
        queue: int = 32_000
        momentum: float = 0.999
        width: int = 300
        mask_rate: float = 0.15

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.room = min(2 * corpora.max_length, encoder.max_length) // 2
        self.head = _projection(encoder.width, self.config.width)
        self.slow = nn.ModuleDict({"encoder": encoder.clone(), "head": _projection(encoder.width, self.config.width)})
        self.slow["head"].load_state_dict(self.head.state_dict())
        self.slow.requires_grad_(False)
        self.register_buffer("queue", torch.zeros(self.config.queue, self.config.width))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        self.fresh: list[Tensor] = []  # keys of this step; empty whenever a checkpoint is written

    def collate(self, examples: Sequence[Any], rng: Generator) -> Batch:
        sides = [(e.source, e.target) if rng.random() < 0.5 else (e.target, e.source) for e in examples]
        special = self.tokenizer.special_ids
        joint = [np.concatenate([x[: self.room], y[1 : self.room]]) for x, y in sides]
        segments = [np.arange(len(ids)) >= min(len(x), self.room) for ids, (x, _) in zip(joint, sides, strict=True)]
        return {
            "queries": pack([x for x, _ in sides], special_ids=special),
            "keys": pack([y for _, y in sides], special_ids=special),
            **masked_batch(
                pack(joint, segments=segments, special_ids=special), self.tokenizer, rng, self.config.mask_rate
            ),
        }

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        hidden = encoder(batch["text"]).tokens()
        translation_lm = masked_lm(encoder, hidden, batch["positions"], batch["labels"])
        queries = self.head(encoder(batch["queries"]).cls())
        with torch.no_grad():
            keys = self.slow["head"](self.slow["encoder"](batch["keys"]).cls()).float()
        if self.training:
            self.fresh.append(keys)
        return {"tlm": translation_lm, "contrast": self.contrast(queries, keys)}

    def contrast(self, queries: Tensor, keys: Tensor) -> Term:
        """Each query against its own key and what the queue holds."""
        n, size = len(queries), len(self.queue)
        others = torch.ones(n, n, dtype=torch.bool, device=keys.device)
        empty = torch.arange(size, device=keys.device) >= self.pushed
        losses = nce(
            queries,
            torch.cat([keys, self.queue]),
            torch.arange(n, device=keys.device),
            exclude=torch.cat([others, empty.expand(n, size)], dim=1),
            temperature=self.config.temperature,
        )
        return Term(losses.sum(), float(n))

    def after_step(self, encoder: Encoder) -> None:
        keys = distributed.gather(torch.cat(self.fresh))[-len(self.queue) :]
        self.fresh = []
        places = (self.pushed + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys
        self.pushed += len(keys)
        for fast, slow in ((encoder, self.slow["encoder"]), (self.head, self.slow["head"])):
            for ours, theirs in zip(fast.parameters(), slow.parameters(), strict=True):
                theirs.lerp_(ours, 1 - self.config.momentum)


def _projection(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))


@register("ppa-switch-sketch")
class SwitchedPPA(PPA):
    """PPA, fine-tuned on pairs whose two sentences may be in different languages.

    Reference: Pan et al., "Multilingual BERT Post-Pretraining Alignment", NAACL 2021, arXiv 2010.12547.
    Objective: that of PPA; a training pair comes in a random language, one of its sides perhaps in the pivot.
    Inputs: parallel pairs of the sample; the training set of the task in other languages (so no zero-shot row).
    Relations: `ppa-sketch` fine-tunes on the pivot alone.
    """

    needs = frozenset({Corpus.PARALLEL, Corpus.TRANSLATED_TRAIN})

    def prepare_finetuning(self, corpora: Corpora) -> None:
        self.versions: dict[str, list[Any]] = defaultdict(list)
        for record in corpora.records(Corpus.TRANSLATED_TRAIN):
            self.versions[record.cluster].append(record)

    def finetune_example(self, example: Any, rng: Generator) -> Any:
        versions = self.versions.get(example.cluster)
        if versions is None:
            return example
        other = [example, *versions][rng.integers(len(versions) + 1)]
        switched = rng.integers(3)  # 0: neither side goes back into the pivot
        first = example.first if switched == 1 else other.first
        return replace(example, first=first, second=example.second if switched == 2 else other.second)
