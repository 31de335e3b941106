"""XLM: whether translation language modelling reads the other side of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness.pair_method import PairExample
from validation.probes.common import train_method


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Mean TLM loss per masked token of held-out pairs with their partners, and with shuffled ones of their language;
    before training (`*_before`) and after."""
    trained = train_method("xlm", seed, **training)
    once = {pair.sentence: pair for pair in trained.held_out}.values()
    examples = list(trained.method.examples(trained.on(tuple(sorted(once, key=lambda pair: pair.language)))))
    shuffled = [e._replace(target=other.target) for e, other in zip(examples, next_of_language(examples), strict=True)]
    found = {}
    for when, encoder in (("before", trained.base), ("after", trained.encoder)):
        for name, chosen in (("true", examples), ("shuffled", shuffled)):
            found[f"{name}_{when}"] = _loss(trained.method, encoder, chosen)
    return found


def next_of_language(examples: Sequence[PairExample]) -> list[PairExample]:
    """The next example of the same language for each example, and the first for the last."""
    groups: dict[str, list[PairExample]] = {}
    for example in examples:
        groups.setdefault(example.language, []).append(example)
    return [e for group in groups.values() for e in (*group[1:], *group[:1])]


@torch.no_grad()
def _loss(method: object, encoder: object, examples: Sequence[PairExample]) -> float:
    """The mean loss in evaluation mode. Masks are the same where the lengths are; compare means only."""
    total = count = 0.0
    for start in range(0, len(examples), 50):
        batch = method.collate(examples[start : start + 50], np.random.default_rng(start))  # type: ignore[attr-defined]
        term = method.loss(encoder, batch, 0)["tlm"]  # type: ignore[attr-defined]
        total, count = total + float(term.sum), count + term.count
    return total / count
