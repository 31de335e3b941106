"""Bitext retrieval: for each pivot sentence the nearest foreign one by cosine, with the bare encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from harness.evaluation.retrieval import distinct, nearest
from harness.evaluation.strong_alignment import rivals
from harness.records import PoolSentence
from harness.task import Statistics
from tasks.families.pools import BitextTask, PoolSettings, Sides, Vectors, partners_of
from tasks.families.trained import clusters, matched
from tasks.metrics import accuracy


class BitextRetrieval(BitextTask):
    """For each pivot sentence, in order, the id of the nearest foreign one by cosine.

    With `strong` a prediction is [that id, the id of the nearest other pivot sentence if it lies nearer, else ""].
    """

    def search(self, sides: Sides, vectors: Vectors, settings: PoolSettings) -> list[Any]:
        if not sides.source:
            return []
        found = nearest(vectors.of(sides.target), vectors.of(sides.source), k=1)
        ids = [sides.source[row].id for row in found.indices[:, 0].tolist()]
        if not settings.strong:
            return ids
        rival = _pivot_rivals(sides.target, vectors)
        scores = found.scores[:, 0].tolist()
        return [[i, r.id if r.score > score else ""] for i, score, r in zip(ids, scores, rival, strict=True)]

    def statistics(self, predictions: list[Any], records: Sequence[Any]) -> Statistics:
        """Columns `correct` and `items` (1 each), per pivot sentence; `strong` where the predictions tell of it."""
        queries = Sides.of(records).target
        matched(self.spec.name, predictions, queries)
        correct = np.zeros(len(queries), dtype=np.int64)
        for row, (predicted, query) in enumerate(zip(predictions, queries, strict=True)):
            correct[row] = str(predicted[0] if isinstance(predicted, list) else predicted).strip() in partners_of(
                self.spec.name, query
            )
        columns = {"correct": correct, "items": np.ones_like(correct)}
        if any(isinstance(predicted, list) for predicted in predictions):
            columns["strong"] = correct * np.asarray([not rival for _, rival in predictions], dtype=np.int64)
        return Statistics(tuple(q.id for q in queries), clusters(queries), columns)

    def metric(self, sums: Mapping[str, float]) -> dict[str, float]:
        strong = {"strong_accuracy": accuracy(sums["strong"], sums["items"])} if "strong" in sums else {}
        return {"accuracy": accuracy(sums["correct"], sums["items"]), **strong}


class Rival(NamedTuple):
    """The other sentence of the same language that lies nearest, and its cosine."""

    score: float
    id: str


def _pivot_rivals(pivot: Sequence[PoolSentence], vectors: Vectors) -> list[Rival]:
    """For each pivot sentence the nearest one with another text."""
    texts, rows = distinct([sentence.text for sentence in pivot])
    place = {text: number for number, text in enumerate(texts)}
    alone = [pivot[row] for row in rows]
    found = rivals(vectors.of(alone))
    if not found.scores.shape[1]:
        return [Rival(-np.inf, "") for _ in pivot]
    best = [Rival(float(s), alone[i].id) for s, i in zip(found.scores[:, 0], found.indices[:, 0], strict=True)]
    return [best[place[sentence.text]] for sentence in pivot]
