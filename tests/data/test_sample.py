"""Words in sentence pairs, and the draw of the sample."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.data.folder import Folder
from harness.data.matching import Lexicon
from harness.data.sample import SampleSettings, draw_sample, load_sample, quotas, save_sample
from harness.errors import UsageError, UserError
from harness.records import Corpus, DictionaryEntry, ParallelPair

LANGUAGES = ("ar", "hi", "sw", "zh")


def entries(*pairs: tuple[str, str], language: str = "de") -> list[DictionaryEntry]:
    return [DictionaryEntry(language, *pair) for pair in pairs]


def quoted(source: str, target: str, *pairs: tuple[str, str]) -> list[tuple[str, str]]:
    found = Lexicon(entries(*pairs)).matches(source, target)
    return [(source[slice(*pair.source)], target[slice(*pair.target)]) for pair in found]


def bitext(language: str, count: int, word: str = "cat", translation: str = "Katze") -> list[ParallelPair]:
    return [
        ParallelPair(f"{language}-{i}", language, f"The {word} has {i} lives", f"Die {translation} hat {i} Leben")
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("source", "target", "entry", "expected"),
    [
        ("The Cat sat", "Die Katze sass", ("cat", "katze"), [("Cat", "Katze")]),
        ("an action", "eine Tat", ("act", "tat"), []),  # "act" ends in no word boundary
        ("cat and cat", "Katze", ("cat", "katze"), []),  # twice in English
        ("cat", "Katze, Katze", ("cat", "katze"), []),  # twice in the translation
        ("COVID-19 news", "COVID-19 haber", ("covid-19", "covid-19"), [("COVID-19", "COVID-19")]),
        ("I like apples", "我喜欢苹果。", ("apples", "苹果"), [("apples", "苹果")]),  # no blanks in Chinese
        ("long water", "น้ำยาว", ("water", "น้ำ"), [("water", "น้ำ")]),
        ("a thing", "นำมา", ("thing", "น"), [("thing", "น")]),
        ("a thing", "น้ำ", ("thing", "น"), []),  # a tone mark belongs to the letter before it
        ("one day", "एक दिन", ("day", "दिन"), [("day", "दिन")]),
        ("one day", "एक दिनों", ("day", "दिन"), []),  # a vowel sign continues the word
        (
            "high blood pressure",
            "der Blutdruck ist hoch",
            ("blood pressure", "blutdruck"),
            [("blood pressure", "Blutdruck")],
        ),
        ("soap", "jabón de manos líquido", ("soap", "jabón de manos"), [("soap", "jabón de manos")]),
        ("In Istanbul", "ŞU AN İSTANBUL'DA", ("istanbul", "İstanbul"), [("Istanbul", "İSTANBUL")]),
        ("a city", "thành phố".translate({224: "a\u0300"}), ("city", "thành phố"), [("city", "tha\u0300nh phố")]),
        ("my pen", "मेरा \u0915\u093cलम", ("pen", "\u0958लम"), [("pen", "\u0915\u093cलम")]),  # one letter or two
        ("God's word", "слова с нами", ("s", "с"), []),  # the end of a contraction is no word
        ("self-help", "auto", ("self-", "auto"), []),  # an affix is no word
        ("what is ?", "was ist ?", ("?", "?"), []),  # a headword needs a letter or digit
    ],
)
def test_words_match_at_boundaries(
    source: str, target: str, entry: tuple[str, str], expected: list[tuple[str, str]]
) -> None:
    assert quoted(source, target, entry) == expected


def test_case_folding_keeps_positions() -> None:
    source, target = "İİ the river İ", "İİİ der FLUSS"
    assert quoted(source, target, ("river", "Fluss")) == [("river", "FLUSS")]


def test_the_longest_translation_wins_and_a_word_matches_once() -> None:
    pairs = (("capital", "京"), ("capital", "北京"), ("the", "的"))
    assert quoted("the capital", "北京的", *pairs) == [("the", "的"), ("capital", "北京")]


def test_another_translation_is_taken_where_the_first_is_not_unique() -> None:
    assert quoted("a house", "Haus, Haus, Heim", ("house", "haus"), ("house", "heim")) == [("house", "Heim")]


def test_the_released_rule_finds_words_inside_words() -> None:
    found = Lexicon(entries(("act", "tat"), ("film", "film"), ("n", "x")), "substring").matches(
        "an action film", "ein Tatort"
    )
    assert [(pair.source, pair.target) for pair in found] == [((3, 6), (4, 7))]
    assert Lexicon(entries(("act", "tat")), "substring").matches("act action", "Tat") == []
    assert len(Lexicon(entries(("haha", "人人")), "substring").matches("haha", "人人人")) == 1


WORDS = st.sampled_from(["cat", "Cat", "dog", "at", "concat", "naïve", "the"])
FOREIGN = st.sampled_from(["猫", "犬", "Katze", "KATZE", "Hund", "हिन्दी", "दिन", "दिनों", "İ"])


@given(
    st.lists(WORDS, max_size=6).map(" ".join),
    st.tuples(st.lists(FOREIGN, max_size=6), st.sampled_from(["", " ", "-"])).map(
        lambda drawn: drawn[1].join(drawn[0])
    ),
    st.lists(st.tuples(WORDS, FOREIGN), max_size=6),
    st.sampled_from(["word", "substring"]),
)
def test_spans_quote_the_words_and_are_unique(
    source: str, target: str, pairs: list[tuple[str, str]], rule: str
) -> None:
    known = {(a.lower(), b.lower()) for a, b in pairs}
    for found in Lexicon(entries(*pairs), rule).matches(source, target):
        english, foreign = source[slice(*found.source)], target[slice(*found.target)]
        assert (english.lower(), foreign.lower()) in known
        if rule == "substring":
            assert source.lower().count(english.lower()) == target.lower().count(foreign.lower()) == 1
        else:
            assert len(re.findall(rf"(?i)\b{re.escape(english)}\b", source)) == 1


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, min_size=1, max_size=4))
def test_every_unique_word_is_found(sentence: list[str], headwords: list[str]) -> None:
    lowered = [word.lower() for word in sentence]
    expected = {word.lower() for word in headwords if lowered.count(word.lower()) == 1}
    found = Lexicon(entries(*((word, "x") for word in headwords))).matches(" ".join(sentence), "x")
    assert {" ".join(sentence)[slice(*pair.source)].lower() for pair in found} == expected


@given(st.integers(0, 500), st.lists(st.integers(1, 1000), min_size=1, max_size=9))
def test_quotas_add_up_and_cover(total: int, weights: list[int]) -> None:
    shares = quotas(total, weights)
    assert sum(shares) == total
    assert min(shares) >= (total >= len(weights))
    assert max(quotas(total, [1] * len(weights))) - min(quotas(total, [1] * len(weights))) <= 1


def test_the_draw_is_fixed_by_its_seed_and_marks_the_words() -> None:
    parallel, dictionary = bitext("de", 50), entries(("cat", "Katze"), ("lives", "Leben"))
    first = draw_sample(parallel, dictionary, SampleSettings(size=40, seed=3))
    assert first == draw_sample(parallel, dictionary, SampleSettings(size=40, seed=3))
    assert first.pairs != draw_sample(parallel, dictionary, SampleSettings(size=40, seed=4)).pairs
    for pair in first.pairs:
        assert (pair.source, pair.target) == (parallel[pair.sentence].source, parallel[pair.sentence].target)
        words = pair.source[slice(*pair.source_span)], pair.target[slice(*pair.target_span)]
        assert words in {("cat", "Katze"), ("lives", "Leben")}


def test_a_sentence_comes_back_once_for_each_word_up_to_the_cap() -> None:
    dictionary = entries(("cat", "Katze"), ("lives", "Leben"), ("has", "hat"), ("the", "die"))
    for cap in (1, 3, 9):
        sample = draw_sample(bitext("de", 5), dictionary, SampleSettings(size=100, max_words_per_pair=cap))
        assert len(sample.pairs) == 5 * min(cap, 4)
        assert len({(pair.sentence, pair.source_span) for pair in sample.pairs}) == len(sample.pairs)


def test_what_a_small_language_cannot_give_goes_to_the_others() -> None:
    parallel = [*bitext("de", 5), *bitext("fr", 300), *bitext("sw", 100)]
    dictionary = [
        *entries(("cat", "Katze")),
        *entries(("cat", "Katze"), language="fr"),
        *entries(("cat", "Katze"), language="sw"),
    ]
    equal = draw_sample(parallel, dictionary, SampleSettings(size=100, max_word_share=1))
    assert [part.taken for part in equal.coverage] == [5, 48, 47]
    proportional = draw_sample(parallel, dictionary, SampleSettings(size=43, balance="proportional", max_word_share=1))
    assert [part.taken for part in proportional.coverage] == [1, 31, 11]
    assert proportional.coverage[0].seen < 5


def test_sentences_without_a_match_are_dropped_or_kept() -> None:
    parallel = [*bitext("de", 10), *bitext("de", 10, "dog", "Hund")]
    dropped = draw_sample(parallel, entries(("cat", "Katze")), SampleSettings(size=20))
    assert len(dropped.pairs) == 10
    assert dropped.coverage[0].matched == dropped.coverage[0].sentences == 10
    kept = draw_sample(parallel, entries(("cat", "Katze")), SampleSettings(size=20, unmatched="sentence-only"))
    assert sum(pair.source_span is None and pair.target_span is None for pair in kept.pairs) == 10
    assert len(kept.pairs) == 20


def test_long_pairs_and_repeated_pairs_are_passed_over() -> None:
    parallel = [*bitext("de", 3), *bitext("de", 3), ParallelPair("de-x", "de", "cat " + "x" * 90, "Katze")]
    sample = draw_sample(parallel, entries(("cat", "Katze")), SampleSettings(size=50, max_chars=50))
    assert len(sample.pairs) == 3
    assert sample.coverage[0].too_long == 1


def test_a_language_without_dictionary_is_dropped_with_a_note() -> None:
    sample = draw_sample([*bitext("de", 9), *bitext("sw", 9)], entries(("cat", "Katze")), SampleSettings(size=6))
    assert {pair.language for pair in sample.pairs} == {"de"}
    assert [part.language for part in sample.coverage] == ["de", "sw"]
    assert "sw: no dictionary, dropped from the sample" in sample.notes


@pytest.mark.parametrize(
    ("parallel", "dictionary", "settings", "words"),
    [
        (bitext("de", 9), entries(("horse", "Pferd")), {}, "matches no sentence.*unmatched=sentence-only"),
        (bitext("de", 9), [], {}, "no dictionary.*unmatched=sentence-only"),
        ([], [], {}, "no parallel text"),
        (bitext("de", 9), [], {"max_chars": 3}, "too long.*max_chars"),
    ],
)
def test_an_empty_sample_is_an_error(
    parallel: list[ParallelPair], dictionary: list[DictionaryEntry], settings: dict[str, int], words: str
) -> None:
    with pytest.raises(UserError, match=f"(?s){words}"):
        draw_sample(parallel, dictionary, SampleSettings(size=5, **settings))


def test_settings_are_strict() -> None:
    with pytest.raises(UsageError, match="too small to cover"):
        draw_sample([*bitext("de", 9), *bitext("fr", 9)], [], SampleSettings(size=1))
    with pytest.raises(ValidationError):
        SampleSettings(size=5, unmatched="keep")
    with pytest.raises(ValidationError):
        SampleSettings(size=5, colour="red")


def test_a_sample_survives_its_files(tmp_path: Path) -> None:
    sample = draw_sample(
        [*bitext("de", 9), *bitext("sw", 9)],
        entries(("cat", "Katze")),
        SampleSettings(size=12, unmatched="sentence-only"),
    )
    save_sample(sample, tmp_path)
    assert load_sample(tmp_path) == sample


def test_real_sentences(shared: Path) -> None:
    folder = Folder.open(str(shared / "data" / "open"))
    parallel, dictionary = (folder.corpus(kind, LANGUAGES) for kind in (Corpus.PARALLEL, Corpus.DICTIONARY))
    sample = draw_sample(parallel, dictionary, SampleSettings(size=2000))
    known = {(entry.language, entry.source.lower(), entry.target.lower()) for entry in dictionary}
    assert [part.taken for part in sample.coverage] == [500] * 4
    for pair in sample.pairs:
        assert pair.source_span is not None
        assert pair.target_span is not None
        source, target = pair.source[slice(*pair.source_span)], pair.target[slice(*pair.target_span)]
        assert (pair.language, source.lower(), target.lower()) in known
        assert len(re.findall(rf"(?<!\w){re.escape(source)}(?!\w)", pair.source, re.IGNORECASE)) == 1
        assert pair.target.count(target) == 1 or pair.language != "zh"


def test_words_of_nearly_every_sentence_are_never_placed() -> None:
    pairs = [ParallelPair(f"{n}", "de", f"the cat {n}", f"die katze {n}") for n in range(200)]
    entries = [DictionaryEntry("de", word, partner) for word, partner in (("the", "die"), ("cat", "katze"), ("7", "7"))]
    sample = draw_sample(pairs, entries, SampleSettings(size=50, unmatched="sentence-only"))
    words = {pair.source[slice(*pair.source_span)] for pair in sample.pairs if pair.source_span}
    assert not words & {"the", "cat"}
    every = draw_sample(pairs, entries, SampleSettings(size=50, max_word_share=1.0))
    assert {pair.source[slice(*pair.source_span)] for pair in every.pairs if pair.source_span} >= {"the", "cat"}
