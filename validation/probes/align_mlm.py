"""ALIGN-MLM: is a word's translation its nearest neighbour in the input embeddings?"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from methods.objectives.dictionary import SubwordEntry, subword_entries
from validation.probes.common import train_method

SHARE = 0.75  # of the pivot's words; the dictionary's entries for the others are held out
RATE = 1e-3  # with a lower rate, held-out words change too little in so few steps


def probe(seed: int, steps: int = 400) -> dict[str, float]:
    """Accuracy@1 of pivot words among all words of a language, a mean over languages.

    All entries of a quarter of the pivot's words are held out: `held_out` is their accuracy after training, `base`
    before it, `continued` after masked LM alone; `seen` and `seen_base` are those of the training entries.
    """
    trained = train_method("align-mlm", seed, steps=steps, learning_rate=RATE, share=SHARE)
    control = train_method("continued-mlm", seed, steps=steps, learning_rate=RATE)
    known = set(trained.method.flat[trained.method.pairs[:, 0]].tolist())
    words = subword_entries(trained.corpora, single=True)
    held = [entry.source[0] not in known for entry in words]
    seen = [not flag for flag in held]
    tables = {"base": trained.base, "continued": control.encoder, "held_out": trained.encoder}
    found = {name: accuracy(encoder.input_embeddings, words, held) for name, encoder in tables.items()}
    found["seen_base"] = accuracy(trained.base.input_embeddings, words, seen)
    found["seen"] = accuracy(trained.encoder.input_embeddings, words, seen)
    return {**found, "pairs": float(sum(held))}


def accuracy(embeddings: Tensor, words: list[SubwordEntry], selected: list[bool]) -> float:
    """Percent of the pivot words in the `selected` entries whose nearest neighbour by cosine, among all words of the
    other language in the dictionary, is one of their translations; a mean over languages."""
    unit = functional.normalize(embeddings.detach(), dim=1)
    scores = []
    for language in sorted({entry.language for entry in words}):
        gold: dict[int, set[int]] = defaultdict(set)
        for entry in words:
            if entry.language == language:
                gold[entry.source[0]].add(entry.target[0])
        queries = {e.source[0] for e, flag in zip(words, selected, strict=True) if flag and e.language == language}
        candidates = torch.tensor(sorted(set().union(*gold.values())))
        order = sorted(queries)
        best = candidates[(unit[order] @ unit[candidates].T).argmax(1)].tolist()
        scores.append(np.mean([b in gold[q] for q, b in zip(order, best, strict=True)]))
    return 100 * float(np.mean(scores))
