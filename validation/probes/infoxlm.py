"""InfoXLM: retrieval of translations by the [CLS] of the contrasted layer, on held-out pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from harness.modeling.encoder import Encoder
from harness.pair_method import PairMethod
from validation.probes.common import TrainedMethod, train_method
from validation.probes.xlm import next_of_language

QUEUE = 256


def probe(seed: int, **training: Any) -> dict[str, float]:
    """`retrieval`, `retrieval_before`: the share of sentences whose nearest neighbour by the [CLS] of the contrasted
    layer is their translation, in both directions, after and before training; `retrieval_without`: after the same
    training without the contrast. `tlm`, `tlm_shuffled`: the loss with the true and with another translation."""
    trained = train_method("infoxlm", seed, **{"queue": QUEUE, **training})
    without = train_method("infoxlm", seed, **{"queue": QUEUE, "xlco_weight": 0.0, **training})
    assert not bool(trained.method.queue.empty_mask().any()), "the contrast never started"
    true, shuffled = _tlm(trained, turned=False), _tlm(trained, turned=True)
    return {
        "retrieval_before": _retrieval(trained, trained.base),
        "retrieval_without": _retrieval(without, without.encoder),
        "retrieval": _retrieval(trained, trained.encoder),
        "tlm": true,
        "tlm_shuffled": shuffled,
    }


def _examples(trained: TrainedMethod) -> list[Any]:
    held_out = tuple({pair.sentence: pair for pair in trained.held_out}.values())
    examples = trained.method.examples(trained.on(held_out))
    return [examples[i] for i in range(len(examples))]


@torch.no_grad()
def _retrieval(trained: TrainedMethod, encoder: Encoder) -> float:
    layer = trained.method.layer
    text = PairMethod.collate(trained.method, _examples(trained), np.random.default_rng(0))["text"]
    x, y = normalize(encoder(text, layers=(layer,)).cls(layer), dim=1).chunk(2)
    similar = x @ y.T
    own = torch.arange(len(x))
    return float(torch.cat([similar.argmax(1) == own, similar.argmax(0) == own]).float().mean())


@torch.no_grad()
def _tlm(trained: TrainedMethod, *, turned: bool) -> float:
    """Mean loss per masked token of the pairs joined, each with its partner, or `turned` with the next one's of its
    language."""
    examples = sorted(_examples(trained), key=lambda e: e.language)
    partners = next_of_language(examples) if turned else examples
    pairs = [a._replace(target=b.target) for a, b in zip(examples, partners, strict=True)]
    term = trained.method.loss(trained.encoder, trained.method.collate(pairs, np.random.default_rng(0)), 0)["tlm"]
    return float(term.sum) / int(term.count)
