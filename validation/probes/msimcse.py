"""mSimCSE on data that it never read: triplets of a task's training set, and sentence pairs across languages."""

from __future__ import annotations

from typing import Any

from harness.modeling.encoder import Encoder
from harness.records import TextPair
from methods.objectives.inference import triplets
from tasks.xnli import SPEC
from validation.probes.amber import sentence_retrieval, vectors
from validation.probes.common import train_method, world

HELD_OUT = 300  # triplets


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Accuracy on held-out pivot triplets and retrieval across languages, before (`base_...`) and after training."""
    trained = train_method("msimcse", seed, **training)
    source = world(seed).source
    pairs = [record for record in source.task(SPEC, source.pivot, "train") if isinstance(record, TextPair)]
    held_out = triplets(pairs)[:HELD_OUT]
    return {
        f"{prefix}{name}": value
        for prefix, encoder in (("base_", trained.base), ("", trained.encoder))
        for name, value in (
            ("triplets", triplet_accuracy(encoder, held_out)),
            ("retrieval", sentence_retrieval(encoder, trained.held_out, first=True)),
        )
    }


def triplet_accuracy(encoder: Encoder, held_out: list[tuple[str, str, str]]) -> float:
    """The share of premises that are nearer to their entailment than to their contradiction, by first tokens."""
    premises, entailed, contradicting = (vectors(encoder, texts, first=True) for texts in zip(*held_out, strict=True))
    return float(((premises * entailed).sum(1) > (premises * contradicting).sum(1)).float().mean())
