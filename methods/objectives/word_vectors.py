"""The word pairs of a batch: its sentences packed once each, and the subwords that stand for each word."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from torch import Tensor

from harness.encoder import States
from harness.method import Batch
from harness.packing import Spans, pack
from methods.objectives.words import TokenSpan, WordPairExample

Subword = Literal["first", "last", "mean"]


def word_pair_batch(examples: Sequence[WordPairExample], subword: Subword, *, special_ids: Collection[int]) -> Batch:
    """A batch of n sentence pairs with m word pairs among them:

    - `text`: the n source sentences first, then their n translations. A sentence pair that the sample holds several
      times, once per matched word, is read once: its words would be negatives of themselves otherwise;
    - `words`: Spans (2m), the m words of the sources, then their m translations. m may be 0.
    """
    once = list({example.pair.sentence: example for example in examples}.values())
    sides = [e.pair.source for e in once] + [e.pair.target for e in once]
    text = pack(sides, special_ids=frozenset(special_ids))
    sources, targets = text.starts[: len(once)], text.starts[len(once) :]
    placed = [
        (_place(x, a, subword), _place(y, b, subword))
        for example, x, y in zip(once, sources, targets, strict=True)
        for a, b in example.words
    ]
    return {"text": text, "words": Spans.of([a for a, _ in placed] + [b for _, b in placed])}


def word_vectors(states: States, words: Spans) -> tuple[Tensor, Tensor]:
    """The last layer's states of the m words and of their translations, two (m, H) in float32."""
    vectors = states.spans(words)
    return vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :]


def _place(start: int, span: TokenSpan, subword: Subword) -> TokenSpan:
    """The subwords of a word of the sequence that starts at `start`, as positions in the packed row."""
    first, end = start + span[0], start + span[1]
    return {"first": (first, first + 1), "last": (end - 1, end), "mean": (first, end)}[subword]
