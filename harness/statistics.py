"""Additive statistics of items, and the scores that are ratios of their sums.

Statistics are columns with one row per item. Since they add up, any resampling of items is a matrix product, every
score has error bars, and a stored score can be computed again from the stored table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from harness.evaluation.metrics import AdditiveMetric

TOLERANCE = 1e-9  # percent; the largest difference between a computed score and the ratio of its sums


@dataclass(frozen=True)
class Statistics:
    """Additive statistics of predictions: `columns[name]` is (items,), aligned with `items` and `clusters`."""

    items: tuple[str, ...]
    clusters: tuple[str, ...]
    columns: Mapping[str, np.ndarray]

    def filled(self, names: Iterable[str]) -> Statistics:
        """With a column of zeros for each of `names` that is missing, as where a view has no predictions."""
        import numpy as np  # here, so that listing tasks imports nothing heavy

        empty = {name: np.zeros(len(self.items), dtype=np.int64) for name in names}
        return Statistics(self.items, self.clusters, {**empty, **self.columns})

    def sums(self) -> dict[str, float]:
        return {name: float(values.sum()) for name, values in self.columns.items()}


@dataclass(frozen=True)
class Ratio:
    """A score in percent: 100 times the sum of `numerator` over the sum of `denominator`.

    Both are weighted columns of statistics: F1 is `{"tp": 2}` over `{"pred": 1, "gold": 1}`. Ratios are stored with the
    statistics, so that error bars need no code of the task. `empty` is the score where the denominator is 0; None
    raises ZeroDivisionError there.
    """

    name: str
    numerator: Mapping[str, float]
    denominator: Mapping[str, float]
    empty: float | None = None

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(self.numerator) | frozenset(self.denominator)

    def parts(self, columns: Any) -> tuple[Any, Any]:
        """Numerator and denominator: numbers from a mapping of sums, one per item from a table of statistics."""
        above, below = (
            sum(weight * columns[name] for name, weight in part.items()) for part in (self.numerator, self.denominator)
        )
        return above, below

    def value(self, sums: Mapping[str, float]) -> float:
        above, below = self.parts(sums)
        return self.empty if self.empty is not None and not below else 100.0 * above / below


class MetricInputs(NamedTuple):
    """What a task's metrics read: the ids and clusters of the items, and columns by the names of metrics' features."""

    items: tuple[str, ...]
    clusters: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]

    def select(self, metrics: Iterable[AdditiveMetric]) -> list[tuple[AdditiveMetric, dict[str, Sequence[Any]]]]:
        """Each metric whose columns are all there, with these columns."""
        return [
            (metric, {name: self.columns[name] for name in metric.features})
            for metric in metrics
            if metric.features.keys() <= self.columns.keys()
        ]
