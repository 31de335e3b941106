"""Accuracy: of labels, and of retrieved sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from datasets import Features, List, Value
from evaluate import MetricInfo

from harness.evaluation.metrics import AdditiveMetric
from harness.statistics import Ratio
from tasks.metrics.ratios import ACCURACY, XTREME, XTREME_URL


class Accuracy(AdditiveMetric):
    """Percent of predicted labels that equal their reference. Blanks around them do not count."""

    ratios = (ACCURACY,)

    def _info(self) -> MetricInfo:
        return MetricInfo(
            description=str(Accuracy.__doc__),
            citation=XTREME,
            features=Features({"predictions": Value("string"), "references": Value("string")}),
            inputs_description="predictions: one label per item. references: the gold label of each item.",
            reference_urls=[XTREME_URL],
        )

    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
        return _columns(p.strip() == gold.strip() for p, gold in zip(predictions, references, strict=True))


class RetrievalAccuracy(AdditiveMetric):
    """Percent of queries for which a translation ranks first."""

    ratios = (ACCURACY,)

    def _info(self) -> MetricInfo:
        return MetricInfo(
            description=str(RetrievalAccuracy.__doc__),
            citation=XTREME,
            features=Features({"predictions": Value("string"), "references": List(Value("string"))}),
            inputs_description="predictions: the id that ranks first. references: the ids of all translations.",
            reference_urls=[XTREME_URL],
        )

    def statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
        return _columns(p in gold for p, gold in zip(predictions, references, strict=True))


class StrongRetrievalAccuracy(AdditiveMetric):
    """Percent of queries whose translation ranks first among the sentences of both languages.

    Plain retrieval searches the other language alone; see harness/evaluation/strong_alignment.py.
    """

    ratios = (Ratio("strong_accuracy", {"strong": 1}, {"items": 1}),)

    def _info(self) -> MetricInfo:
        inputs = {"predictions": Value("string"), "references": List(Value("string")), "rivals": Value("string")}
        return MetricInfo(
            description=str(StrongRetrievalAccuracy.__doc__),
            citation=('Roy et al., "LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool", EMNLP 2020'),
            features=Features(inputs),
            inputs_description=(
                "predictions, references: as for RetrievalAccuracy. rivals: the id of a sentence of the query's own "
                "language that is nearer than the prediction, or an empty string."
            ),
            reference_urls=["https://aclanthology.org/2020.emnlp-main.477"],
        )

    def statistics(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]], rivals: Sequence[str]
    ) -> dict[str, np.ndarray]:
        rows = zip(predictions, references, rivals, strict=True)
        columns = _columns(p in gold and not rival for p, gold, rival in rows)
        return {"strong": columns["correct"], "items": columns["items"]}


def _columns(right: Iterable[bool]) -> dict[str, np.ndarray]:
    correct = np.fromiter(right, dtype=np.int64)
    return {"correct": correct, "items": np.ones_like(correct)}
