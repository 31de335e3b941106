"""VECO's cross-attention reads masked words off the translation, and leaves the encoder as it is when plugged out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.probes.common import Trained, aligned
from methods.objectives.masking import masked_lm


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Losses on the same masks of pairs held out, in nats per masked subword.

    `mlm` is without plugs, `ca_mlm` with them over the translation, `ca_mlm_shuffled` over another pair's, `base_mlm`
    of the encoder before; `unplugged_difference` is the largest between the method's states and the plain encoder's.
    """
    return measure(aligned("veco", seed, **training))


@torch.no_grad()
def measure(trained: Trained, pairs: int = 256) -> dict[str, float]:
    """The figures of `probe` for a VECO that is trained."""
    method, encoder = trained.method, trained.encoder
    held_out = tuple({pair.sentence: pair for pair in trained.held_out}.values())
    examples = method.examples(trained.on(held_out[:pairs]))
    chosen = [examples[i] for i in range(len(examples))]
    batch = method.collate(chosen, np.random.default_rng(0))
    wrong = method.collate(_repaired(chosen), np.random.default_rng(0))
    terms, shuffled = method.loss(encoder, batch, 0), method.loss(encoder, wrong, 0)
    text, plain = batch["text"], encoder.clone().eval()
    base = masked_lm(trained.base, trained.base(text).tokens(), batch["positions"], batch["labels"])
    found = {"base_mlm": base, "mlm": terms["mlm"], "ca_mlm": terms["ca_mlm"], "ca_mlm_shuffled": shuffled["ca_mlm"]}
    difference = (encoder(text).tokens() - plain(text).tokens()).abs().max()
    return {n: float(t.sum) / t.count for n, t in found.items()} | {"unplugged_difference": float(difference)}


def _repaired(examples: list[Any]) -> list[Any]:
    """The same sentences, each with the next one's partner."""
    following = [*examples[1:], examples[0]]
    return [a._replace(target=b.target, target_span=b.target_span) for a, b in zip(examples, following, strict=True)]
