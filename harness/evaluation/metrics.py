"""The base class of every metric: an `evaluate.Metric` that also gives the additive statistics of each item."""

from __future__ import annotations

from typing import Any, ClassVar

import evaluate
import numpy as np

from harness.statistics import Ratio


class AdditiveMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric whose scores are ratios of sums over items, which gives every score its error bars.

    A subclass writes `_info` (description, citation, features) as any `evaluate.Metric` does, declares `ratios`, and
    implements `statistics`. `_compute` is by default the ratios of the sums; where a metric has a definition of its
    own, as a library's function, override it with that: scoring checks that both agree. Scores are in percent.

    Nothing is downloaded, and predictions stay in memory: `evaluate` writes cache files only with
    `keep_in_memory=False`.
    """

    ratios: ClassVar[tuple[Ratio, ...]]

    def __init__(self, config_name: str | None = None, keep_in_memory: bool = True, **options: Any) -> None:
        super().__init__(config_name, keep_in_memory=keep_in_memory, **options)

    def statistics(self, *args: Any, **inputs: Any) -> dict[str, np.ndarray]:
        """The columns that the ratios name, each (items,). The inputs are those of `compute`, by the same names."""
        raise NotImplementedError

    def _compute(self, *args: Any, **inputs: Any) -> dict[str, float]:
        sums = {name: float(column.sum()) for name, column in self.statistics(*args, **inputs).items()}
        return {ratio.name: ratio.value(sums) for ratio in self.ratios}

    def _build_data_dir(self) -> str:
        return "" if self.keep_in_memory else str(super()._build_data_dir())
