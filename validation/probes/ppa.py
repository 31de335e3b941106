"""PPA: the keys of its queue, retrieval of held-out translations, and the effect of its fine-tuning hook."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.registry import METHODS, TASKS
from harness.training.order import Order
from validation.probes.common import TrainedMethod, train_method

QUEUE, STEPS, BATCH = 512, 300, 48


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Shares between 0 and 1; see `queue`, `retrieval` (before, after, and after the same training without the
    contrast) and `switching`."""
    settings = {"steps": STEPS, "batch": BATCH, "queue": QUEUE, **training}
    trained = train_method("ppa", seed, **settings)
    without = train_method("ppa", seed, **{**settings, "sentence_weight": 0.0})
    pairs = tuple({pair.sentence: pair for pair in trained.held_out}.values())
    examples = trained.method.examples(trained.on(pairs))
    chosen = [examples[i] for i in range(len(examples))]
    return {
        **queue(trained, seed),
        "retrieval_before": retrieval(trained.base, chosen),
        "retrieval_without": retrieval(without.encoder, chosen),
        "retrieval": retrieval(trained.encoder, chosen),
        **switching(trained),
    }


@torch.no_grad()
def queue(trained: TrainedMethod, seed: int) -> dict[str, float]:
    """`queue_own`: the share of keys whose nearest vector of the momentum copy, among all sentences of the queue, is
    that of their own sentence; `queue_pivot`: the share of pivot sentences.

    The batches of the last steps are collated again, from the order of the examples and the seeds of the steps.
    """
    method = trained.method
    rows, pivot = _pushed(trained, seed)
    held = len(method.queue)
    copies = method.momentum_copy["encoder"], method.momentum_copy["head"]
    seen = torch.cat([copies[1](copies[0](pack(rows[i : i + 64])).cls()) for i in range(0, len(rows), 64)])
    places = (int(method.queue.pushed) - held + torch.arange(held)) % held
    nearest = _nearest(method.queue.keys[places], seen)
    distinct = [tuple(row.tolist()) for row in rows]  # a sentence comes back once per matched word
    own = [distinct[int(found)] == distinct[i] for i, found in enumerate(nearest)]
    return {"queue_own": float(np.mean(own)), "queue_pivot": float(np.mean(pivot))}


def _pushed(trained: TrainedMethod, seed: int) -> tuple[list[np.ndarray], list[bool]]:
    """The last keys that were pushed, as token ids in the order of pushing, and which of them are the pivot's."""
    method = trained.method
    examples = method.examples(trained.corpora)
    order, rows, pivot = Order(len(examples), seed), [], []
    steps, held = int(method.queue.pushed) // BATCH, len(method.queue)
    for step in range(steps - -(-held // BATCH), steps):
        numbers, _ = order.take(step * BATCH, BATCH)
        chosen = [examples[i] for i in numbers]
        batch = method.collate(chosen, np.random.default_rng([seed, step, 0, 0]))
        for ids, example in zip(batch["keys"].ids.split(batch["keys"].lengths), chosen, strict=True):
            rows.append(ids.numpy())
            pivot.append(np.array_equal(rows[-1], example.source))
    return rows[-held:], pivot[-held:]


@torch.no_grad()
def retrieval(encoder: Encoder, examples: list[Any]) -> float:
    """The share of sentences whose nearest neighbour by [CLS] is their translation, in both directions."""
    x, y = (encoder(pack([getattr(e, side) for e in examples])).cls() for side in ("source", "target"))
    found = [_nearest(a, b) == torch.arange(len(a)) for a, b in ((x, y), (y, x))]
    return float(torch.cat(found).float().mean())


def _nearest(queries: Tensor, candidates: Tensor) -> Tensor:
    return (normalize(queries, dim=1) @ normalize(candidates, dim=1).T).argmax(1)


def switching(trained: TrainedMethod, records: int = 200) -> dict[str, float]:
    """Shares of training pairs of `pawsx` after the hook: `switched` have another sentence than before, `mixed` have
    sentences in two languages, `label_kept` keep id and label."""
    cls = METHODS.get("ppa-switch")
    method, rng = cls(), np.random.default_rng(0)
    method.prepare_finetuning(replace(trained.corpora, sample=(), needs=cls.needs))
    source = trained.corpora.source
    before: Any = list(source.task(TASKS.get("pawsx").spec, source.pivot, "train"))[:records]
    after = [method.finetune_example(record, rng) for record in before]
    same = [(a.first == b.first, a.second == b.second) for a, b in zip(after, before, strict=True)]
    kept = [(a.id, a.label) == (b.id, b.label) for a, b in zip(after, before, strict=True)]
    return {
        "switched": float(np.mean([not all(sides) for sides in same])),
        "mixed": float(np.mean([sum(sides) == 1 for sides in same])),
        "label_kept": float(np.mean(kept)),
    }
