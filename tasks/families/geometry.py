"""The geometry of sentence vectors: nothing is trained, and each measure is a mean over pairs of translations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from harness.errors import GoldFault
from harness.records import PoolSentence
from harness.statistics import MetricInputs
from harness.task import Example, Family, TaskSettings
from tasks.families.pools import BitextTask, PoolSettings, PoolSides
from tasks.families.trained import check_lengths, cluster_ids

if TYPE_CHECKING:
    from harness.evaluation.metrics import AdditiveMetric
    from tasks.families.embeddings import Vectors

SCALES = {  # measure -> what a value of 1 is shown as: percent, or the plain number
    "strong_retrieval": 100.0,
    "weak_retrieval": 100.0,
    "csls_retrieval": 100.0,
    "cka": 100.0,
    "rsim": 100.0,
    "language_probe": 100.0,
    "alignment": 1.0,
    "uniformity": 1.0,
    "uniformity_across": 1.0,
    "mean_cosine": 100.0,
    "isotropy": 100.0,
    "hubness": 1.0,
}
MOST_PAIRS = 2000  # of a language: cosines of all pairs are held at once
FEWEST_PAIRS = 3


@dataclass(frozen=True)
class GeometrySettings(PoolSettings):
    """As for other pools, but both kinds of alignment are measured in any case."""

    strong: Literal[False] = False


class _Pair(NamedTuple):
    foreign: PoolSentence
    pivot: PoolSentence


class SentenceGeometry(BitextTask):
    """A prediction is, for each pivot sentence with a translation, its value in every measure of
    `harness.evaluation.geometry`, in the order of `SCALES`; at most the first `MOST_PAIRS` are measured."""

    family: ClassVar[Family] = Family(
        "geometry",
        PoolSentence,
        "Nothing is trained: the vectors of sentences and of their translations are compared as two clouds.",
        trained=False,
    )
    Settings: ClassVar[type[TaskSettings]] = GeometrySettings

    def search(self, sides: PoolSides, vectors: Vectors, settings: PoolSettings) -> list[Any]:
        from harness.evaluation.geometry import measure_pairs

        pairs = _pairs(sides)
        x, y = (vectors.of(list(side)) for side in zip(*pairs, strict=True))
        found = measure_pairs(x, y)
        columns = [found[name].tolist() for name in SCALES]
        return [list(values) for values in zip(*columns, strict=True)]

    def gold_faults(self, records: Iterable[Any], split: str) -> Iterator[tuple[Any, GoldFault]]:
        pool = list(records)
        yield from super().gold_faults(pool, split)
        if (count := len(_pairs(PoolSides.of(pool)))) < FEWEST_PAIRS:
            remedy = "complete the data, or leave the language out"
            yield None, GoldFault("too few pairs of translations", f"{count}", f"at least {FEWEST_PAIRS}", remedy)

    def metrics(self) -> tuple[AdditiveMetric, ...]:
        from tasks.metrics.geometry import GeometryMeasures

        return (GeometryMeasures(),)

    def metric_inputs(self, predictions: list[Any], records: Sequence[Any]) -> MetricInputs:
        pivot = [pair.pivot for pair in _pairs(PoolSides.of(records))]
        check_lengths(self.spec.name, predictions, pivot)
        columns = {name: [float(values[at]) for values in predictions] for at, name in enumerate(SCALES)}
        return MetricInputs(tuple(one.id for one in pivot), cluster_ids(pivot), columns)

    def show(self, final: Sequence[Any], records: Sequence[Any]) -> Iterator[Example]:
        """Pivot sentences, each with its translation and what it adds to the measures."""
        for values, pair in zip(final, _pairs(PoolSides.of(records)), strict=True):
            parts = [f"{name} {SCALES[name] * value:.1f}" for name, value in zip(SCALES, values, strict=True)]
            yield Example(pair.pivot.id, pair.pivot.text, pair.foreign.text, ", ".join(parts))


def _pairs(sides: PoolSides) -> list[_Pair]:
    """The pivot sentences with a translation, in order, each with the first."""
    foreign = {sentence.id: sentence for sentence in sides.source}
    known = [sentence for sentence in sides.target if sentence.partners]
    return [_Pair(foreign[one.partners[0]], one) for one in known[:MOST_PAIRS] if one.partners]
