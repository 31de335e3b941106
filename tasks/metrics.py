"""Metrics as pure functions: accuracy and F1 from summed counts, and spans of tags as seqeval reads them.

XTREME scores both tagging tasks with seqeval's span F1 and does not pin its version; on entity tags all versions agree,
on part-of-speech tags they do not (see docs/protocol.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

SEQEVAL_1_2_2 = "seqeval-1.2.2"
SEQEVAL_0_0_12 = "seqeval-0.0.12"


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


def accuracy(correct: float, items: float) -> float:
    """Percent correct. Raises ZeroDivisionError without items."""
    return 100.0 * correct / items


def f1_scores(tp: float, pred: float, gold: float) -> dict[str, float]:
    """Micro F1, precision and recall in percent; 0 where nothing is correct."""
    precision, recall = (tp / n if n else 0.0 for n in (pred, gold))
    f1 = 2 * precision * recall / (precision + recall) if tp else 0.0
    return {"f1": 100.0 * f1, "precision": 100.0 * precision, "recall": 100.0 * recall}


def tag_spans(sentences: Sequence[Sequence[str]], scheme: str) -> list[list[TagSpan]]:
    """The spans of tagged sentences, each listed under the sentence in which it ends.

    A tag is a prefix (its first letter, whatever it is) and a type. The type of a tag without a hyphen is what follows
    the first letter under "seqeval-1.2.2" ("_" where nothing does), and the whole tag under "seqeval-0.0.12". As in
    seqeval, sentences are read as one sequence with an O after each, and a span begins where the last beginning was
    seen: under 1.2.2 a tag of type "_" that follows an O has none of its own and reaches back to that beginning.
    """
    type_of = TYPES[scheme]
    previous, previous_type = "O", ""
    begin = place = 0
    found: list[list[TagSpan]] = []
    for sentence in sentences:
        spans: list[TagSpan] = []
        for tag in (*sentence, "O"):
            prefix, type_ = tag[0], type_of(tag)
            if _ends(previous, prefix, previous_type != type_):
                spans.append(TagSpan(previous_type, begin, place - 1))
            if _begins(previous, prefix, previous_type != type_):
                begin = place
            previous, previous_type = prefix, type_
            place += 1
        found.append(spans)
    return found


def span_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: str) -> SpanCounts:
    """Per sentence: gold spans that were predicted too, predicted spans, gold spans. Equally many sentences."""
    truth, guess = tag_spans(gold, scheme), tag_spans(predicted, scheme)
    assert len(truth) == len(guess), "gold and predictions differ in the number of sentences"
    proposed = {span for spans in guess for span in spans}
    tp = [sum(span in proposed for span in spans) for spans in truth]
    return SpanCounts(*(np.asarray(n, dtype=np.int64) for n in (tp, [*map(len, guess)], [*map(len, truth)])))


def _after_first_letter(tag: str) -> str:
    return tag[1:].split("-", maxsplit=1)[-1] or "_"


def _after_last_hyphen(tag: str) -> str:
    return tag.rsplit("-", maxsplit=1)[-1]


TYPES: dict[str, Callable[[str], str]] = {SEQEVAL_1_2_2: _after_first_letter, SEQEVAL_0_0_12: _after_last_hyphen}


def _ends(previous: str, prefix: str, type_changes: bool) -> bool:
    """Whether a span that the previous tag was in ends before this tag."""
    if previous in "ES" or (previous in "BI" and prefix in "BSO"):
        return True
    return previous not in "O." and type_changes


def _begins(previous: str, prefix: str, type_changes: bool) -> bool:
    """Whether a span begins at this tag."""
    if prefix in "BS" or (prefix in "IE" and previous in "OES"):
        return True
    return prefix not in "O." and type_changes
