"""XLM-Align: does its own word alignment improve on gold links that no method reads?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness.modeling.encoder import Encoder
from harness.records import AlignedPair, Corpus
from methods.objectives.alignment import gather_positions, iter_max, side_positions, sinkhorn
from methods.objectives.bilingual import join_sides
from validation.probes.common import LANGUAGES, train_method, world

HELD_OUT = 150  # gold pairs per language


def probe(seed: int, **training: Any) -> dict[str, float]:
    """Alignment error rates on gold links of held-out pairs: before (`base_error`), after training (`error`), and
    after the same training without the pointer (`error_without`), which leaves the two language models."""
    settings = {"steps": 900, **training}
    trained = train_method("xlm-align", seed, **settings)
    without = train_method("xlm-align", seed, **{**settings, "align_weight": 0.0})
    gold = [
        pair
        for code in LANGUAGES
        for pair in list(world(seed).source.corpus(Corpus.ALIGNMENT, (code,)))[:HELD_OUT]
        if isinstance(pair, AlignedPair)
    ]
    method = trained.method
    found = {
        "base_error": self_labels(trained.base, gold, method.layer, method.max_side_length),
        "error_without": self_labels(without.encoder, gold, method.layer, method.max_side_length),
        "error": self_labels(trained.encoder, gold, method.layer, method.max_side_length),
    }
    return {name: error_rate(links, gold) for name, links in found.items()}


def error_rate(found: Sequence[set[tuple[int, int]]], gold: Sequence[AlignedPair]) -> float:
    """1 - (|A and S| + |A and P|) / (|A| + |S|) over all pairs."""
    hits = sum(len(a & pair.sure) + len(a & pair.possible) for a, pair in zip(found, gold, strict=True))
    return 1 - hits / sum(len(a) + len(pair.sure) for a, pair in zip(found, gold, strict=True))


@torch.no_grad()
def self_labels(
    encoder: Encoder, gold: Sequence[AlignedPair], layer: int, max_length: int
) -> list[set[tuple[int, int]]]:
    """The word links of each pair: words are linked if any of their subwords are."""
    found = []
    for start in range(0, len(gold), 64):
        pairs = gold[start : start + 64]
        encoded = [encoder.tokenizer.encode_words([p.source, p.target], max_length) for p in pairs]
        sides = [(np.asarray(e.ids[0]), np.asarray(e.ids[1])) for e in encoded]
        text = join_sides(sides, max_length, special_ids=encoder.tokenizer.special_ids)
        states = encoder(text, layers=(layer,)).tokens(layer)
        first, second = side_positions(text)
        valid = (first >= 0)[:, :, None] & (second >= 0)[:, None, :]
        similarity = gather_positions(states, first) @ gather_positions(states, second).transpose(1, 2)
        links = iter_max(sinkhorn(similarity, valid, 2), valid)
        for row, pair in enumerate(encoded):
            words = [_word_of(pair, side) for side in (0, 1)]
            found.append({(words[0][i], words[1][j]) for i, j in links[row].nonzero().tolist()})
    return found


def _word_of(encoded: Any, side: int) -> np.ndarray:
    """The word of each token of a side, special tokens left out."""
    first = np.asarray(encoded.first[side]) - 1
    marks = np.zeros(len(encoded.ids[side]) - 2, dtype=np.int64)
    marks[first] = 1
    return np.cumsum(marks) - 1
