"""DICT-MLM: how probable is the translation of a masked word?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, pack
from methods.objectives.words import WordPairExamples
from validation.probes.common import TrainedMethod, train_method

ClozeQuestions = dict[str, Any]


def probe(seed: int, steps: int = 300) -> dict[str, float]:
    """Mean log-probability of the translation at a masked dictionary word, in held-out sentence pairs.

    `translation` is after training, with the vector of the other language; `base` before it and `continued` after
    masked LM alone, both without a vector; `own` is that of the masked word with the vector of its own language. Only
    words of one subword on both sides count; the sentence is read without its translation.
    """
    trained = train_method("dict-mlm", seed, steps=steps)
    control = train_method("continued-mlm", seed, steps=steps)
    asked = questions(trained)
    vectors = trained.method.languages.detach()
    zero = torch.zeros(1, vectors.shape[1])
    answers = {
        "translation": answer(trained.encoder, asked, "translation", vectors[asked["other"]]),
        "base": answer(trained.base, asked, "translation", zero),
        "continued": answer(control.encoder, asked, "translation", zero),
        "own": answer(trained.encoder, asked, "word", vectors[asked["language"]]),
    }
    return {**answers, "words": float(len(asked["word"]))}


def questions(trained: TrainedMethod) -> ClozeQuestions:
    """One sentence per word pair and side with the word masked: its position, the word, and its translation."""
    method, tokenizer = trained.method, trained.method.tokenizer
    rows, texts = [], []
    for example in WordPairExamples.of(trained.on(trained.held_out), skip_identical=True):
        number = method.numbers[example.pair.language]
        for (a, b), (c, d) in example.words:
            if b - a == d - c == 1:
                x, y = example.pair.source, example.pair.target
                rows += [(a, x[a], y[c], 0, number), (c, y[c], x[a], number, 0)]
                texts += [x.copy(), y.copy()]
    for text, row in zip(texts, rows, strict=True):
        text[row[0]] = tokenizer.mask_id
    names = ("place", "word", "translation", "language", "other")
    columns = {
        name: torch.tensor(np.array(column)) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    return {**columns, "text": pack(texts, special_ids=tokenizer.special_ids)}


@torch.no_grad()
def answer(encoder: Encoder, asked: ClozeQuestions, wanted: str, vectors: Tensor) -> float:
    """The mean log-probability of the `wanted` column's words."""
    text: PackedText = asked["text"]
    hidden = encoder(text).tokens()[torch.tensor(text.starts) + asked["place"]]
    scores = encoder.mlm_logits(hidden + vectors).log_softmax(1)
    return float(scores.gather(1, asked[wanted].long()[:, None]).mean())
