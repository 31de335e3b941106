"""Measures of two clouds of sentence vectors as means over pairs of translations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Features, Value
from evaluate import MetricInfo

from harness.evaluation.metrics import AdditiveMetric
from harness.statistics import Ratio
from tasks.families.geometry import SCALES


class GeometryMeasures(AdditiveMetric):
    """Retrieval (strong, weak, with CSLS), CKA, RSIM, a language probe, alignment, uniformity, mean cosine, isotropy,
    hubness. Those between 0 and 1 are in percent."""

    ratios = tuple(Ratio(name, {name: scale / 100}, {"items": 1}) for name, scale in SCALES.items())

    def _info(self) -> MetricInfo:
        return MetricInfo(
            description=str(GeometryMeasures.__doc__),
            citation=(
                "Roy et al. 2020 (strong retrieval); Conneau et al. 2018 (CSLS); Kornblith et al. 2019 (CKA); Vulić et "
                "al. 2020 (RSIM); Wang and Isola 2020 (alignment, uniformity); Mu and Viswanath 2018 (isotropy); "
                "Radovanović et al. 2010 (hubness)"
            ),
            features=Features({name: Value("float64") for name in SCALES}),
            inputs_description="For each measure the value of each pair, whose mean is the measure.",
        )

    def statistics(self, *args: Any, **measures: Sequence[float]) -> dict[str, np.ndarray]:
        columns = {name: np.asarray(values, dtype=np.float64) for name, values in measures.items()}
        return {**columns, "items": np.ones(len(next(iter(columns.values()))), dtype=np.int64)}
