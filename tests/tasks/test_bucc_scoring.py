"""BUCC's scoring of mined pairs: repeated lines, the tuned threshold and F1 over sets, against the golden values."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evaluation.retrieval import best_threshold, distinct_lines, find_repeated
from tasks.metrics import bucc_scores
from tests.support.golden_cases import cases

BUCC_F1 = cases("bucc_f1/cases.json")["cases"]


@pytest.mark.parametrize("case", BUCC_F1, ids=[c["name"] for c in BUCC_F1])
def test_golden_bucc_f1(case: dict[str, Any]) -> None:
    predictions, labels = ([line.strip() for line in io.StringIO(case[f"{s}_file"])] for s in ("prediction", "label"))
    scores = bucc_scores(predictions, labels)
    assert scores._asdict() == pytest.approx(case["expected"]["ok"], abs=1e-9)


BUCC_EVAL = cases("bucc_eval/cases.json")["cases"]


def unique_ids(texts: list[str], ids: list[str]) -> dict[str, str]:
    rows = zip(texts, ids, find_repeated(texts), strict=True)
    return {text.strip(): name for text, name, again in rows if not again}


def scored_candidates(case: dict[str, Any]) -> dict[str, float]:
    """Lines of ids with their highest score, at the place of the first; sentences without one place are left out."""
    sources, targets = unique_ids(case["src_text"], case["src_id"]), unique_ids(case["trg_text"], case["trg_id"])
    lines: dict[str, float] = {}
    for candidate in case["candidates"]:
        score, source, target = (field.strip() for field in candidate.split("\t"))
        if source in sources and target in targets:
            line = f"{sources[source]}\t{targets[target]}"
            lines[line] = max(lines.get(line, -np.inf), float(score))
    return lines


@pytest.mark.parametrize("case", BUCC_EVAL, ids=[c["name"] for c in BUCC_EVAL])
def test_golden_bucc_eval(case: dict[str, Any]) -> None:
    lines, gold, expected = scored_candidates(case), set(case["gold"]), case["expected"]
    tuned = best_threshold(list(lines.values()), [line in gold for line in lines], len(gold))
    threshold = case["args"].get("threshold", tuned.threshold)
    kept = [line for line, score in lines.items() if score >= threshold]
    if "error" in expected:  # the best F1 is reached at the last candidate
        assert tuned.threshold == min(lines.values())
        assert kept == list(lines)
        return
    assert sorted(kept) == sorted(expected["predictions"])
    if expected["ok"] is not None:
        assert threshold == pytest.approx(expected["ok"]["best-threshold"], abs=1e-9)
        official = tuple(expected["ok"][name] for name in ("precision", "recall", "F1"))
        assert bucc_scores(kept, gold) == pytest.approx(official, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30), st.integers(0, 5))
def test_threshold_is_optimal_without_ties(pairs: list[tuple[int, bool]], missed: int) -> None:
    scores = [place + score / 10 for place, (score, _) in enumerate(pairs)]
    correct = [right for _, right in pairs]
    n_gold = sum(correct) + missed
    threshold, f1 = best_threshold(scores, correct, n_gold)

    def f1_at(cut: float) -> float:
        kept = [right for score, right in zip(scores, correct, strict=True) if score >= cut]
        return 200 * sum(kept) / (len(kept) + n_gold) if kept and n_gold else 0.0

    assert f1 == pytest.approx(max([f1_at(cut) for cut in scores], default=0.0))
    if any(correct):
        assert f1_at(threshold) == pytest.approx(f1)
    else:
        assert (threshold, f1) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "correct", "n_gold", "message"),
    [
        ([1.0, 2.0], [True], 1, "two"),
        ([float("nan")], [True], 1, "NaN"),
        ([1.0, 2.0], [True, True], 1, "2 pairs are marked correct, but the gold has 1"),
    ],
)
def test_invalid_threshold_inputs_are_refused(
    scores: list[float], correct: list[bool], n_gold: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        best_threshold(scores, correct, n_gold)


def test_distinct_and_repeated_lines() -> None:
    texts = ["a", "b", "a ", "c", "b"]
    assert distinct_lines(texts).texts == ["a", "b", "a ", "c"]
    assert distinct_lines(texts).rows.tolist() == [0, 4, 2, 3]
    assert find_repeated(texts).tolist() == [True, True, True, False, True]
    assert distinct_lines([]).rows.shape == find_repeated([]).shape == (0,)
