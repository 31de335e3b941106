"""Measures of aligned clouds: against definitions written out, and their standard errors against a real jackknife."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from harness.evaluation.geometry import csls, linearise, measure_pairs
from harness.evaluation.intrinsic import linear_cka
from tasks.families.geometry import SCALES

N, H = 14, 5


@pytest.fixture(scope="module")
def sides() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, H, generator=generator, dtype=torch.float64)
    return x, x + 0.7 * torch.randn(N, H, generator=generator, dtype=torch.float64) + 0.3


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True)


def rsim(x: Tensor, y: Tensor) -> float:
    above = np.triu_indices(len(x), 1)
    a, b = ((unit(side) @ unit(side).T).numpy()[above] for side in (x, y))
    return float(stats.pearsonr(a, b)[0])


def uniformity(x: Tensor, y: Tensor) -> float:
    def within(side: Tensor) -> float:
        distances = torch.pdist(unit(side)) ** 2
        return float(torch.exp(-2 * distances).mean().log())

    return (within(x) + within(y)) / 2


def mean_cosine(x: Tensor, y: Tensor) -> float:
    above = np.triu_indices(len(x), 1)
    return float(np.mean([(unit(side) @ unit(side).T).numpy()[above].mean() for side in (x, y)]))


DEFINITIONS: dict[str, Callable[[Tensor, Tensor], float]] = {
    "cka": linear_cka,
    "rsim": rsim,
    "uniformity": uniformity,
    "mean_cosine": mean_cosine,
    "alignment": lambda x, y: float((unit(x) - unit(y)).square().sum(1).mean()),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_mean_is_the_measure_and_values_are_those_of_the_jackknife(name: str, sides: tuple[Tensor, Tensor]) -> None:
    x, y = sides
    values = measure_pairs(x, y)[name]
    assert float(values.mean()) == pytest.approx(DEFINITIONS[name](x, y), abs=1e-12)
    kept = [torch.arange(N) != i for i in range(N)]
    without = torch.tensor([DEFINITIONS[name](x[k], y[k]) for k in kept], dtype=torch.float64)
    expected = linearise(torch.tensor(DEFINITIONS[name](x, y), dtype=torch.float64), without)
    assert values.numpy() == pytest.approx(expected.numpy(), abs=1e-9)


def test_isotropy_is_the_ratio_of_partition_functions(sides: tuple[Tensor, Tensor]) -> None:
    x, y = sides

    def isotropy(v: np.ndarray) -> float:
        directions = np.linalg.eigh(v.T @ v)[1]
        sums = np.exp(v @ np.hstack([directions, -directions])).sum(0)
        return float(sums.min() / sums.max())

    expected = (isotropy(x.numpy()) + isotropy(y.numpy())) / 2
    assert float(measure_pairs(x, y)["isotropy"].mean()) == pytest.approx(expected)


def test_hubness_is_the_skewness_of_neighbour_counts() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(60, H, generator=generator, dtype=torch.float64) for _ in range(2))

    def skew(cosines: np.ndarray) -> float:
        nearest = np.argsort(-cosines, axis=1)[:, :10]
        return float(stats.skew(np.bincount(nearest.ravel(), minlength=60)))

    cosines = (unit(x) @ unit(y).T).numpy()
    assert float(measure_pairs(x, y)["hubness"].mean()) == pytest.approx((skew(cosines) + skew(cosines.T)) / 2)


def test_equal_clouds_are_aligned_and_strangers_are_not(sides: tuple[Tensor, Tensor]) -> None:
    x, _ = sides
    same = {name: float(values.mean()) for name, values in measure_pairs(x, x).items()}
    assert same["cka"] == pytest.approx(1)
    assert same["rsim"] == pytest.approx(1)
    assert same["alignment"] == pytest.approx(0)
    assert same["strong_retrieval"] == same["weak_retrieval"] == 1
    assert same["language_probe"] == pytest.approx(0.5, abs=0.01)
    moved = measure_pairs(x, x + 50 * torch.eye(H, dtype=torch.float64)[0])
    assert float(moved["language_probe"].mean()) == 1
    assert float(moved["strong_retrieval"].mean()) < 0.5, "sentences of one language are nearer than translations"
    assert moved.keys() == SCALES.keys()


def test_a_constant_cloud_gives_finite_measures() -> None:
    values = measure_pairs(torch.ones(5, 3), torch.ones(5, 3))
    assert all(bool(each.isfinite().all()) for each in values.values())
    assert float(values["weak_retrieval"].mean()) == 0, "ties are no hits"


def test_csls_lowers_hubs() -> None:
    cosines = torch.tensor([[0.9, 0.8], [0.9, 0.7]])
    assert csls(cosines).tolist() == pytest.approx(
        [pytest.approx([1.8 - 0.85 - 0.9, 1.6 - 0.85 - 0.75]), pytest.approx([1.8 - 0.8 - 0.9, 1.4 - 0.8 - 0.75])]
    )
