"""What the scores of several metrics are ratios of, and the citation that they share."""

from __future__ import annotations

from harness.statistics import Ratio

ACCURACY = Ratio("accuracy", {"correct": 1}, {"items": 1})
F1 = (  # of counts: true positives, predicted, gold; 0 where a denominator is 0
    Ratio("f1", {"tp": 2}, {"pred": 1, "gold": 1}, empty=0.0),
    Ratio("precision", {"tp": 1}, {"pred": 1}, empty=0.0),
    Ratio("recall", {"tp": 1}, {"gold": 1}, empty=0.0),
)
XTREME = (
    'Hu et al., "XTREME: A Massively Multilingual Multi-task Benchmark for Evaluating Cross-lingual Generalization", '
    "ICML 2020"
)
XTREME_URL = "https://github.com/google-research/xtreme"


def f1_scores(tp: float, pred: float, gold: float) -> dict[str, float]:
    """Micro F1, precision and recall in percent from true positives, predicted and gold; 0 where nothing is correct."""
    return {ratio.name: ratio.value({"tp": tp, "pred": pred, "gold": gold}) for ratio in F1}
