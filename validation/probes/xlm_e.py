"""XLM-E: does the discriminator detect replaced tokens in held-out pairs?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from validation.probes.common import TrainedMethod, train_method


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Areas under the ROC curve over the tokens of held-out pairs without special tokens: `trtd` on joined pairs,
    `mrtd` on single sides; `replaced` is the share of replaced tokens in joined pairs."""
    return measure(train_method("xlm-e", seed, **{"steps": 1800, **training}))


@torch.no_grad()
def measure(trained: TrainedMethod) -> dict[str, float]:
    """The figures of `probe` for an XLM-E that is trained."""
    method = trained.method
    held_out = tuple({pair.sentence: pair for pair in trained.held_out}.values())
    examples = method.examples(trained.on(held_out))
    batch = method.collate([examples[i] for i in range(len(examples))], np.random.default_rng(0))
    found = {}
    for prefix, name in (("", "trtd"), ("alone_", "mrtd")):
        made = method.replace_tokens(batch, prefix)
        words = ~made.text.special
        scores = method.scores(trained.encoder, made.text)[words].numpy()
        truth = made.replaced[words].numpy()
        found[name] = area(scores, truth)
        found.setdefault("replaced", float(truth.mean()))
    return found


def area(scores: np.ndarray, truth: np.ndarray) -> float:
    """The probability that the score of a positive exceeds that of a negative; ties count half."""
    ranks, positives = rankdata(scores), int(truth.sum())
    above = ranks[truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(truth) - positives)))
