"""VECO 2.0 (as described): do its two contrasts decrease, and do words find their translations?"""

from __future__ import annotations

import numpy as np
import torch

from harness.modeling.encoder import Encoder
from validation.probes.common import TrainedMethod, train_method
from validation.probes.word_retrieval import accuracy, held_out

BATCH = 48


def probe(seed: int, steps: int = 200) -> dict[str, float]:
    """On held-out sentence pairs: the two contrastive terms before (`sequence_base`, `token_base`) and after training
    (`sequence`, `token`), and contextual word retrieval before (`words_base`), after (`words`), and after the same
    training without the two terms (`words_without`)."""
    trained = train_method("veco2", seed, steps=steps)
    without = train_method("veco2", seed, steps=steps, sequence_weight=0.0, token_weight=0.0)
    pairs = held_out(trained)
    after, before = (terms(trained, encoder) for encoder in (trained.encoder, trained.base))
    return {
        **{name: after[name] for name in ("sequence", "token")},
        **{f"{name}_base": before[name] for name in ("sequence", "token")},
        "words": accuracy(trained.encoder, pairs),
        "words_base": accuracy(trained.base, pairs),
        "words_without": accuracy(without.encoder, pairs),
    }


@torch.no_grad()
def terms(trained: TrainedMethod, encoder: Encoder) -> dict[str, float]:
    """The mean of each term over the held-out pairs, in batches of the training size, the same for every encoder."""
    examples = trained.method.examples(trained.on(trained.held_out))
    sums: dict[str, np.ndarray] = {}
    for start in range(0, len(examples) - BATCH + 1, BATCH):
        chosen = [examples[i] for i in range(start, start + BATCH)]
        batch = trained.method.collate(chosen, np.random.default_rng(start))
        for name, term in trained.method.loss(encoder, batch, 0).items():
            sums[name] = sums.get(name, np.zeros(2)) + np.array([float(term.sum), float(term.count)])
    return {name: float(total / count) for name, (total, count) in sums.items()}
