"""F1 and exact match of answers: SQuAD v1.1's rules for XQuAD and TyDiQA in every language, MLQA's rules for MLQA.

Both compare normalised strings (exact match) and bags of normalised tokens (F1), and take the best over references.
Published scores follow their quirks, so they are kept: SQuAD's rules know only English articles and ASCII punctuation,
which makes a Chinese or Thai answer one token; two answers that both normalise to nothing match exactly but have an F1
of 0.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from statistics import fmean
from typing import NamedTuple

import numpy as np
from datasets import Features, List, Value
from evaluate import MetricInfo

from harness.errors import unknown
from harness.evaluation.metrics import AdditiveMetric
from harness.statistics import Ratio
from tasks.metrics.ratios import XTREME_URL

Normalise = Callable[[str], str]

_ASCII_PUNCTUATION = frozenset(string.punctuation)
_IDEOGRAPH = re.compile("[\u4e00-\u9fa5]")
# The articles that MLQA's rules drop. For Arabic these are the letters alef and lam wherever they occur; inside a word
# they split it.
_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": None,
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": "ال",
    "zh": None,
}
MLQA_LANGUAGES = tuple(_ARTICLES)


class AnswerScore(NamedTuple):
    """One question's exact match (0 or 1) and F1 (0 to 1), each the best over the references."""

    exact_match: float
    f1: float


class SquadAnswers(AdditiveMetric):
    """F1 and exact match of answers by SQuAD v1.1's rules, and their mean `f1_em`, all in percent."""

    ratios = (
        Ratio("f1_em", {"f1": 0.5, "exact_match": 0.5}, {"items": 1}),
        Ratio("f1", {"f1": 1}, {"items": 1}),
        Ratio("exact_match", {"exact_match": 1}, {"items": 1}),
    )

    def _info(self) -> MetricInfo:
        return MetricInfo(
            description=str(SquadAnswers.__doc__),
            citation='Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016',
            features=Features({"predictions": Value("string"), "references": List(Value("string"))}),
            inputs_description="predictions: one answer per question. references: all gold answers to each question.",
            reference_urls=["https://aclanthology.org/D16-1264", XTREME_URL],
        )

    def statistics(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]], languages: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        values = np.asarray(self._scores(predictions, references, languages), dtype=np.float64).reshape(-1, 2)
        return {"exact_match": values[:, 0], "f1": values[:, 1], "items": np.ones(len(values), dtype=np.int64)}

    def _compute(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]], languages: Sequence[str] | None = None
    ) -> dict[str, float]:
        scores = self._scores(predictions, references, languages)
        f1, exact_match = (100 * fmean(getattr(score, name) for score in scores) for name in ("f1", "exact_match"))
        return {"f1_em": (f1 + exact_match) / 2, "f1": f1, "exact_match": exact_match}

    @staticmethod
    def _scores(
        predictions: Sequence[str], references: Sequence[Sequence[str]], languages: Sequence[str] | None
    ) -> list[AnswerScore]:
        forms = [squad] * len(predictions) if languages is None else map(normal_form, languages)
        return [score(p, gold, form) for p, gold, form in zip(predictions, references, forms, strict=True)]


class MlqaAnswers(SquadAnswers):
    """F1 and exact match of answers by MLQA's rules for each answer's language, and their mean `f1_em`, in percent.

    Answers in a language that MLQA does not have are scored by SQuAD v1.1's rules.
    """

    def _info(self) -> MetricInfo:
        inputs = {"predictions": Value("string"), "references": List(Value("string")), "languages": Value("string")}
        return MetricInfo(
            description=str(MlqaAnswers.__doc__),
            citation='Lewis et al., "MLQA: Evaluating Cross-lingual Extractive Question Answering", ACL 2020',
            features=Features(inputs),
            inputs_description=(
                "predictions: one answer per question. references: all gold answers to each question. languages: the "
                "language of each answer, as `de`."
            ),
            reference_urls=["https://aclanthology.org/2020.acl-main.653", "https://github.com/facebookresearch/MLQA"],
        )


def squad(text: str) -> str:
    """SQuAD v1.1's normal form: lower case, no ASCII punctuation, no a, an, the; one blank between tokens."""
    kept = "".join(c for c in text.lower() if c not in _ASCII_PUNCTUATION)
    return " ".join(re.sub(_ARTICLES["en"] or "", " ", kept).split())


@cache
def mlqa(language: str) -> Normalise:
    """MLQA's normal form for answers in `language`; in Chinese each ideograph is a token of its own.

    All Unicode punctuation goes, so the form depends on the interpreter's Unicode tables. Raises UsageError for a
    language that MLQA does not have.
    """
    if language not in _ARTICLES:
        raise unknown("language of MLQA", language, MLQA_LANGUAGES)
    articles = re.compile(_ARTICLES[language] or r"(?!)")

    def normalise(text: str) -> str:
        kept = "".join(c for c in text.lower() if c not in _ASCII_PUNCTUATION and unicodedata.category(c)[0] != "P")
        bare = articles.sub(" ", kept)
        parts = re.split(f"({_IDEOGRAPH.pattern})", bare) if language == "zh" else [bare]
        return " ".join(token for part in parts for token in part.split())

    return normalise


def normal_form(language: str) -> Normalise:
    """The normal form of answers in a language of MLQA: MLQA's where it has one, else SQuAD's."""
    return mlqa(language) if language in MLQA_LANGUAGES else squad


def score(prediction: str, references: Sequence[str], normalise: Normalise) -> AnswerScore:
    """The best of a prediction's scores against its references. Raises ValueError where there is none."""
    answer, golds = normalise(prediction), [normalise(reference) for reference in references]
    return AnswerScore(float(max(answer == gold for gold in golds)), max(_token_f1(answer, gold) for gold in golds))


def _token_f1(prediction: str, gold: str) -> float:
    """F1 of two bags of tokens; 0 where they share none."""
    predicted, expected = prediction.split(), gold.split()
    common = sum((Counter(predicted) & Counter(expected)).values())
    if not common:
        return 0.0
    precision, recall = common / len(predicted), common / len(expected)
    return 2 * precision * recall / (precision + recall)
