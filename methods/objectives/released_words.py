"""Word matching by the rule of the released ML-CTL script (Mckysse/ML-CTL, data/proc00.py), for comparison with it.

`harness.data.sample` matches whole words; the script matches substrings. Pairs are read when needed: a sample may be
larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.code import code_hash
from harness.data.matching import Lexicon, lexicons
from harness.data.record_table import ComputedRows, Rows, select_rows
from harness.data.sample import common_words
from harness.errors import UserError
from harness.files import json_digest
from harness.method import Corpora
from harness.modeling.array_cache import Arrays, Progress, cached_arrays
from harness.modeling.tokenizer import Tokenizer
from harness.pair_method import word_tokens
from harness.records import Corpus, SamplePair, Span
from methods.objectives.words import BLOCK, distinct_pairs

Picks = NDArray[np.int32]  # (m, 5): the number of a pair, and start and end of a word in its source and in its target


class LowercasePairs(Rows[SamplePair]):
    """The pairs of a sample in lower case."""

    def __init__(self, pairs: Sequence[SamplePair]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def row(self, number: int) -> SamplePair:
        return self._pairs[number].lowercase()

    def rows(self, start: int, stop: int) -> list[SamplePair]:
        return [pair.lowercase() for pair in self._pairs[start:stop]]


def place_substrings(pairs: Sequence[SamplePair], corpora: Corpora) -> Rows[SamplePair]:
    """Each sentence pair once per dictionary word that occurs exactly once on both sides as a substring, whose subwords
    are the same alone as inside both sentences. Common words and sentences of the maximal length are skipped.

    Finished blocks of matches are cached beside the tokens. Raises UserError where no word is left.
    """
    dictionary: Any = corpora.records(Corpus.DICTIONARY)
    _, rows, digest = distinct_pairs(pairs)
    sentences = select_rows(pairs, rows)
    known_words = lexicons(dictionary, "substring", leave_out=common_words(sentences))
    tokenizer = Tokenizer(corpora.tokenizer.hf)  # blocks are tokenised in passing, without a cache of their own
    progress = Progress("matching substrings", "sentence pairs", len(rows))

    def match_block(number: int) -> Arrays:
        block = sentences[number * BLOCK : (number + 1) * BLOCK]
        found = substring_picks(block, known_words)
        kept = found[have_own_subwords(block, found, tokenizer, corpora.max_length)]
        kept[:, 0] = rows[number * BLOCK + kept[:, 0]]
        progress.advance(len(block), number * BLOCK + len(block))
        return {"picks": kept, "found": np.array([len(found)])}

    known = [(entry.language, entry.source, entry.target) for entry in dictionary]
    parts = [digest, known, tokenizer.fingerprint, corpora.max_length, code_hash(__name__)]
    cache = corpora.tokenizer.cache
    folder = cache and cache / f"substrings-{json_digest(parts)}"
    matches = cached_arrays(folder, -(-len(rows) // BLOCK), match_block)
    if not len(matches["picks"]):
        raise UserError(
            "the dictionary matches no sentence of the sample under the script's rule",
            found=f"{len(pairs)} pairs, {matches['found'].sum()} words that occur once on both sides",
            expected="at least one whose subwords are subwords of both sentences",
            remedy="use another dictionary, or leave out code_exact",
        )
    picks = matches["picks"]

    def with_word(number: int) -> SamplePair:
        place, *spans = picks[number].tolist()
        return replace(pairs[int(place)], source_span=Span(*spans[:2]), target_span=Span(*spans[2:]))

    return ComputedRows(len(picks), with_word)


def substring_picks(pairs: Sequence[SamplePair], known_words: Mapping[str, Lexicon]) -> Picks:
    """The words of each pair that occur exactly once on both sides as a substring."""
    found = [
        (number, *match.source, *match.target)
        for number, pair in enumerate(pairs)
        for match in known_words[pair.language].matches(pair.source, pair.target)
    ]
    return np.array(found, np.int32).reshape(-1, 5)


def have_own_subwords(
    pairs: Sequence[SamplePair], picks: Picks, tokenizer: Tokenizer, max_length: int
) -> NDArray[np.bool_]:
    """(m,) whether a word has the same subwords alone as inside its sentence on both sides, and neither is cut.

    "her" has not inside "gather", where that is one subword.
    """
    keep = np.ones(len(picks), dtype=bool)
    numbers = picks[:, 0]
    for side, spans in (("source", picks[:, 1:3]), ("target", picks[:, 3:5])):
        texts = [getattr(pair, side) for pair in pairs]
        sentences = tokenizer.encode_offsets(texts, max_length)
        placed = [(texts[n], Span(*span)) for n, span in zip(numbers.tolist(), spans.tolist(), strict=True)]
        words = tokenizer.encode([text[slice(*span)] for text, span in placed], max_length).ids
        keep &= sentences.ids.lengths[numbers] < max_length
        for i in map(int, np.flatnonzero(keep)):
            place = word_tokens(sentences, int(numbers[i]), placed[i][1])
            inside = None if place is None else sentences.ids[int(numbers[i])][slice(*place)]
            keep[i] = inside is not None and np.array_equal(inside, words[i][1:-1])
    return keep
