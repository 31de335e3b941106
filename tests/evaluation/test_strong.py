"""Strong retrieval: never above the plain figure, equal to it where the languages coincide, and what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.evaluation.retrieval import mine
from harness.evaluation.strong_alignment import mine_strong, rivals
from harness.records import PoolSentence
from tasks.bucc2018 import BUCC2018
from tasks.families.bitext_mining import MiningSettings
from tasks.families.embeddings import Vectors
from tasks.families.pools import PoolSides
from tasks.tatoeba import Tatoeba
from tests.support.tiny_encoder import tiny_encoder

STRONG = MiningSettings(max_length=40, strong=True)
PLAIN = replace(STRONG, strong=False)


def pools(pairs: int, lone: int) -> list[PoolSentence]:
    """Sentence i of either side translates that of the other; the last `lone` of each have no partner."""
    return [
        PoolSentence(f"{mark}{i}", side, f"{mark} {i}", (f"{other}{i}",) if i < pairs else ())
        for side, mark, other in (("source", "x", "e"), ("target", "e", "x"))
        for i in range(pairs + lone)
    ]


def search(task: Any, records: list[PoolSentence], x: np.ndarray, y: np.ndarray, how: MiningSettings) -> list[Any]:
    vectors = Vectors([r.text for r in records], torch.from_numpy(np.concatenate([x, y])), torch.device("cpu"))
    found: list[Any] = task.search(PoolSides.of(records), vectors, how)
    return found


def scores(
    task: Any, records: list[PoolSentence], x: np.ndarray, y: np.ndarray, how: MiningSettings
) -> dict[str, float]:
    found = search(task, records, x, y, how)
    final = task.decide(found, task.calibrate(found, records))
    measured: dict[str, float] = task.metric(task.statistics(final, records).sums())
    return measured


@st.composite
def clouds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Two languages as clouds some way apart, the translations near each other or not, and how many are pairs."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, width = draw(st.integers(2, 25)), draw(st.integers(2, 12))
    x = rng.normal(size=(n, width))
    y = x + draw(st.floats(0, 1.5)) * rng.normal(size=x.shape) + draw(st.floats(0, 3)) * rng.normal(size=(1, width))
    return x.astype(np.float32), y.astype(np.float32), draw(st.integers(1, n))


@settings(deadline=None, max_examples=25)
@given(clouds())
def test_strong_score_is_at_most_the_plain_score(
    drawn: tuple[np.ndarray, np.ndarray, int],
) -> None:
    x, y, pairs = drawn
    records = pools(pairs, len(x) - pairs)
    mined = scores(BUCC2018(), records, x, y, STRONG)
    plain = scores(BUCC2018(), records, x, y, PLAIN)
    assert {name: mined[name] for name in plain} == plain
    assert mined["strong_f1"] <= mined["f1"]
    both = [r for r in records if r.partners]
    found = scores(Tatoeba(), both, x[:pairs], y[:pairs], STRONG)
    assert found["accuracy"] == scores(Tatoeba(), both, x[:pairs], y[:pairs], PLAIN)["accuracy"]
    assert found["strong_accuracy"] <= found["accuracy"]


@settings(deadline=None, max_examples=25)
@given(clouds())
def test_strong_score_equals_the_plain_score_for_equal_vectors(
    drawn: tuple[np.ndarray, np.ndarray, int],
) -> None:
    x, _, pairs = drawn
    unit = x.astype(float) / np.linalg.norm(x, axis=1, keepdims=True)
    assume((unit @ unit.T - 2 * np.eye(len(x))).max() < 1 - 1e-5)  # else two directions are one in float32
    records = pools(pairs, len(x) - pairs)
    mined = scores(BUCC2018(), records, x, x, STRONG)
    assert mined["strong_f1"] == mined["f1"]
    both = [r for r in records if r.partners]
    found = scores(Tatoeba(), both, x[:pairs], x[:pairs], STRONG)
    assert found["strong_accuracy"] == found["accuracy"] == 100


@settings(deadline=None, max_examples=20)
@given(clouds(), st.sampled_from(["ratio", "distance", "absolute"]), st.integers(1, 5))
def test_strong_pairs_match_the_definition(drawn: tuple[np.ndarray, np.ndarray, int], margin: Any, k: int) -> None:
    x, y, _ = drawn
    mined, strong = mine_strong(x, y, k=k, margin=margin)
    plain = mine(x, y, k=k, margin=margin)
    assert all(np.array_equal(a, b) for a, b in zip(mined, plain, strict=True))
    for score, source, target, flag in zip(*mined, strong, strict=True):
        best = max(_rival(x, y, source, k, margin), _rival(y, x, target, k, margin))
        if abs(float(score) - best) > 1e-4:  # nearer than that, rounding decides
            assert flag == (score > best)


def _rival(own: np.ndarray, other: np.ndarray, row: int, k: int, margin: str) -> float:
    """The best margin of a row with one of its own side among its k nearest of both, in double precision."""
    own, other = (v.astype(np.float64) / np.linalg.norm(v, axis=1, keepdims=True) for v in (own, other))
    level = np.sort(own @ other.T, axis=1)[:, -k:].mean(axis=1)
    near = [(float(own[row] @ own[j]), j) for j in range(len(own)) if j != row]
    near += [(float(own[row] @ v), -1) for v in other]
    best = -np.inf
    for cosine, j in sorted(near, reverse=True)[:k]:
        if j >= 0:
            mean = (level[row] + level[j]) / 2
            best = max(best, {"ratio": cosine / mean, "distance": cosine - mean, "absolute": cosine}[margin])
    return best


def test_separated_languages_score_zero_strong_accuracy() -> None:
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(20, 16))
    meaning /= np.linalg.norm(meaning, axis=1, keepdims=True)
    x, y = (np.pad(meaning, ((0, 0), (0, 2))).astype(np.float32) for _ in range(2))
    x[:, 16:], y[:, 16:] = (1, 2), (-1, 2)  # a direction of its own for each language, and one that they share
    records = pools(20, 0)
    found = scores(Tatoeba(), records, x, y, STRONG)
    assert found == {"accuracy": 100.0, "strong_accuracy": 0.0}
    assert all(rival.startswith("e") for _, rival in search(Tatoeba(), records, x, y, STRONG))
    mined = scores(BUCC2018(), records, x, y, STRONG)
    assert mined["strong_f1"] == 0 < mined["f1"]


def test_rivals_exclude_the_row_itself_among_equal_rows() -> None:
    same = np.ones((5, 3), dtype=np.float32)
    found = rivals(same, k=2)
    assert found.indices.shape == (5, 2)
    assert all(row not in near for row, near in enumerate(found.indices))
    assert rivals(same[:1], k=2).indices.shape == (1, 0)


def test_rivals_exclude_copies_of_the_query() -> None:
    records = pools(3, 0)
    doubled = [*records, replace(records[3], id="again")]
    x = np.eye(3, 4, dtype=np.float32)
    y = np.concatenate([x, x[:1]])
    y[:, 3] = 0.2
    assert scores(Tatoeba(), doubled, x, y, STRONG) == {"accuracy": 100.0, "strong_accuracy": 100.0}


def test_view_without_predictions_scores_zero() -> None:
    task, records = BUCC2018(), pools(4, 2)
    found = task.predict(tiny_encoder(), {"de": records, "fr": []}, STRONG)
    assert all(len(candidate) == 4 for candidate in found["de"])
    assert found["fr"] == []
    empty = task.statistics([], records)
    assert "strong" not in empty.columns
    assert task.metric(empty.filled(["tp", "pred", "gold", "strong"]).sums())["strong_f1"] == 0


@pytest.mark.parametrize("final", [[["x0", "e0"]], [["x0", "e0", 0]], [["x0", "e0", 1]]])
def test_pairs_that_are_not_strong_count_in_the_plain_score(final: list[Any]) -> None:
    sums = BUCC2018().statistics(final, pools(2, 0)).sums()
    assert (sums["tp"], sums["pred"], sums["gold"]) == (1, 1, 2)
    assert sums.get("strong") == (float(final[0][2]) if len(final[0]) > 2 else None)
