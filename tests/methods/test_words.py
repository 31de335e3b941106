"""Dictionary words of the sample: each sentence pair matched once, and what becomes of the most frequent words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.code import closure
from harness.data.matching import Lexicon
from harness.errors import UserError
from harness.modeling.tokenizer import Tokenizer
from harness.records import SamplePair
from methods.objectives import words
from methods.objectives.words import WordPairExamples, most_frequent_words
from methods.word_contrast import WordContrast
from tests.support.small_babel import Trial, corpora, method_class, sample


def pair(source: str) -> SamplePair:
    return SamplePair(0, "qab", source, "x", None, None)


def pivot_words(examples: WordPairExamples) -> set[str]:
    return {
        p.source[start:end].lower()
        for p, sentence in zip(examples.pairs.pairs, examples.sentences, strict=True)
        for start, end, *_ in examples.spans[sentence].tolist()
    }


def test_frequent_words_are_counted_over_distinct_sentences_with_alphabetical_ties() -> None:
    texts = ["The cat, the dog.", "the cat", "A bird", "A bird", "A bird", "b"]
    pairs = [pair(text) for text in texts]
    assert most_frequent_words(pairs, 0) == frozenset()
    assert most_frequent_words(pairs, 1) == {"the"}
    assert most_frequent_words(pairs, 2) == {"the", "cat"}
    assert most_frequent_words(pairs, 3) == {"the", "cat", "a"}, (
        "'a bird' counts once, and a comes before b, bird and dog"
    )
    assert most_frequent_words(pairs, 99) == {"the", "cat", "dog", "a", "bird", "b"}


def test_stop_words_are_skipped_and_by_default_none_is() -> None:
    reads = corpora(WordContrast)
    plain = WordPairExamples.of(reads)
    commonest = [word for word in sorted(most_frequent_words(sample(), 40)) if word in pivot_words(plain)]
    assert commonest, "the dictionary holds frequent words, and they are matched"
    fewer = WordPairExamples.of(reads, stop_words=40)
    assert pivot_words(fewer) == pivot_words(plain) - set(commonest)


@pytest.mark.parametrize("name", ["word-contrast", "l2-align", "veco2"])
def test_the_setting_reaches_the_examples(name: str) -> None:
    assert method_class(name).Config().stop_words == 0
    plain, fewer = Trial(name), Trial(name, stop_words=40)
    assert pivot_words(fewer.examples) < pivot_words(plain.examples)
    with pytest.raises(UserError, match=r"matches no sentence of the sample\n(.*\n)*.*fewer than 100000 stop words"):
        Trial(name, stop_words=100_000)


def test_cached_matches_follow_the_code_that_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = corpora(WordContrast)
    reads = replace(reads, tokenizer=Tokenizer(reads.tokenizer.hf, tmp_path))
    for version in ("one", "one", "two"):
        monkeypatch.setattr(words, "code_hash", lambda *modules, version=version: f"{modules} {version}")
        WordPairExamples.of(reads)
    assert len(list(tmp_path.glob("words-*"))) == 2
    assert "harness.data.matching" in closure([words.__name__])


def test_a_sentence_pair_is_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []
    matches = Lexicon.matches

    def counted(self: Any, source: str, target: str) -> Any:
        seen.append((source, target))
        return matches(self, source, target)

    monkeypatch.setattr(Lexicon, "matches", counted)
    WordPairExamples.of(corpora(WordContrast, pairs=[*sample(), *sample()]))
    assert len(seen) == len(set(seen)) == len({(p.source, p.target) for p in sample()})
