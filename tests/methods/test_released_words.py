"""Words where the released ML-CTL script places them: substrings that occur once and are subwords of their own."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from harness.data.matching import lexicons
from harness.data.record_table import Rows
from harness.data.sample import common_words
from harness.errors import UserError
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, DictionaryEntry, SamplePair, Span
from methods.ml_ctl_cz import MLCTLCZ
from methods.objectives.released_words import place_substrings, substring_picks
from tests.support.small_babel import MAX_LENGTH, Trial, corpora, isolated, sample, tokenizer


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated():
        yield


def ids(text: str) -> list[int]:
    found: list[int] = tokenizer().hf(text, add_special_tokens=False).input_ids
    return found


class GivenDictionary:
    """Corpora with this dictionary."""

    def __init__(self, entries: list[DictionaryEntry]) -> None:
        self.entries, self.tokenizer, self.max_length = entries, tokenizer(), MAX_LENGTH

    def records(self, kind: Corpus) -> list[DictionaryEntry]:
        return self.entries


def stands(word: str, sentence: str) -> bool:
    """The script's two questions about one side, asked by trying every place."""
    inner, whole = ids(word), ids(sentence)
    return sentence.count(word) == 1 and any(whole[i : i + len(inner)] == inner for i in range(len(whole)))


def test_words_are_matched_exactly_by_the_rule() -> None:
    dictionary: Any = corpora(MLCTLCZ).records(Corpus.DICTIONARY)
    sentences = {pair.sentence: pair for pair in sample()}
    common = common_words(list(sentences.values()))
    expected = {
        (pair.sentence, entry.source.lower())
        for pair in sentences.values()
        for entry in dictionary
        if entry.language == pair.language
        and entry.source.lower() not in common
        and max(len(ids(pair.source.lower())), len(ids(pair.target.lower()))) + 2 < MAX_LENGTH
        and stands(entry.source.lower(), pair.source.lower())
        and stands(entry.target.lower(), pair.target.lower())
    }
    examples = Trial("ml-ctl-cz", code_exact=True).examples
    found = {(pair.sentence, pair.source[slice(*pair.source_span)]) for pair in examples.pairs}
    assert found == expected
    assert len(found) > 60
    for i, pair in enumerate(examples.pairs):
        placed = examples[i]
        for text, span, tokens, (a, b) in (
            (pair.source, pair.source_span, placed.source, placed.source_span),
            (pair.target, pair.target_span, placed.target, placed.target_span),
        ):
            assert ids(text[slice(*span)]) == tokens[a:b].tolist()


def test_a_word_inside_another_word_is_not_matched() -> None:
    """A substring is not enough: here it is a part of a subword, or of several."""
    texts = [pair.source for pair in sample()]
    long = next(word for text in texts for word in text.split() if len(word) > 5 and len(ids(word)) == 1)
    pair = replace(sample()[0], source=long, target=long)
    inside = long[1:4]
    entries = [DictionaryEntry(pair.language, inside, inside)]
    known = lexicons(entries, "substring", leave_out=common_words([pair]))
    assert substring_picks([pair], known).tolist() == [[0, 1, 4, 1, 4]]
    with pytest.raises(UserError, match="under the script's rule") as refused:
        place_substrings([pair], GivenDictionary(entries))
    assert "1 words that occur once" in str(refused.value.found)


def test_sentences_of_the_maximal_length_are_skipped() -> None:
    reads = corpora(MLCTLCZ)
    kept = place_substrings(sample(), reads)
    reach = max(max(len(ids(pair.source)), len(ids(pair.target))) + 2 for pair in kept)
    shorter = place_substrings(sample(), replace(reads, max_length=reach))
    assert 0 < len(shorter) < len(kept)
    assert all(max(len(ids(pair.source)), len(ids(pair.target))) + 2 < reach for pair in shorter)


@dataclass(frozen=True)
class CountedPair(SamplePair):
    """A pair that counts how many of its kind are in memory."""

    alive: ClassVar[list[int]] = [0, 0]  # now, and at most

    def __post_init__(self) -> None:
        self.alive[0] += 1
        self.alive[1] = max(self.alive)
        weakref.finalize(self, self._forget)

    @classmethod
    def _forget(cls) -> None:
        cls.alive[0] -= 1


class RepeatedSample(Rows[SamplePair]):
    """The small sample twelve times over, each time with other sentences."""

    def __len__(self) -> int:
        return 12 * len(sample())

    def row(self, number: int) -> SamplePair:
        copy, place = divmod(number, len(sample()))
        pair = sample()[place]
        return CountedPair(number, pair.language, f"{copy} {pair.source}", pair.target, None, None)


@pytest.mark.parametrize("substrings", [False, True])
def test_the_sample_is_read_in_blocks(substrings: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for size in ("methods.objectives.released_words.BLOCK", "harness.modeling.tokenizer.BLOCK"):
        monkeypatch.setattr(size, 32)
    for size in ("harness.data.record_table.READ", "harness.data.sample._COUNTED"):
        monkeypatch.setattr(size, 32)
    CountedPair.alive[:] = [0, 0]
    pairs, reads = RepeatedSample(), corpora(MLCTLCZ)
    reads = replace(reads, sample=pairs, tokenizer=Tokenizer(reads.tokenizer.hf, tmp_path))
    method = MLCTLCZ(MLCTLCZ.Config(lowercase=True, substring_spans=substrings))
    examples = method.examples(reads)
    assert len(pairs) > 700
    assert 0 < CountedPair.alive[1] < 150, "far fewer pairs than the sample has are in memory at a time"
    assert len(examples) > len(pairs) / 2
    found = len(list(tmp_path.glob("substrings-*")))
    assert found == substrings, "matches are memory-mapped beside the tokens"


@pytest.mark.parametrize("name", ["ml-ctl", "info-snt"])
def test_a_word_that_is_cut_off_on_one_side_is_skipped_on_both(name: str) -> None:
    filler = " ".join(sample()[0].source.split()[:1] * MAX_LENGTH)
    whole = sample()[0]
    assert whole.source_span
    assert whole.target_span
    far = SamplePair(0, whole.language, whole.source, f"{filler} {whole.target}", whole.source_span, None)
    shift = len(filler) + 1
    far = replace(far, target_span=Span(*(place + shift for place in whole.target_span)))
    near, cut = (Trial(name, pairs=[pair]).examples[0] for pair in (whole, far))
    for example, spans in ((near, (whole.source_span, whole.target_span)), (cut, None)):
        sides = ((example.source, example.source_span), (example.target, example.target_span))
        for k, (tokens, (a, b)) in enumerate(sides):
            if spans is None:
                assert (a, b) == (1, len(tokens) - 1), "the sentence without its special tokens"
            else:
                text = (whole.source, whole.target)[k]
                assert ids(text[slice(*spans[k])]) == tokens[a:b].tolist()
    assert np.array_equal(cut.source, near.source)
