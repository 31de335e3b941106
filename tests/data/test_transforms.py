"""Controlled changes of the data: shuffled partners, another script, another word order, partly shared words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.normalizers import BertNormalizer

from harness.data.folder import Folder
from harness.data.source import TaskCell, open_source
from harness.data.transforms import (
    LanguageTransform,
    TransformedSource,
    apply_transform,
    change_script,
    invert,
    permute,
    retag,
    share_words,
    shuffled_pairs,
    transform_of,
)
from harness.errors import UsageError, UserError
from harness.records import (
    AlignedPair,
    Answer,
    Corpus,
    DictionaryEntry,
    Entity,
    ParallelPair,
    PoolSentence,
    Question,
    SamplePair,
    Span,
    TaggedSentence,
    TextPair,
)
from harness.registry import TASKS
from harness.task import TaskSpec
from tasks.families.classification import Classification
from tests.support.tiny_runs import WORLD

XNLI = TaskSpec(
    name="xnli",
    title="XNLI",
    family=Classification.family,
    metric="accuracy",
    languages=("de", "en"),
    labels=("contradiction", "entailment", "neutral"),
    protocols={},
    licence="",
    citation="",
    description="",
)


def transform(name: str) -> LanguageTransform:
    found = transform_of(name)
    assert isinstance(found, LanguageTransform)
    return found


def drawn(sentences: Sequence[tuple[str, str, int]]) -> list[SamplePair]:
    """Sample pairs of (language, target text, number of words); 0 words means a sentence-only pair."""
    pairs = []
    for number, (language, target, words) in enumerate(sentences):
        for word in range(max(words, 1)):
            span = Span(word, word + 1) if words else None
            pairs.append(SamplePair(number, language, f"source {number}", target, span, span))
    return pairs


SENTENCES = st.lists(
    st.tuples(st.sampled_from(["de", "sw"]), st.text("abcd", min_size=4, max_size=5), st.integers(0, 3))
)


@given(SENTENCES, st.integers(0, 9))
def test_shuffling_is_a_derangement_within_each_language(sentences: list[tuple[str, str, int]], seed: int) -> None:
    sentences += [(language, text, 1) for language in ("de", "sw") for text in ("one!", "two!")]
    pairs = drawn(sentences)
    shuffled = shuffled_pairs(pairs, seed)
    own = {(pair.language, pair.target) for pair in pairs}
    for before, after in zip(pairs, shuffled, strict=True):
        assert (after.sentence, after.language, after.source) == (before.sentence, before.language, before.source)
        assert after.target != before.target
        assert (after.language, after.target) in own
        assert (after.source_span is None) == (after.target_span is None)
        assert after.source_span in (None, before.source_span)
    partners = {(pair.language, pair.target): after.target for pair, after in zip(pairs, shuffled, strict=True)}
    assert all(partners[b.language, b.target] == a.target for b, a in zip(pairs, shuffled, strict=True))
    assert shuffled == shuffled_pairs(pairs, seed)


def test_shuffling_keeps_how_often_words_are_marked() -> None:
    pairs = drawn([("de", f"text {n}", n % 4) for n in range(400)])
    shuffled = shuffled_pairs(pairs, 1)
    lost = sum(pair.source_span is not None for pair in pairs) - sum(pair.source_span is not None for pair in shuffled)
    assert 0 <= lost <= 3
    before, after = (Counter((p.target, p.target_span) for p in some) for some in (pairs, shuffled))
    assert (before - after).total() <= 6
    assert shuffled != shuffled_pairs(pairs, 2)


def test_one_sentence_cannot_be_shuffled() -> None:
    with pytest.raises(UserError, match="de: one sentence cannot be shuffled"):
        shuffled_pairs(drawn([("de", "only", 3), ("sw", "a", 1), ("sw", "b", 1)]), 0)


@given(st.text())
def test_a_new_script_is_one_to_one_and_of_equal_length(text: str) -> None:
    moved = change_script(text)
    assert len(moved) == len(text)
    back = "".join(chr(ord(c) - 0x17000) if 0x17000 <= ord(c) < 0x187F8 else c for c in moved)
    assert back == text or any(0x17000 <= ord(c) < 0x187F8 for c in text)


def test_a_new_script_shares_no_letter_and_survives_the_tokenizer() -> None:
    text = "Füße, дом; बिल्ली 12!"
    moved = change_script(text)
    assert not {c for c in moved if c.isalpha()} & set(text)
    assert re.sub(r"[^\W\d]", "", moved) == ", ;  12!"
    assert BertNormalizer(lowercase=False, strip_accents=False).normalize_str(moved) == moved


def test_some_words_stay_shared_wherever_they_stand() -> None:
    words = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnprst"]
    kept = {word for word in words if share_words(word) == word}
    assert 60 < len(kept) < 115
    assert [share_words(f"«{w.title()}»,") == f"«{w.title()}»," for w in words] == [w in kept for w in words]
    assert share_words("a  b\tc", 1.0) == "a  b\tc"
    assert share_words("a  b\tc", 0.0) == change_script("a  b\tc")


@given(st.lists(st.text("ab", min_size=1), max_size=8))
def test_orders_are_permutations(words: list[str]) -> None:
    assert sorted(permute(words)) == sorted(invert(words)) == list(range(len(words)))
    assert permute(words) == permute(tuple(words))


def test_inverted_entities_begin_with_b_again() -> None:
    tags = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-LOC", "I-PER"]
    assert retag(tags, invert(tags)) == ["B-PER", "B-LOC", "I-LOC", "B-LOC", "O", "B-PER", "I-PER"]
    assert retag(["NOUN", "VERB"], [1, 0]) == ["VERB", "NOUN"]


def test_records_change_on_the_side_of_the_language() -> None:
    backwards, script = transform("inversion:de"), transform("script:de")
    assert apply_transform(TextPair("1", "a b", "c", "0"), backwards) == TextPair("1", "b a", "c", "0")
    assert apply_transform(ParallelPair("1", "de", "the cat", "die Katze"), backwards).target == "Katze die"
    assert apply_transform(ParallelPair("1", "de", "the cat", "die Katze"), backwards).source == "the cat"
    assert apply_transform(DictionaryEntry("de", "cat", "die Katze"), backwards).target == "Katze die"
    assert apply_transform(PoolSentence("en-1", "target", "a b", None), backwards).text == "a b"
    assert apply_transform(PoolSentence("de-1", "source", "a b", None), backwards).text == "b a"
    tagged = TaggedSentence("1", ("der", "Mann"), ("DET", "NOUN"))
    assert apply_transform(tagged, backwards) == TaggedSentence("1", ("Mann", "der"), ("NOUN", "DET"))
    assert apply_transform(tagged, script).tags == ("DET", "NOUN")
    link = frozenset({(0, 2)})
    aligned = apply_transform(AlignedPair("1", "de", ("a",), ("x", "y", "z"), link, link), backwards)
    assert (aligned.target, aligned.sure) == (("z", "y", "x"), {(0, 0)})


def test_answers_stay_spans_of_their_context() -> None:
    question = Question("1", "Wo?", "Er wohnt in Köln.", (Answer("Köln", 12),))
    moved = apply_transform(question, transform("script:de"))
    assert moved.answers[0].text == change_script("Köln") == moved.context[12:16]
    with pytest.raises(UserError, match="answers are spans"):
        apply_transform(question, transform("inversion:de"))


def test_an_answer_that_does_not_stand_in_its_context_is_changed_by_itself() -> None:
    question = Question("1", "Wo?", "Er wohnt in Köln.", (Answer("Bonn", -1),))
    assert apply_transform(question, transform("script:de")).answers == (Answer(change_script("Bonn"), -1),)


def test_of_a_view_in_two_languages_one_alone_is_changed() -> None:
    world = "babel:size=small,test=3"
    plain, source = open_source(world), open_source(f"transformed:script:qab,{world}")
    spec = TASKS.get("mlqa").spec
    cells = {cell.view: cell.fingerprint for cell in plain.manifest([spec]).tasks if cell.split == "test"}
    moved = {cell.view: cell.fingerprint for cell in source.manifest([spec]).tasks if cell.split == "test"}
    assert {view for view in cells if cells[view] != moved[view]} == {view for view in cells if "qab" in view}
    for view in ("qab.qac", "qac.qab", "qab", "qac.qad"):
        context, _, asked = view.partition(".")
        for old, new in zip(plain.task(spec, view, "test"), source.task(spec, view, "test"), strict=True):
            assert isinstance(old, Question)
            assert isinstance(new, Question)
            assert (new.context != old.context, new.answers != old.answers) == (context == "qab", context == "qab")
            assert (new.question != old.question) == ((asked or context) == "qab")
            (answer,) = new.answers
            assert new.context[answer.start :][: len(answer.text)] == answer.text


def test_a_changed_source_keeps_its_own_languages() -> None:
    assert open_source("transformed:script:qab,babel").own_languages


@pytest.mark.parametrize("name", ["shuffled-pair", "inversion", "inversion:", "mirror:de"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UsageError, match="unknown transform"):
        transform_of(name)


@pytest.mark.parametrize(("name", "words"), [("inversion:zh", "without spaces"), ("script:ja", "more characters")])
def test_a_transform_without_effect_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        transform_of(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "xnli").mkdir()
    (tmp_path / "parallel").mkdir()
    for view, text in (("en", "the cat"), ("de", "die Katze")):
        (tmp_path / f"xnli/dev-{view}.tsv").write_text(f"{text}\t{text}\tneutral\n")
        (tmp_path / f"parallel/de-en.{view}").write_text(f"{text}\n")
    return tmp_path


def test_a_transformed_source_changes_its_language_alone(folder: Path) -> None:
    plain = Folder.open(str(folder))
    source = TransformedSource.open(f"inversion:de,folder:{folder}")
    assert source.name == f"folder:{folder.name}+inversion:de"
    before, after = plain.manifest([XNLI]), source.manifest([XNLI])
    for old, new in zip((*before.tasks, *before.corpora), (*after.tasks, *after.corpora), strict=True):
        language = new.view if isinstance(new, TaskCell) else new.language
        assert (old.fingerprint == new.fingerprint) == (language != "de")
        assert replace(old, fingerprint="") == replace(new, fingerprint="")
    assert source.task(XNLI, "en", "dev") == plain.task(XNLI, "en", "dev")
    german = source.task(XNLI, "de", "dev")[0]
    assert isinstance(german, TextPair)
    assert (german.first, german.cluster) == ("Katze die", "xnli-dev-0")
    pair = source.corpus(Corpus.PARALLEL, ["de"])[0]
    assert isinstance(pair, ParallelPair)
    assert (pair.source, pair.target) == ("the cat", "Katze die")


def test_every_corpus_of_the_language_is_changed() -> None:
    plain, source = open_source(WORLD), open_source(f"transformed:script:qab,{WORLD}")
    for kind in (Corpus.NLI, Corpus.TRANSLATED_TRAIN, Corpus.ENTITIES, Corpus.IMAGES):
        old, new = (next(iter(one.stream(kind, ["qab"]))) for one in (plain, source))
        assert old != new, kind
    mention = next(iter(source.stream(Corpus.ENTITIES, ["qab"])))
    assert isinstance(mention, Entity)
    assert mention.mention[slice(*mention.span)].casefold() in mention.name.casefold()
    with pytest.raises(UserError, match="mentions are spans of their sentence"):
        list(open_source(f"transformed:inversion:qab,{WORLD}").stream(Corpus.ENTITIES, ["qab"]))


def test_a_transformed_source_refuses_what_has_no_effect(folder: Path) -> None:
    with pytest.raises(UserError, match="holds nothing in sw"):
        TransformedSource.open(f"inversion:sw,folder:{folder}").manifest([XNLI])
    with pytest.raises(UsageError, match="would change the pivot"):
        TransformedSource.open(f"inversion:en,folder:{folder}")
    with pytest.raises(UsageError, match="transformed:NAME,SOURCE"):
        TransformedSource.open("inversion:de")
