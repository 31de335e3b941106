"""Batches of sentence pairs with the word pairs in them, and the vectors of these words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import torch
from torch import Tensor

from harness.method import Batch
from harness.modeling.encoder import States
from harness.modeling.packing import Spans, pack
from harness.pair_method import TokenSpan
from methods.objectives.words import WordPairExample

Subword = Literal["first", "last", "mean"]


def word_pair_batch(examples: Sequence[WordPairExample], subword: Subword, *, special_ids: Collection[int]) -> Batch:
    """A batch of n sentence pairs with m word pairs among them:

    - `text`: the n source sentences, then their n translations;
    - `words`: Spans (2m), the m words of the sources, then their m translations. m may be 0;
    - `word_ids`: (m, 2) the sentence id of each word pair, and its number in the sentence. The sample repeats a
      sentence pair once per matched word: word pairs of equal ids are the same.
    """
    sides = [e.pair.source for e in examples] + [e.pair.target for e in examples]
    text = pack(sides, special_ids=frozenset(special_ids))
    sources, targets = text.starts[: len(examples)], text.starts[len(examples) :]
    bounds = [
        (_subword_bounds(x, a, subword), _subword_bounds(y, b, subword))
        for example, x, y in zip(examples, sources, targets, strict=True)
        for a, b in example.words
    ]
    word_ids = [(example.pair.sentence, k) for example in examples for k in range(len(example.words))]
    return {
        "text": text,
        "words": Spans.of([a for a, _ in bounds] + [b for _, b in bounds]),
        "word_ids": torch.tensor(word_ids, dtype=torch.long).view(-1, 2),
    }


def word_vectors(states: States, words: Spans) -> tuple[Tensor, Tensor]:
    """The last-layer vectors of the m words and of their translations, two (m, H) in float32."""
    vectors = states.spans(words)
    return vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :]


def first_occurrences(word_ids: Tensor) -> Tensor:
    """(k,) the rows of word_ids (m, 2) that are not equal to an earlier row, in order."""
    _, number = torch.unique(word_ids, dim=0, return_inverse=True)
    rows = torch.arange(len(word_ids), device=word_ids.device)
    first = rows.new_full((len(rows),), len(rows)).scatter_reduce(0, number, rows, "amin")
    return rows[first[number] == rows]


def _subword_bounds(start: int, span: TokenSpan, subword: Subword) -> TokenSpan:
    """The positions [start, end) in the packed row of the subwords that represent a word."""
    first, end = start + span[0], start + span[1]
    return {"first": (first, first + 1), "last": (end - 1, end), "mean": (first, end)}[subword]
