"""The metrics of the built-in tasks. Each is an `evaluate.Metric`, usable on its own; all scores are in percent.

    from tasks.metrics import SpanF1
    SpanF1().compute(predictions=[["O", "B-PER"]], references=[["O", "B-PER"]])

Importing this package imports `evaluate`, so tasks import it only where they score.
"""

from tasks.metrics.accuracy import Accuracy, RetrievalAccuracy, StrongRetrievalAccuracy
from tasks.metrics.answers import MlqaAnswers, SquadAnswers
from tasks.metrics.mining import MiningF1, StrongMiningF1, bucc_scores
from tasks.metrics.ratios import f1_scores
from tasks.metrics.spans import SEQEVAL_0_0_12, SEQEVAL_1_2_2, SpanCounts, SpanF1, TagSpan, span_counts, tag_spans

__all__ = [
    "SEQEVAL_0_0_12",
    "SEQEVAL_1_2_2",
    "Accuracy",
    "MiningF1",
    "MlqaAnswers",
    "RetrievalAccuracy",
    "SpanCounts",
    "SpanF1",
    "SquadAnswers",
    "StrongMiningF1",
    "StrongRetrievalAccuracy",
    "TagSpan",
    "bucc_scores",
    "f1_scores",
    "span_counts",
    "tag_spans",
]
