"""Examples of predictions: an item's text, gold and prediction, for every family of tasks."""

from __future__ import annotations

from harness.evaluation import item_examples as examples
from harness.records import Answer, PoolSentence, Question, TaggedSentence, TextPair
from tasks.bucc2018 import BUCC2018
from tasks.panx import PANX
from tasks.tatoeba import Tatoeba
from tasks.xnli import XNLI
from tasks.xquad import XQuAD


def test_pairs_of_texts() -> None:
    records = [TextPair("a", "one", "two", "neutral")]
    assert examples.examples(XNLI(), ["entailment"], records) == [("a", "one\ntwo", "neutral", "entailment")]


def test_tags_and_answers() -> None:
    tagged = [TaggedSentence("a", ("see", "Rome"), ("O", "B-LOC"))]
    assert examples.examples(PANX(), [["O", "O"]], tagged) == [("a", "see Rome", "O B-LOC", "O O")]
    asked = [Question("q", "who?", "it was she", (Answer("she", 7), Answer("she", 7)))]
    assert examples.examples(XQuAD(), ["it"], asked) == [("q", "who?\nit was she", "she", "it")]


def test_translations_are_shown_by_their_text() -> None:
    pool = [
        PoolSentence("f1", "source", "eins", ("e1",)),
        PoolSentence("f2", "source", "zwei", ("e2",)),
        PoolSentence("f3", "source", "drei", ()),
        PoolSentence("e1", "target", "one", ("f1",)),
        PoolSentence("e2", "target", "two", ("f2",)),
    ]
    search = examples.examples(Tatoeba(), ["f2", ["f2", "e1"]], pool)
    assert search == [("e1", "one", "eins", "zwei"), ("e2", "two", "zwei", "zwei")]
    mined = examples.examples(BUCC2018(), [["f1", "e2", 1], ["f3", "e1"]], pool)
    assert mined == [("f1", "eins", "one", "two"), ("f2", "zwei", "two", ""), ("f3", "drei", "", "one")]


def test_long_sets_and_texts_are_cut() -> None:
    records = [TextPair(str(at), "x" * 5000, "", "a") for at in range(examples.MOST + 5)]
    found = examples.examples(XNLI(), ["a"] * len(records), records)
    assert len(found) == examples.MOST
    assert len(found[0].text) == examples.LONGEST
    assert [len(column) for column in examples.table({("english", "de"): found}).values()] == [examples.MOST] * 6
