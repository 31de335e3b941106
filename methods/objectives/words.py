"""All dictionary word pairs of each sentence pair, as token spans of both sides.

A pivot word and a dictionary translation of it are a word pair if each occurs exactly once in its sentence. This is the
rule of the sample (`harness.data.matching`), applied to all words. Function words are kept unless `stop_words` leaves
out the most frequent words of the pivot; no language needs a list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.data.matching import Lexicon
from harness.errors import UserError
from harness.method import Corpora, SamplePair, Span
from harness.pair_method import PairExample, PairExamples, TokenSpan, word_tokens
from harness.records import Corpus

_WORD = re.compile(r"\w+")


class WordPairExample(NamedTuple):
    """A tokenised sentence pair and the token spans of its word pairs, each (source span, target span)."""

    pair: PairExample
    words: tuple[tuple[TokenSpan, TokenSpan], ...]


@dataclass(frozen=True, eq=False)
class WordPairExamples(Sequence[WordPairExample]):
    """The sample with all of its word pairs. A sentence pair may have none after truncation."""

    pairs: PairExamples
    spans: Sequence[tuple[tuple[Span, Span], ...]]

    @classmethod
    def of(cls, corpora: Corpora, *, skip_identical: bool = False, stop_words: int = 0) -> WordPairExamples:
        """The sample's pairs. `skip_identical` skips words that are the same string on both sides, `stop_words` skips
        that many of the pivot's most frequent words.

        Each distinct sentence pair is matched once. Raises UserError where no word is matched, or none within the
        maximal length.
        """
        skipped = most_frequent_words(corpora.sample, stop_words)
        dictionary: Any = corpora.records(Corpus.DICTIONARY)
        codes = {pair.language for pair in corpora.sample}
        lexicons = {code: Lexicon([e for e in dictionary if e.language == code]) for code in codes}
        known: dict[tuple[str, str, str], tuple[tuple[Span, Span], ...]] = {}
        spans = []
        for pair in corpora.sample:
            key = pair.language, pair.source, pair.target
            if key not in known:
                matches = lexicons[pair.language].matches(pair.source, pair.target)
                known[key] = tuple(
                    (s, t)
                    for s, t in matches
                    if pair.source[slice(*s)].lower() not in skipped
                    and not (skip_identical and pair.source[slice(*s)] == pair.target[slice(*t)])
                )
            spans.append(known[key])
        if not any(spans):
            raise UserError(
                "the dictionary matches no sentence of the sample",
                found=f"{len(spans)} pairs, {len(dictionary)} entries",
                expected="at least one word that occurs once on both sides",
                remedy=f"leave fewer than {stop_words} stop words out" if stop_words else None,
            )
        examples = cls(PairExamples.of(corpora.sample, corpora.tokenizer, corpora.max_length), spans)
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
        placed = [(word_tokens(source, i, s), word_tokens(target, i, t)) for s, t in self.spans[i]]
        return WordPairExample(self.pairs[i], tuple((a, b) for a, b in placed if a and b))


def most_frequent_words(sample: Iterable[SamplePair], count: int) -> Collection[str]:
    """The `count` most frequent words of the distinct pivot sentences, in lower case; nearly all are function words.
    Ties are broken alphabetically."""
    if not count:
        return frozenset()
    counts = Counter(word for text in {pair.source for pair in sample} for word in _WORD.findall(text.lower()))
    return frozenset(sorted(counts, key=lambda word: (-counts[word], word))[:count])
