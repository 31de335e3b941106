"""Answers are scored as the official scripts of SQuAD v1.1 and MLQA score them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from tasks.metrics.answers import MLQA_LANGUAGES, Normalise, mlqa, score, squad
from tests.support.golden_cases import cases

NORMALISERS: dict[str, Normalise] = {"squad": squad, **{language: mlqa(language) for language in MLQA_LANGUAGES}}


def test_squad_normal_forms() -> None:
    for case in cases("squad/normalize.json")["cases"]:
        assert squad(case["in"]) == case["out"], case


def test_mlqa_normal_forms_in_each_language() -> None:
    for case in cases("mlqa/normalize.json")["cases"]:
        for language, expected in case["out"].items():
            assert NORMALISERS[language](case["in"]) == expected, (language, case["in"])


def pairs() -> list[tuple[str, dict[str, Any]]]:
    found = [("squad", case) for case in cases("squad/pairs.json")["cases"]]
    return found + [(language, case) for language, of in cases("mlqa/pairs.json")["cases"].items() for case in of]


def test_pairs_of_a_prediction_and_a_gold_answer() -> None:
    for name, case in pairs():
        got = score(case["prediction"], [case["gold"]], NORMALISERS[name])
        assert got.exact_match == case["exact_match"], (name, case)
        assert got.f1 == pytest.approx(case["f1"], abs=1e-9), (name, case)


def dataset(data: list[Any], predictions: dict[str, str], normalise: Normalise) -> dict[str, float]:
    """Percentages over all questions; one without a prediction scores 0 and counts."""
    questions = [qa for article in data for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    found = [
        score(predictions[qa["id"]], [answer["text"] for answer in qa["answers"]], normalise)
        if qa["id"] in predictions
        else (0.0, 0.0)
        for qa in questions
    ]
    means = [100 * sum(column) / len(questions) for column in zip(*found, strict=True)]
    return dict(zip(("exact_match", "f1"), means, strict=True))


@pytest.mark.parametrize("script", ["squad", "mlqa"])
def test_whole_datasets(script: str) -> None:
    finished = [case for case in cases(f"{script}/datasets.json")["cases"] if "ok" in case["expected"]]
    assert len(finished) > 5
    for case in finished:
        got = dataset(case["data"], case["predictions"], NORMALISERS[case.get("lang", "squad")])
        assert got == pytest.approx(case["expected"]["ok"], abs=1e-9), case["name"]


def test_tydiqa_files_of_both_shapes() -> None:
    for case in cases("tydiqa/datasets.json")["cases"]:
        content = case["label_file_content"]
        data = content["data"] if isinstance(content, dict) else content
        got = dataset(data, case["prediction_file_content"], squad)
        assert got == pytest.approx(case["expected"]["ok"], abs=1e-9)


def test_language_outside_mlqa_is_refused() -> None:
    with pytest.raises(UsageError, match="fr"):
        mlqa("fr")


def test_question_without_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        score("x", [], squad)


@given(st.text(max_size=30), st.sampled_from(sorted(NORMALISERS)))
def test_answer_scores_full_against_itself(text: str, name: str) -> None:
    normalise = NORMALISERS[name]
    got = score(text, ["another answer", text], normalise)
    assert got.exact_match == 1
    assert got.f1 == (1 if normalise(text) else 0)
