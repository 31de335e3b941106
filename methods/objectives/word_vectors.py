"""The word pairs of a batch: its sentences packed, and the subwords that stand for each word."""

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

    - `text`: the n source sentences first, then their n translations;
    - `words`: Spans (2m), the m words of the sources, then their m translations. m may be 0;
    - `names`: (m, 2) the sentence number of each word pair, and its number there. The sample holds a sentence pair
      several times, once per matched word: pairs of words with one name are the same.
    """
    sides = [e.pair.source for e in examples] + [e.pair.target for e in examples]
    text = pack(sides, special_ids=frozenset(special_ids))
    sources, targets = text.starts[: len(examples)], text.starts[len(examples) :]
    placed = [
        (_place(x, a, subword), _place(y, b, subword))
        for example, x, y in zip(examples, sources, targets, strict=True)
        for a, b in example.words
    ]
    names = [(example.pair.sentence, k) for example in examples for k in range(len(example.words))]
    return {
        "text": text,
        "words": Spans.of([a for a, _ in placed] + [b for _, b in placed]),
        "names": torch.tensor(names, dtype=torch.long).view(-1, 2),
    }


def word_vectors(states: States, words: Spans) -> tuple[Tensor, Tensor]:
    """The last layer's states of the m words and of their translations, two (m, H) in float32."""
    vectors = states.spans(words)
    return vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :]


def first_of_each(names: Tensor) -> Tensor:
    """The rows (k,) of names (m, 2) that no row before them equals, in order."""
    _, number = torch.unique(names, dim=0, return_inverse=True)
    rows = torch.arange(len(names), device=names.device)
    first = rows.new_full((len(rows),), len(rows)).scatter_reduce(0, number, rows, "amin")
    return rows[first[number] == rows]


def _place(start: int, span: TokenSpan, subword: Subword) -> TokenSpan:
    """The subwords of a word of the sequence that starts at `start`, as positions in the packed row."""
    first, end = start + span[0], start + span[1]
    return {"first": (first, first + 1), "last": (end - 1, end), "mean": (first, end)}[subword]
