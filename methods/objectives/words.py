"""All dictionary word pairs of each sentence pair, as token spans of both sides.

A pivot word and a dictionary translation of it are a word pair if each occurs exactly once in its sentence. This is the
rule of the sample (`harness.data.matching`), applied to all words. Function words are kept unless `stop_words` leaves
out the most frequent words of the pivot; no language needs a list.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from harness.code import code_hash
from harness.data.matching import lexicons
from harness.errors import UserError
from harness.files import json_digest, short_digest
from harness.method import Corpora
from harness.modeling.array_cache import Arrays, Progress, cached_arrays
from harness.modeling.tokenizer import Ragged
from harness.pair_method import PairExample, PairExamples, TokenSpan, word_tokens
from harness.records import Corpus, DictionaryEntry, SamplePair, Span

BLOCK = 8192  # sentence pairs that are matched at once
_WORD = re.compile(r"\w+")


class WordPairExample(NamedTuple):
    """A tokenised sentence pair and the token spans of its word pairs, each (source span, target span)."""

    pair: PairExample
    words: tuple[tuple[TokenSpan, TokenSpan], ...]


@dataclass(frozen=True, eq=False)
class WordPairExamples(Sequence[WordPairExample]):
    """The sample with all of its word pairs. A sentence pair may have none after truncation.

    `sentences` (n,) numbers the distinct sentence pair of each example; `spans` has its word pairs, (words, 4) each:
    start and end in the source, start and end in the target.
    """

    pairs: PairExamples
    sentences: np.ndarray
    spans: Ragged

    @classmethod
    def of(cls, corpora: Corpora, *, skip_identical: bool = False, stop_words: int = 0) -> WordPairExamples:
        """The sample's pairs. `skip_identical` skips words that are the same string on both sides, `stop_words` skips
        that many of the pivot's most frequent words.

        Each distinct sentence pair is matched once, and its matches are cached beside the tokens. Raises UserError
        where no word is matched, or none within the maximal length.
        """
        dictionary: Any = corpora.records(Corpus.DICTIONARY)
        sentences, rows, digest = distinct_pairs(corpora.sample)
        matcher = _Matcher(corpora.sample, rows, dictionary, skip_identical, stop_words)
        cache = corpora.tokenizer.cache
        folder = cache and cache / f"words-{json_digest([digest, matcher.fingerprint])}"
        matches = cached_arrays(folder, -(-len(rows) // BLOCK), matcher.match_block)
        if not len(matches["spans"]):
            raise UserError(
                "the dictionary matches no sentence of the sample",
                found=f"{len(sentences)} pairs, {len(dictionary)} entries",
                expected="at least one word that occurs once on both sides",
                remedy=f"leave fewer than {stop_words} stop words out" if stop_words else None,
            )
        pairs = PairExamples.of(corpora.sample, corpora.tokenizer, corpora.max_length)
        examples = cls(pairs, sentences, Ragged.of_lengths(matches["spans"], matches["counts"]))
        if not any(example.words for example in examples):
            raise UserError(
                "every word of the sample lies beyond the maximal length",
                found=f"max_length {corpora.max_length}",
                expected="at least one word pair within it on both sides",
                remedy="raise align.max_length",
            )
        return examples

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> WordPairExample:  # type: ignore[override]
        source, target = self.pairs.source, self.pairs.target
        placed = [
            (word_tokens(source, i, Span(*spans[:2])), word_tokens(target, i, Span(*spans[2:])))
            for spans in self.spans[self.sentences[i]].tolist()
        ]
        return WordPairExample(self.pairs[i], tuple((a, b) for a, b in placed if a and b))


class _Matcher:
    """Matches the dictionary in distinct sentence pairs, which are `rows` of the sample."""

    def __init__(
        self,
        sample: Sequence[SamplePair],
        rows: np.ndarray,
        dictionary: Sequence[DictionaryEntry],
        skip_identical: bool,
        stop_words: int,
    ) -> None:
        self.sample, self.rows, self.skip_identical = sample, rows, skip_identical
        self.skipped = most_frequent_words(sample, stop_words)
        self.lexicons = lexicons(dictionary)
        known = [(entry.language, entry.source, entry.target) for entry in dictionary]
        self.fingerprint = json_digest([skip_identical, stop_words, code_hash(__name__), known])
        self.progress = Progress("matching words", "sentence pairs", len(rows))

    def match_block(self, number: int) -> Arrays:
        """How many word pairs each sentence pair of a block has, and the spans (m, 4) of all of them."""
        found = [self._match(self.sample[row]) for row in self.rows[number * BLOCK :][:BLOCK].tolist()]
        self.progress.advance(len(found), number * BLOCK + len(found))
        spans = [words for pair in found for words in pair]
        return {"counts": np.array(list(map(len, found))), "spans": np.array(spans, np.int32).reshape(-1, 4)}

    def _match(self, pair: SamplePair) -> list[tuple[int, ...]]:
        return [
            (*source, *target)
            for source, target in self.lexicons[pair.language].matches(pair.source, pair.target)
            if pair.source[slice(*source)].lower() not in self.skipped
            and not (self.skip_identical and pair.source[slice(*source)] == pair.target[slice(*target)])
        ]


def distinct_pairs(sample: Sequence[SamplePair]) -> tuple[np.ndarray, np.ndarray, str]:
    """The number of each pair's distinct sentence pair (n,), a row of each of those (d,), and a digest of all."""
    numbers: dict[bytes, int] = {}
    sentences, rows, whole = array("i"), array("i"), sha256()
    for row, pair in enumerate(sample):
        digest = short_digest(f"{pair.language}\0{pair.source}\0{pair.target}")
        whole.update(digest)
        number = numbers.setdefault(digest, len(numbers))
        if number == len(rows):
            rows.append(row)
        sentences.append(number)
    return np.array(sentences), np.array(rows), whole.hexdigest()


def most_frequent_words(sample: Iterable[SamplePair], count: int) -> Collection[str]:
    """The `count` most frequent words of the distinct pivot sentences, in lower case; nearly all are function words.
    Ties are broken alphabetically."""
    if not count:
        return frozenset()
    seen: set[bytes] = set()
    counts: Counter[str] = Counter()
    for pair in sample:
        digest = short_digest(pair.source)
        if digest not in seen:
            seen.add(digest)
            counts.update(_WORD.findall(pair.source.lower()))
    return frozenset(sorted(counts, key=lambda word: (-counts[word], word))[:count])
