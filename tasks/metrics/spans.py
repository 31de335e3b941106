"""Span F1 of tagged sentences, for named entities and parts of speech. The `seqeval` package finds the spans.

XTREME scores both tagging tasks with seqeval's span F1 and does not pin its version. On entity tags all versions agree,
on part-of-speech tags they do not (see docs/protocol.md), so the rule of either version can be chosen.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from datasets import Features, List, Value
from evaluate import MetricInfo
from seqeval.metrics import accuracy_score
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support

from harness.errors import unknown
from harness.evaluation.metrics import AdditiveMetric
from harness.statistics import Ratio
from tasks.metrics.ratios import F1, XTREME_URL

SEQEVAL_1_2_2 = "seqeval-1.2.2"
SEQEVAL_0_0_12 = "seqeval-0.0.12"
Tags = Sequence[Sequence[str]]


class TagSpan(NamedTuple):
    """A span of equal type, `start` and `end` (inclusive) counted over all sentences, one step between sentences."""

    type: str
    start: int
    end: int


class SpanCounts(NamedTuple):
    """Correct, predicted and gold spans, each (sentences,)."""

    tp: np.ndarray
    pred: np.ndarray
    gold: np.ndarray


class SpanF1(AdditiveMetric):
    """Micro F1, precision and recall over spans of equal type, and token accuracy, in percent.

    `SpanF1("seqeval-0.0.12")` reads spans as that version does; the default is "seqeval-1.2.2".
    """

    ratios = (*F1, Ratio("accuracy", {"correct": 1}, {"words": 1}))

    def _info(self) -> MetricInfo:
        tags = List(Value("string"))
        return MetricInfo(
            description=str(SpanF1.__doc__),
            citation='Nakayama, "seqeval: A Python framework for sequence labeling evaluation", 2018',
            features=Features({"predictions": tags, "references": tags}),
            inputs_description="predictions: one tag per word of each sentence. references: the gold tags.",
            reference_urls=["https://github.com/chakki-works/seqeval", XTREME_URL],
        )

    @property
    def scheme(self) -> str:
        """The version of seqeval whose rule is used."""
        return SEQEVAL_1_2_2 if self.config_name == "default" else self.config_name

    def statistics(self, predictions: Tags, references: Tags) -> dict[str, np.ndarray]:
        pairs = zip(predictions, references, strict=True)
        correct = [sum(p == gold for p, gold in zip(*pair, strict=True)) for pair in pairs]
        return {
            **span_counts(references, predictions, self.scheme)._asdict(),
            "correct": np.asarray(correct, dtype=np.int64),
            "words": np.asarray([len(sentence) for sentence in references], dtype=np.int64),
        }

    def _compute(self, predictions: Tags, references: Tags) -> dict[str, float]:
        sides = ([_one_sequence(side, self.scheme)] for side in (references, predictions))
        with warnings.catch_warnings(action="ignore"):  # seqeval expects IOB tags
            precision, recall, f1, _ = precision_recall_fscore_support(*sides, average="micro", zero_division=0)
        accuracy = accuracy_score([[*s] for s in references], [[*s] for s in predictions])
        scores = {"f1": f1, "precision": precision, "recall": recall, "accuracy": accuracy}
        return {name: 100 * float(value) for name, value in scores.items()}


def tag_spans(sentences: Tags, scheme: str) -> list[list[TagSpan]]:
    """The spans of tagged sentences, each listed under the sentence in which it ends.

    A tag is a prefix (its first letter, whatever it is) and a type. The type of a tag without a hyphen is what follows
    the first letter under "seqeval-1.2.2" ("_" where nothing does), and the whole tag under "seqeval-0.0.12". As in
    seqeval, sentences are read as one sequence with an O after each, and a span begins where the last beginning was
    seen: under 1.2.2 a tag of type "_" that follows an O has none of its own and reaches back to that beginning.
    """
    with warnings.catch_warnings(action="ignore"):  # seqeval expects IOB tags
        entities = get_entities(_one_sequence(sentences, scheme))
    spans = [TagSpan(kind.removeprefix(_MARK), start, end) for kind, start, end in entities]
    last = np.cumsum([len(sentence) + 1 for sentence in sentences], dtype=np.int64)  # one past the O of each
    by_sentence: list[list[TagSpan]] = [[] for _ in sentences]
    for span, sentence in zip(spans, np.searchsorted(last, [span.end for span in spans], side="right"), strict=True):
        by_sentence[sentence].append(span)
    return by_sentence


def span_counts(gold: Tags, predicted: Tags, scheme: str) -> SpanCounts:
    """Per sentence: gold spans that were predicted too, predicted spans, gold spans. Equally many sentences."""
    truth, guess = tag_spans(gold, scheme), tag_spans(predicted, scheme)
    assert len(truth) == len(guess), "gold and predictions differ in the number of sentences"
    proposed = {span for spans in guess for span in spans}
    tp = [sum(span in proposed for span in spans) for spans in truth]
    return SpanCounts(*(np.asarray(n, dtype=np.int64) for n in (tp, [*map(len, guess)], [*map(len, truth)])))


_MARK = "\0"  # keeps seqeval 1.2.2 from changing a type of version 0.0.12


def _one_sequence(sentences: Tags, scheme: str) -> list[str]:
    """The tags of all sentences with an O after each, written so that seqeval 1.2.2 gives the spans of `scheme`.

    The versions differ in the type alone: 0.0.12 takes what follows the last hyphen, or the whole tag.
    """
    tags = [tag for sentence in sentences for tag in (*sentence, "O")]
    if scheme == SEQEVAL_1_2_2:
        return tags
    if scheme != SEQEVAL_0_0_12:
        raise unknown("version of seqeval", scheme, (SEQEVAL_1_2_2, SEQEVAL_0_0_12))
    return [f"{tag[0]}-{_MARK}{tag.rpartition('-')[2]}" for tag in tags]
