"""Retrieval with the bare encoder: translations of queries, and translation pairs mined from two pools."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.evaluation.retrieval import best_threshold, distinct, mine, nearest, repeated
from harness.evaluation.strong_alignment import mine_strong, rivals
from harness.modeling.encoder import Encoder, States
from harness.modeling.packing import PackedText
from harness.records import PoolSentence, Record
from harness.task import Statistics, Task, TaskSettings
from harness.training.finetuning import sweep
from tasks.families.trained import clusters, fitting, matched, withheld
from tasks.metrics import accuracy, f1_scores


class Sides(NamedTuple):
    """The two sides of a pool: foreign sentences and those of the pivot language."""

    source: list[PoolSentence]
    target: list[PoolSentence]

    @classmethod
    def of(cls, records: Sequence[Any]) -> Sides:
        pools: dict[str, list[PoolSentence]] = {"source": [], "target": []}
        for record in records:
            pools[record.side].append(record)
        return cls(**pools)


class Vectors:
    """The embedding of every distinct sentence of a sweep, so that pools which share sentences share the work.

    All of them stay on the host; those of one pool are searched where the encoder lies.
    """

    def __init__(self, texts: Sequence[str], vectors: Tensor, device: torch.device) -> None:
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors, self._device = vectors, device

    def of(self, sentences: Sequence[PoolSentence]) -> Tensor:
        """(n, H)."""
        rows = torch.tensor([self._rows[s.text] for s in sentences], dtype=torch.int64)
        return self._vectors[rows].to(self._device)


def embed(encoder: Encoder, texts: Sequence[str], settings: TaskSettings, precision: str) -> Tensor:
    """(n, H) float32 embeddings, running only the layers that are needed."""
    layer = layer_of(encoder, settings)
    encoded = encoder.tokenizer.encode(texts, fitting(encoder, settings).max_length)
    vectors = torch.zeros(len(texts), encoder.width)

    def forward(text: PackedText) -> Tensor:
        states: States = encoder(text, layers=(layer,))
        return states.mean(layer) if settings.pooling == "mean" else states.cls(layer)

    for swept in sweep(encoder, forward, encoded.ids, precision=precision):
        vectors[swept.rows] = swept.output
    return vectors


def layer_of(encoder: Encoder, settings: TaskSettings) -> int:
    """The layer that embeddings come from: as set, else the one at two thirds of the depth (8 of 12)."""
    return max(1, round(encoder.depth * 8 / 12)) if settings.layer is None else encoder.layer(settings.layer)


class PoolTask(Task):
    """What both retrieval tasks share: one sweep over the distinct sentences of all views."""

    def build(self, encoder: Encoder, settings: TaskSettings) -> Encoder:
        if settings.pooling not in ("mean", "cls"):
            raise UserError(f"unknown pooling {settings.pooling!r}", expected="mean, cls")
        return encoder

    def predict(
        self,
        model: nn.Module,
        views: Mapping[str, Sequence[Record]],
        settings: TaskSettings,
        *,
        precision: str = "fp32",
    ) -> dict[str, list[Any]]:
        encoder = cast(Encoder, model).eval()
        texts = list(dict.fromkeys(cast(PoolSentence, r).text for records in views.values() for r in records))
        vectors = Vectors(texts, embed(encoder, texts, settings, precision), encoder.input_embeddings.device)
        return {view: self.search(Sides.of(records), vectors, settings) for view, records in views.items()}

    def vectors(
        self, encoder: Encoder, texts: Sequence[str], settings: TaskSettings, *, precision: str = "fp32"
    ) -> Tensor:
        """(n, H) float32 embeddings, as the search compares them."""
        return embed(encoder, texts, settings, precision)

    @abstractmethod
    def search(self, sides: Sides, vectors: Vectors, settings: TaskSettings) -> list[Any]:
        """The predictions for one pool."""


class TranslationSearch(PoolTask):
    """For each pivot sentence, in order, the id of the nearest foreign one by cosine.

    With `strong` a prediction is [that id, the id of the nearest other pivot sentence if it lies nearer, else ""].
    """

    def search(self, sides: Sides, vectors: Vectors, settings: TaskSettings) -> list[Any]:
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
            correct[row] = str(predicted[0] if isinstance(predicted, list) else predicted).strip() in _partners(
                self.spec.name, query
            )
        columns = {"correct": correct, "items": np.ones_like(correct)}
        if any(isinstance(predicted, list) for predicted in predictions):
            columns["strong"] = correct * np.asarray([not rival for _, rival in predictions], dtype=np.int64)
        return Statistics(tuple(q.id for q in queries), clusters(queries), columns)

    def metric(self, sums: Mapping[str, float]) -> dict[str, float]:
        strong = {"strong_accuracy": accuracy(sums["strong"], sums["items"])} if "strong" in sums else {}
        return {"accuracy": accuracy(sums["correct"], sums["items"]), **strong}


class BitextMining(PoolTask):
    """Candidates [score, source id, target id], best first; pairs above a threshold tuned on dev are the answer.

    With `strong` each of them says in the end whether it is a strong pair; the threshold is the plain figure's.
    """

    def search(self, sides: Sides, vectors: Vectors, settings: TaskSettings) -> list[Any]:
        """Each distinct sentence is mined once; candidates with one that occurs twice in its pool are left out."""
        kept, alone = [], []
        for side in sides:
            texts = [s.text for s in side]
            rows = distinct(texts).rows
            kept.append([side[row] for row in rows])
            alone.append(~repeated(texts)[rows])
        (x, y), (x_alone, y_alone) = kept, alone
        how: Any = {"k": settings.neighbours, "margin": settings.margin}
        if settings.strong:
            mined, strong = mine_strong(vectors.of(x), vectors.of(y), **how)
            told = [[int(flag)] for flag in strong]
        else:
            mined = mine(vectors.of(x), vectors.of(y), **how)
            told = [[] for _ in mined.scores]
        found = zip(*(part.tolist() for part in mined), told, strict=True)
        return [[score, x[i].id, y[j].id, *more] for score, i, j, more in found if x_alone[i] and y_alone[j]]

    def calibrate(self, predictions: list[Any], records: Sequence[Any]) -> dict[str, float]:
        gold = self._gold(records)
        correct = [(source, target) in gold for _, source, target, *_ in predictions]
        return {"threshold": best_threshold([score for score, *_ in predictions], correct, len(gold)).threshold}

    def decide(self, predictions: list[Any], calibration: Mapping[str, float]) -> list[Any]:
        return [pair for score, *pair in predictions if score >= calibration["threshold"]]

    def statistics(self, predictions: list[Any], records: Sequence[Any]) -> Statistics:
        """Columns `tp`, `pred`, `gold` of pairs, per source sentence; a pair that comes twice counts once.

        `strong` counts the strong pairs among `tp`, where the predictions tell of it.
        """
        sources = Sides.of(records).source
        row_of = {sentence.id: row for row, sentence in enumerate(sources)}
        gold = self._gold(records)
        columns = {name: np.zeros(len(sources), dtype=np.int64) for name in ("tp", "pred", "gold")}
        for source, _ in gold:
            columns["gold"][row_of[source]] += 1
        if any(len(pair) > 2 for pair in predictions):
            columns["strong"] = np.zeros(len(sources), dtype=np.int64)
        for source, target, *strong in {(str(s), str(t), *more) for s, t, *more in predictions}:
            if source not in row_of:
                raise UserError(
                    f"{self.spec.name}: a predicted pair names no sentence of the pool",
                    found=repr(source),
                    expected="the id of a foreign sentence first, then that of its translation",
                )
            columns["pred"][row_of[source]] += 1
            columns["tp"][row_of[source]] += (source, target) in gold
            if strong:
                columns["strong"][row_of[source]] += (source, target) in gold and bool(strong[0])
        return Statistics(tuple(s.id for s in sources), clusters(sources), columns)

    def metric(self, sums: Mapping[str, float]) -> dict[str, float]:
        scores = f1_scores(sums["tp"], sums["pred"], sums["gold"])
        if "strong" in sums:  # what else was found still counts as found
            scores["strong_f1"] = f1_scores(sums["strong"], sums["pred"], sums["gold"])["f1"]
        return scores

    def _gold(self, records: Sequence[Any]) -> set[tuple[str, str]]:
        sources = Sides.of(records).source
        return {(s.id, partner) for s in sources for partner in _partners(self.spec.name, s)}


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


def _partners(name: str, sentence: PoolSentence) -> tuple[str, ...]:
    if sentence.partners is None:
        raise withheld(name, sentence.id)
    return sentence.partners
