"""Word retrieval in context, and agreement of word links with gold ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Features, List, Value
from evaluate import MetricInfo

from harness.evaluation.metrics import AdditiveMetric
from harness.statistics import Ratio

LINKS = List(Value("string"))


class WordRetrieval(AdditiveMetric):
    """Percent of words whose translation ranks first, of both directions."""

    ratios = (Ratio("accuracy", {"correct": 1}, {"words": 1}, empty=0.0),)

    def _info(self) -> MetricInfo:
        return MetricInfo(
            description=str(WordRetrieval.__doc__),
            citation='Cao, Kitaev and Klein, "Multilingual Alignment of Contextual Word Representations", ICLR 2020',
            features=Features({"predictions": Value("int64"), "references": Value("int64")}),
            inputs_description="For each sentence pair the number of hits, and that of searches.",
        )

    def statistics(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, np.ndarray]:
        return {"correct": np.asarray(predictions, np.int64), "words": np.asarray(references, np.int64)}


class LinkAgreement(AdditiveMetric):
    """Agreement with gold word links in percent: 100 minus the alignment error rate, which is a score of its own;
    precision against possible links and recall of sure ones (Och and Ney 2003)."""

    ratios = (
        Ratio("agreement", {"in_sure": 1, "in_possible": 1}, {"links": 1, "sure": 1}, empty=100.0),
        Ratio("aer", {"links": 1, "sure": 1, "in_sure": -1, "in_possible": -1}, {"links": 1, "sure": 1}, empty=0.0),
        Ratio("precision", {"in_possible": 1}, {"links": 1}, empty=0.0),
        Ratio("recall", {"in_sure": 1}, {"sure": 1}, empty=0.0),
    )

    def _info(self) -> MetricInfo:
        return MetricInfo(
            description=str(LinkAgreement.__doc__),
            citation='Och and Ney, "A Systematic Comparison of Various Statistical Alignment Models", CL 2003',
            features=Features({"predictions": LINKS, "sure": LINKS, "possible": LINKS}),
            inputs_description="For each sentence pair links as texts i-j; sure links are possible too.",
        )

    def statistics(
        self, predictions: Sequence[Sequence[str]], sure: Sequence[Sequence[str]], possible: Sequence[Sequence[str]]
    ) -> dict[str, np.ndarray]:
        rows = [
            (len({*found}), len({*gold}), len({*found} & {*gold}), len({*found} & {*allowed}))
            for found, gold, allowed in zip(predictions, sure, possible, strict=True)
        ]
        columns = np.asarray(rows, dtype=np.int64).reshape(-1, 4).T
        return dict(zip(("links", "sure", "in_sure", "in_possible"), columns, strict=True))
