"""The retrieval family: what it finds and counts, the threshold tuned on dev, repeated sentences left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import UserError
from harness.modeling.packing import pack
from harness.records import PoolSentence
from tasks.bucc2018 import BUCC2018
from tasks.families.bitext_mining import MiningSettings
from tasks.families.embeddings import embed, layer_of
from tasks.metrics import bucc_scores
from tasks.tatoeba import Tatoeba
from tests.support.tiny_encoder import tiny_encoder

SETTINGS = MiningSettings(max_length=40)


def pool(seed: int, pairs: int = 40, distractors: int = 30) -> list[PoolSentence]:
    """Foreign sentences that equal their translations but for a mark, among others, in another order."""
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list("abcdefghij"), int(rng.integers(4, 25)))) for _ in range(pairs + 2 * distractors)]
    both, mine, theirs = texts[:pairs], texts[pairs : pairs + distractors], texts[pairs + distractors :]
    source = [PoolSentence(f"x{i}", "source", t + ".", (f"e{i}",)) for i, t in enumerate(both)]
    target = [PoolSentence(f"e{i}", "target", t, (f"x{i}",)) for i, t in enumerate(both)]
    source += [PoolSentence(f"x{pairs + i}", "source", t, ()) for i, t in enumerate(mine)]
    target += [PoolSentence(f"e{pairs + i}", "target", t, ()) for i, t in enumerate(theirs)]
    return [source[i] for i in rng.permutation(len(source))] + [target[i] for i in rng.permutation(len(target))]


def test_retrieval_predicts_a_translation_for_every_pivot_sentence_in_order() -> None:
    task, records = Tatoeba(), pool(1, distractors=0)
    turned = [*reversed(records[:40]), *reversed(records[40:])]
    predictions = task.predict(task.build(tiny_encoder(), SETTINGS), {"de": records, "fr": turned}, SETTINGS)
    assert predictions["de"] == predictions["fr"][::-1]
    statistics = task.statistics(predictions["de"], records)
    assert statistics.items == tuple(r.id for r in records if r.side == "target")
    assert task.metric(statistics.sums())["accuracy"] > 60  # chance is 2.5


def test_mining_uses_the_threshold_tuned_on_dev() -> None:
    task, encoder = BUCC2018(), tiny_encoder()
    dev, test = pool(1), pool(2)
    tuned = task.predict(encoder, {"de": dev}, SETTINGS)["de"]
    assert [score for score, *_ in tuned] == sorted((score for score, *_ in tuned), reverse=True)
    calibration = task.calibrate(tuned, dev)
    candidates = task.predict(encoder, {"de": test}, SETTINGS)["de"]
    decided = task.decide(candidates, calibration)
    assert len(decided) < len(candidates)
    statistics = task.statistics(decided, test)
    found = task.metric(statistics.sums())
    gold = {(r.id, r.partners[0]) for r in test if r.side == "source" and r.partners}
    assert found == pytest.approx(bucc_scores({(s, t) for s, t in decided}, gold)._asdict())
    assert found["f1"] > 60
    assert statistics.items == tuple(r.id for r in test if r.side == "source")
    assert statistics.sums()["gold"] == 40


def test_duplicate_sentences_are_not_mined_but_their_gold_counts() -> None:
    task, records = BUCC2018(), pool(3, distractors=0)
    doubled = [replace(records[0], id="again", partners=()), *records]
    candidates = task.predict(tiny_encoder(), {"de": doubled}, SETTINGS)["de"]
    sources = {source for _, source, _ in candidates}
    assert records[0].id not in sources
    assert "again" not in sources
    assert len(sources) > 20
    assert task.statistics([], doubled).sums() == {"tp": 0, "pred": 0, "gold": 40}


def test_pairs_count_once_and_any_number_per_sentence() -> None:
    task = BUCC2018()
    records = [PoolSentence("x1", "source", "a", ("e1", "e2"), "doc"), PoolSentence("x2", "source", "b", ())]
    statistics = task.statistics([["x1", "e1"], ["x1", "e1"], ["x1", "e9"], ["x2", "e1"]], records)
    assert {name: column.tolist() for name, column in statistics.columns.items()} == {
        "tp": [1, 0],
        "pred": [2, 1],
        "gold": [2, 0],
    }
    assert statistics.clusters == ("doc", "x2")
    with pytest.raises(UserError, match="names no sentence of the pool"):
        task.statistics([["e1", "x1"]], records)


def test_withheld_gold_raises_an_error() -> None:
    hidden = [replace(record, partners=None) for record in pool(1, pairs=3, distractors=0)]
    with pytest.raises(UserError, match="withheld"):
        BUCC2018().statistics([], hidden)
    with pytest.raises(UserError, match="withheld"):
        BUCC2018().calibrate([], hidden)
    with pytest.raises(UserError, match="withheld"):
        Tatoeba().statistics(["x0"] * 3, hidden)


def test_the_layer_scales_with_the_depth() -> None:
    official = Tatoeba.spec.protocols["official"]
    assert [layer_of(tiny_encoder(layers=n), official) for n in (1, 2, 4, 6, 12)] == [1, 1, 3, 4, 8]
    assert layer_of(tiny_encoder(layers=4), replace(official, layer=-1)) == 4
    assert BUCC2018.spec.protocols["official"].pooling == "cls"


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings_follow_the_layer_and_pooling_settings(pooling: str) -> None:
    encoder = tiny_encoder(layers=3).eval()
    texts = ["abc", "a", "hello there", "", "abc def ghi jkl"]
    settings = replace(SETTINGS, pooling=pooling, layer=2)
    vectors = embed(encoder, texts, settings, "fp32")
    for row, text in enumerate(texts):
        ids: Any = encoder.tokenizer.hf(text).input_ids
        with torch.no_grad():
            states = encoder(pack([ids]), layers=(2,)).tokens(2)
        expected = states.mean(0) if pooling == "mean" else states[0]
        assert torch.allclose(vectors[row], expected, atol=1e-5)
