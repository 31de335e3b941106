"""Word matching by the rule of the released ML-CTL script (Mckysse/ML-CTL, data/proc00.py), for comparison with it.

`harness.data.sample` matches whole words; the script matches substrings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.data.matching import Lexicon
from harness.data.sample import common_words
from harness.errors import UserError
from harness.method import Corpora, SamplePair
from harness.pair_method import word_tokens
from harness.records import DictionaryEntry


def substring_pairs(pairs: Sequence[SamplePair], dictionary: Sequence[DictionaryEntry]) -> list[SamplePair]:
    """Each sentence pair once per dictionary word that occurs exactly once on both sides as a substring."""
    sentences = list({pair.sentence: pair for pair in pairs}.values())
    common = common_words(sentences)
    entries: dict[str, list[DictionaryEntry]] = defaultdict(list)
    for entry in dictionary:
        if entry.source.strip().lower() not in common:
            entries[entry.language].append(entry)
    lexicons = {language: Lexicon(own, "substring") for language, own in entries.items()}
    return [
        replace(pair, source_span=match.source, target_span=match.target)
        for pair in sentences
        if pair.language in lexicons
        for match in lexicons[pair.language].matches(pair.source, pair.target)
    ]


def keep_own_subwords(pairs: Sequence[SamplePair], corpora: Corpora) -> list[SamplePair]:
    """The pairs whose words have the same subwords alone as inside their sentence, and whose sentences are not cut.

    "her" is dropped inside "gather", where that is one subword. Raises UserError where no pair is left.
    """
    tokenizer, length = corpora.tokenizer, corpora.max_length
    keep = np.ones(len(pairs), dtype=bool)
    for side in ("source", "target"):
        texts, spans = ([getattr(pair, name) for pair in pairs] for name in (side, f"{side}_span"))
        sentences = tokenizer.encode_offsets(texts, length)
        words = tokenizer.encode([text[slice(*span)] for text, span in zip(texts, spans, strict=True)], length).ids
        keep &= sentences.ids.lengths < length
        for i in map(int, np.flatnonzero(keep)):
            place = word_tokens(sentences, i, spans[i])
            keep[i] = place is not None and np.array_equal(sentences.ids[i][slice(*place)], words[i][1:-1])
    kept = [pair for pair, own in zip(pairs, keep, strict=True) if own]
    if not kept:
        raise UserError(
            "the dictionary matches no sentence of the sample under the script's rule",
            found=f"{len(corpora.sample)} pairs, {len(pairs)} words that occur once on both sides",
            expected="at least one whose subwords are subwords of both sentences",
            remedy="use another dictionary, or leave out code_exact",
        )
    return kept
