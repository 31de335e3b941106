"""Batches of sentence pairs with the word pairs in them, the other words of a sentence, and the vectors of words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.method import Batch
from harness.modeling.encoder import States
from harness.modeling.packing import PackedText, Spans, pack
from harness.modeling.tokenizer import Tokenizer
from harness.pair_method import TokenSpan
from methods.objectives.dictionary import BLANK, continues_word
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
        (subword_bounds(x, a, subword), subword_bounds(y, b, subword))
        for example, x, y in zip(examples, sources, targets, strict=True)
        for a, b in example.words
    ]
    word_ids = [(example.pair.sentence, k) for example in examples for k in range(len(example.words))]
    return {
        "text": text,
        "words": Spans.of([a for a, _ in bounds] + [b for _, b in bounds]),
        "word_ids": torch.tensor(word_ids, dtype=torch.long).view(-1, 2),
    }


def other_words(examples: Sequence[WordPairExample], text: PackedText, finder: WordFinder, subword: Subword) -> Batch:
    """The k words of `word_pair_batch`'s text that are in no word pair:

    - `others`: Spans (k);
    - `other_ids`: (k, 3) the sentence id of each, its side (0: the source), and its place there.
    """
    sides = [(e.pair.source, [a for a, _ in e.words]) for e in examples]
    sides += [(e.pair.target, [b for _, b in e.words]) for e in examples]
    bounds, names = [], []
    for row, (start, (tokens, aligned)) in enumerate(zip(text.starts, sides, strict=True)):
        side, number = divmod(row, len(examples))
        for a, b in finder.words(tokens):
            if not any(a < d and c < b for c, d in aligned):
                bounds.append(subword_bounds(start, (a, b), subword))
                names.append((examples[number].pair.sentence, side, a))
    return {"others": Spans.of(bounds), "other_ids": torch.tensor(names, dtype=torch.long).view(-1, 3)}


class WordFinder:
    """Finds the words of a tokenised sentence: a subword that starts a word, with those that continue it.

    In scripts without blanks, a word is what the tokenizer takes for one, such as a Chinese character. A subword that
    is nothing but a blank belongs to the word after it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._continues = continues_word(tokenizer)
        self._blank = tokenizer.hf.convert_tokens_to_ids(BLANK)
        self._special = sorted(tokenizer.special_ids)

    def words(self, ids: np.ndarray) -> list[TokenSpan]:
        """The token span of each word, in order; special and unknown tokens belong to none."""
        inside = ~np.isin(ids, self._special)
        first = np.r_[True, ~inside[:-1]]  # of a sentence that is cut, or after an unknown token
        begins = first | ~(self._continues[ids] | (np.r_[-1, ids[:-1]] == self._blank))
        starts = np.flatnonzero(inside & begins)
        ends = np.flatnonzero(inside & np.r_[~inside[1:] | begins[1:], True]) + 1
        return list(zip(starts.tolist(), ends.tolist(), strict=True))


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


def subword_bounds(start: int, span: TokenSpan, subword: Subword) -> TokenSpan:
    """The positions [start, end) in the packed row of the subwords that represent a word."""
    first, end = start + span[0], start + span[1]
    return {"first": (first, first + 1), "last": (end - 1, end), "mean": (first, end)}[subword]
