"""Bitext retrieval: for each pivot sentence the nearest foreign one by cosine, with the bare encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from harness.data.checked_file import CheckedFile
from harness.data.lines import shorten
from harness.errors import GoldFault, UserError
from harness.records import PoolSentence
from harness.statistics import MetricInputs
from harness.task import AlignedPredictions, Example, Family
from tasks.families.pools import BitextTask, PoolSettings, PoolSides, partners_of
from tasks.families.trained import check_lengths, cluster_ids

if TYPE_CHECKING:
    from harness.evaluation.metrics import AdditiveMetric
    from tasks.families.embeddings import Vectors


class BitextRetrieval(BitextTask):
    """For each pivot sentence, in order, the id of the nearest foreign one by cosine.

    With `strong` a prediction is [that id, the id of the nearest other pivot sentence if it lies nearer, else ""].
    A file has a line for each pivot sentence: the line number of the foreign sentence, counted from 0.
    """

    family: ClassVar[Family] = Family(
        "retrieval",
        PoolSentence,
        "Nothing is trained: sentences are vectors, the mean of the token states of one layer, and the translation of "
        "a sentence is the one with the highest cosine.",
        trained=False,
        embedded=True,
    )

    def search(self, sides: PoolSides, vectors: Vectors, settings: PoolSettings) -> list[Any]:
        from harness.evaluation.retrieval import nearest

        if not sides.source:
            return []
        found = nearest(vectors.of(sides.target), vectors.of(sides.source), k=1)
        ids = [sides.source[row].id for row in found.indices[:, 0].tolist()]
        if not settings.strong:
            return ids
        rival = _pivot_rivals(sides.target, vectors)
        scores = found.scores[:, 0].tolist()
        return [[i, r.id if r.score > score else ""] for i, score, r in zip(ids, scores, rival, strict=True)]

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics import RetrievalAccuracy, StrongRetrievalAccuracy

        return RetrievalAccuracy(), StrongRetrievalAccuracy()

    def metric_inputs(self, predictions: list[Any], records: Sequence[Any]) -> MetricInputs:
        """One item per pivot sentence; `rivals` where the predictions have them."""
        queries = PoolSides.of(records).target
        check_lengths(self.spec.name, predictions, queries)
        columns: dict[str, Sequence[Any]] = {
            "predictions": [_nearest_id(prediction) for prediction in predictions],
            "references": [partners_of(self.spec.name, query) for query in queries],
        }
        if any(isinstance(prediction, list) for prediction in predictions):
            columns["rivals"] = [str(rival) for _, rival in predictions]
        return MetricInputs(tuple(q.id for q in queries), cluster_ids(queries), columns)

    def show(self, final: Sequence[Any], records: Sequence[Any]) -> Iterator[Example]:
        """Pivot sentences, each with the foreign sentence that was found for it."""
        sides = PoolSides.of(records)
        texts = {sentence.id: sentence.text for sentence in sides.source}
        for prediction, query in zip(final, sides.target, strict=True):
            found = _nearest_id(prediction)
            gold = " | ".join(texts.get(name, name) for name in query.partners or ())
            yield Example(query.id, query.text, gold, texts.get(found, found))

    def item_fault(self, record: PoolSentence, split: str) -> GoldFault | None:
        if record.side == "target" and record.partners == ():
            return GoldFault("a query without a translation", shorten(record.id), "a translation in the pool")
        if not record.id:
            return GoldFault("an empty id", shorten(record.text), "an id, by which a sentence is retrieved")
        return super().item_fault(record, split)

    def read_gold(self, file: CheckedFile, view: str) -> Sequence[PoolSentence]:
        rows = enumerate(_line_numbers(file))
        return [PoolSentence(str(row), "target", "", (partner,)) for row, partner in rows]

    def read_predictions(self, file: CheckedFile, gold: Sequence[Any] | None) -> AlignedPredictions:
        numbers = _line_numbers(file)
        foreign = [record.id for record in gold or () if record.side == "source"]
        if gold is not None:
            file.check_length(len(numbers), len(gold) - len(foreign), "lines")
        if foreign and not file.problems:
            for line, number in enumerate(numbers, start=1):
                if len(number) > 9 or int(number) >= len(foreign):
                    what = f"{shorten(number)} is no line of the {len(foreign):,} foreign sentences, counted from 0"
                    file.report(line, what)
            if not file.problems:
                numbers = [foreign[int(number)] for number in numbers]
        return AlignedPredictions(numbers, gold or ())

    def format_predictions(self, final: Sequence[Any], records: Sequence[Any]) -> str:
        rows = {sentence.id: row for row, sentence in enumerate(PoolSides.of(records).source)}
        return "".join(f"{rows[_nearest_id(prediction)]}\n" for prediction in final)

    def format_gold(self, records: Sequence[Any]) -> str:
        """Raises UserError for a query that has not exactly one translation: a line of the file holds one."""
        queries = PoolSides.of(records).target
        for query in queries:
            if len(query.partners or ()) != 1:
                raise UserError(
                    f"{self.spec.name}: the gold of {shorten(query.id)} has no line in the official format",
                    found=f"{len(query.partners or ())} translations",
                    expected="one",
                )
        return self.format_predictions([partner for query in queries for partner in query.partners or ()], records)


def _nearest_id(prediction: Any) -> str:
    return str(prediction[0] if isinstance(prediction, (list, tuple)) else prediction)


def _line_numbers(file: CheckedFile) -> list[str]:
    numbers = file.column(lambda text: text.isascii() and text.isdigit(), "a line number")
    return [number.lstrip("0") or "0" for number in numbers]


class Rival(NamedTuple):
    """The other sentence of the same language that lies nearest, and its cosine."""

    score: float
    id: str


def _pivot_rivals(pivot: Sequence[PoolSentence], vectors: Vectors) -> list[Rival]:
    """For each pivot sentence the nearest one with another text."""
    from harness.evaluation.retrieval import distinct_lines
    from harness.evaluation.strong_alignment import rivals

    texts, rows = distinct_lines([sentence.text for sentence in pivot])
    place = {text: number for number, text in enumerate(texts)}
    alone = [pivot[row] for row in rows]
    found = rivals(vectors.of(alone))
    if not found.scores.shape[1]:
        return [Rival(-np.inf, "") for _ in pivot]
    best = [Rival(float(s), alone[i].id) for s, i in zip(found.scores[:, 0], found.indices[:, 0], strict=True)]
    return [best[place[sentence.text]] for sentence in pivot]
