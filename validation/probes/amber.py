"""AMBER on held-out pairs: retrieval of translations, and mutual attention between the sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness.method import SamplePair
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from methods.amber import agreement, first_lengths
from methods.objectives.bilingual import join_sides
from validation.probes.common import TrainedMethod, train_method


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Retrieval accuracy of held-out sentences and agreement of attention: before (`base_...`), after training, and
    after the same training without either term (`..._without`), which leaves the translation LM."""
    trained = train_method("amber", seed, **training)
    without = train_method("amber", seed, **{**training, "sentence_weight": 0.0, "word_weight": 0.0})
    encoders = {"base_{}": trained.base, "{}_without": without.encoder, "{}": trained.encoder}
    found = {}
    for name, encoder in encoders.items():
        found[name.format("retrieval")] = sentence_retrieval(encoder, trained.held_out)
        found[name.format("agreement")] = attention_agreement(encoder, trained)
    return found


@torch.no_grad()
def sentence_retrieval(encoder: Encoder, pairs: Sequence[SamplePair], layer: int = -1, *, first: bool = False) -> float:
    """The share of target sentences whose nearest source sentence of the same language pair (cosine) is their own.

    A sentence is the mean of its tokens, or with `first` its first token's state.
    """
    right = total = 0
    for code in sorted({pair.language for pair in pairs}):
        chosen = {pair.sentence: pair for pair in pairs if pair.language == code}.values()
        x, y = (
            vectors(encoder, [getattr(pair, side) for pair in chosen], layer, first=first)
            for side in ("source", "target")
        )
        right += int(((y @ x.T).argmax(1) == torch.arange(len(x))).sum())
        total += len(x)
    return right / total


def vectors(encoder: Encoder, sentences: Sequence[str], layer: int = -1, *, first: bool = False) -> torch.Tensor:
    """(n, H) unit vectors of sentences."""
    ids = encoder.tokenizer.encode(sentences, encoder.max_length).ids
    parts = []
    for start in range(0, len(ids), 64):
        states = encoder(pack([ids[i] for i in range(start, min(start + 64, len(ids)))]), layers=(layer,))
        parts.append(states.cls(layer) if first else states.mean(layer))
    return torch.nn.functional.normalize(torch.cat(parts), dim=1)


@torch.no_grad()
def attention_agreement(encoder: Encoder, trained: TrainedMethod) -> float:
    """The mean agreement over held-out pairs, joined without masks, the pivot first."""
    method, tokenizer = trained.method, encoder.tokenizer
    pairs = list({pair.sentence: pair for pair in trained.held_out}.values())
    sides = [
        tokenizer.encode([getattr(pair, side) for pair in pairs], method.max_side_length).ids
        for side in ("source", "target")
    ]
    values = []
    for start in range(0, len(pairs), 64):
        part = [(np.asarray(sides[0][i]), np.asarray(sides[1][i])) for i in range(start, min(start + 64, len(pairs)))]
        text = join_sides(part, method.max_side_length, special_ids=tokenizer.special_ids)
        states = encoder(text, layers=(method.layer - 1, -1))
        values.append(agreement(states.attention(method.layer), first_lengths(text), normalize_rows=False))
    return float(torch.cat(values).mean())
