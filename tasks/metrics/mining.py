"""F1 of mined translation pairs, as BUCC 2018 scores them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from datasets import Features, List, Value
from evaluate import MetricInfo

from harness.evaluation.metrics import AdditiveMetric
from harness.statistics import Ratio
from tasks.metrics.ratios import F1

TARGETS = List(Value("string"))
BUCC = (
    'Zweigenbaum, Sharoff and Rapp, "Overview of the Third BUCC Shared Task: Spotting Parallel Sentences in Comparable '
    'Corpora", BUCC 2018'
)


class MiningScores(NamedTuple):
    """Precision, recall and F1 in percent."""

    precision: float
    recall: float
    f1: float


class MiningF1(AdditiveMetric):
    """F1, precision and recall of mined translation pairs, in percent. A pair that is predicted twice counts once."""

    ratios = F1

    def _info(self) -> MetricInfo:
        return MetricInfo(
            description=str(MiningF1.__doc__),
            citation=BUCC,
            features=Features({"predictions": TARGETS, "references": TARGETS}),
            inputs_description=(
                "One entry per source sentence. predictions: the ids of the target sentences paired with it. "
                "references: the ids of its translations."
            ),
            reference_urls=["https://comparable.limsi.fr/bucc2018"],
        )

    def statistics(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> dict[str, np.ndarray]:
        return _counts("tp", predictions, predictions, references)

    def _compute(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, float]:
        predicted, gold = (
            {(source, target) for source, targets in enumerate(side) for target in targets}
            for side in (predictions, references)
        )
        return bucc_scores(predicted, gold)._asdict()


class StrongMiningF1(AdditiveMetric):
    """F1 in which only strong pairs count as correct, in percent.

    A pair is strong if no sentence of either side's own language has a higher margin; see
    harness/evaluation/strong_alignment.py.
    """

    ratios = (Ratio("strong_f1", {"strong": 2}, {"pred": 1, "gold": 1}, empty=0.0),)

    def _info(self) -> MetricInfo:
        return MetricInfo(
            description=str(StrongMiningF1.__doc__),
            citation='Roy et al., "LAReQA", EMNLP 2020 (strong alignment); ' + BUCC,
            features=Features({"predictions": TARGETS, "references": TARGETS, "strong": TARGETS}),
            inputs_description="predictions, references: as for MiningF1. strong: those predictions that are strong.",
            reference_urls=["https://aclanthology.org/2020.emnlp-main.477"],
        )

    def statistics(
        self,
        predictions: Sequence[Sequence[str]],
        references: Sequence[Sequence[str]],
        strong: Sequence[Sequence[str]],
    ) -> dict[str, np.ndarray]:
        return _counts("strong", strong, predictions, references)


def bucc_scores(predicted: Collection[Hashable], gold: Collection[Hashable]) -> MiningScores:
    """Scores of predicted pairs against gold pairs as sets: a repeated pair counts once, no correct pair gives 0.

    The pairs may be (source, target) ids or whole lines of the two files.
    """
    predictions, truth = set(predicted), set(gold)
    correct = len(predictions & truth)
    if not correct:
        return MiningScores(0.0, 0.0, 0.0)
    precision, recall = correct / len(predictions), correct / len(truth)
    return MiningScores(100 * precision, 100 * recall, 100 * 2 * precision * recall / (precision + recall))


def _counts(
    name: str, found: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> dict[str, np.ndarray]:
    """Per source sentence: correct pairs among `found` (the column `name`), predicted pairs, gold pairs."""
    rows = zip(found, predicted, gold, strict=True)
    counts = [(len({*f} & {*g}), len({*p}), len({*g})) for f, p, g in rows]
    columns = np.asarray(counts, dtype=np.int64).reshape(-1, 3).T
    return dict(zip((name, "pred", "gold"), columns, strict=True))
