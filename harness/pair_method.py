"""`PairMethod`: what every method on parallel text needs, so that a plain one overrides `loss` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, overload

import numpy as np
import torch
from numpy.random import Generator

from harness.method import Batch, Corpora, Method
from harness.modeling.encoder import Encoder
from harness.modeling.packing import Spans, pack
from harness.modeling.tokenizer import Offsets, Tokenizer
from harness.records import Corpus, SamplePair, Span

TokenSpan = tuple[int, int]  # [start, end) in a tokenised sentence with its special tokens


class PairExample(NamedTuple):
    """A tokenised pair: ids with special tokens, the word's token span [start, end) on each side, the sentence number,
    and the language of the target.

    Without a word (none matched, or cut off on either side by the maximal length) both spans are the whole sentences
    without specials: a word is never set against a sentence.
    """

    source: np.ndarray
    target: np.ndarray
    source_span: TokenSpan
    target_span: TokenSpan
    sentence: int
    language: str


@dataclass(frozen=True, eq=False)
class SideTexts(Sequence[str]):
    """One side of the sample's sentences, read when needed: a sample may be larger than memory."""

    pairs: Sequence[SamplePair]
    side: Literal["source", "target"]

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [getattr(pair, self.side) for pair in self.pairs[index]]
        return str(getattr(self.pairs[index], self.side))


@dataclass(frozen=True, eq=False)
class PairExamples(Sequence[PairExample]):
    """The sample, tokenized once; `lengths` (n,) counts the tokens of both sides."""

    pairs: Sequence[SamplePair]
    source: Offsets
    target: Offsets

    @classmethod
    def of(cls, pairs: Sequence[SamplePair], tokenizer: Tokenizer, max_length: int) -> PairExamples:
        source = tokenizer.encode_offsets(SideTexts(pairs, "source"), max_length)
        target = tokenizer.encode_offsets(SideTexts(pairs, "target"), max_length)
        return cls(pairs, source, target)

    @property
    def lengths(self) -> np.ndarray:
        return np.asarray(self.source.ids.lengths + self.target.ids.lengths)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> PairExample:  # type: ignore[override]
        pair = self.pairs[i]
        source, target = word_tokens(self.source, i, pair.source_span), word_tokens(self.target, i, pair.target_span)
        if source is None or target is None:
            source, target = sentence_tokens(self.source, i), sentence_tokens(self.target, i)
        return PairExample(self.source.ids[i], self.target.ids[i], source, target, pair.sentence, pair.language)


def word_tokens(offsets: Offsets, i: int, span: Span | None) -> TokenSpan | None:
    """The tokens of text `i` that overlap the code points of a word; None where the maximal length cut into it."""
    starts, ends = offsets.starts[i], offsets.ends[i]
    if span is None or int(ends.max(initial=0)) < span.end:
        return None
    hit = np.flatnonzero((starts < span.end) & (ends > span.start))
    return (int(hit[0]), int(hit[-1]) + 1) if len(hit) else None


def sentence_tokens(offsets: Offsets, i: int) -> TokenSpan:
    """The tokens of text `i` without its special ones; all of them where there are no others."""
    inside = np.flatnonzero(offsets.ends[i] > offsets.starts[i])
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, len(offsets.starts[i]))


class PairMethod(Method):
    """A method on the sample's parallel pairs. A batch of n pairs is one packed text of 2n sequences:

    - `text`: PackedText, the n source (pivot) sentences first, then their n translations;
    - `spans`: Spans (2n), the word of each sentence (the sentence itself where no word was matched);
    - `groups`: (n,) sentence numbers: pairs that share one are the same sentence pair with another word.
    """

    needs: ClassVar[frozenset[Corpus]] = frozenset({Corpus.PARALLEL})
    tokenizer: Tokenizer

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        self.tokenizer = corpora.tokenizer

    def examples(self, corpora: Corpora) -> Sequence[PairExample]:
        return PairExamples.of(corpora.sample, corpora.tokenizer, corpora.max_length)

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        text = pack([e.source for e in examples] + [e.target for e in examples], special_ids=self.tokenizer.special_ids)
        bounds = [e.source_span for e in examples] + [e.target_span for e in examples]
        shifted = [(start + a, start + b) for start, (a, b) in zip(text.starts, bounds, strict=True)]
        groups = torch.tensor([e.sentence for e in examples])
        return {"text": text, "spans": Spans.of(shifted), "groups": groups}
