"""Contextual word retrieval: does a word of a sentence find its translation among the words of other sentences?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.modeling.encoder import Encoder
from harness.modeling.packing import Spans
from methods.objectives.word_vectors import word_pair_batch, word_vectors
from methods.objectives.words import WordPairExamples
from validation.probes.common import TrainedMethod

NEIGHBOURS = 10  # of the cross-domain similarity local scaling


class WordPairs(NamedTuple):
    """The dictionary word pairs of one language's sentence pairs, packed."""

    language: str
    text: Any
    words: Spans


def held_out(trained: TrainedMethod) -> list[WordPairs]:
    """The word pairs of the held-out sentence pairs, by language, without words that are the same string on both sides.
    The words may be in the sample, too; the sentences are not."""
    examples = WordPairExamples.of(trained.on(trained.held_out), skip_identical=True)
    numbers = range(len(examples))
    found = []
    for language in sorted({pair.language for pair in trained.held_out}):
        chosen = [examples[i] for i in numbers if trained.held_out[i].language == language]
        once = list({example.pair.sentence: example for example in chosen}.values())
        batch = word_pair_batch(once, "mean", special_ids=trained.corpora.tokenizer.special_ids)
        found.append(WordPairs(language, batch["text"], batch["words"]))
    return found


@torch.no_grad()
def accuracy(encoder: Encoder, pairs: list[WordPairs]) -> float:
    """Percent of words whose nearest word by CSLS (Conneau et al., ICLR 2018, arXiv 1710.04087), among all words of
    the other side, is their translation in the same sentence pair; the mean over both directions and languages."""
    scores = []
    for _, text, words in pairs:
        x, y = (functional.normalize(v, dim=1) for v in word_vectors(encoder(text), words))
        scaled = csls(x @ y.T)
        gold = torch.arange(len(x))
        scores += [float((scaled.argmax(side) == gold).float().mean()) for side in (0, 1)]
    return 100 * float(np.mean(scores))


def csls(cosines: Tensor) -> Tensor:
    """(n, m) twice the cosine minus the mean cosines of both words to their nearest neighbours on the other side."""
    rows, columns = (cosines.topk(min(NEIGHBOURS, cosines.shape[side]), dim=side).values for side in (1, 0))
    return 2 * cosines - rows.mean(1, keepdim=True) - columns.mean(0, keepdim=True)
