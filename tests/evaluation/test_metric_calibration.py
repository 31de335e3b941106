"""How often verdicts on simulated test sets are wrong, by metric: accuracy, F1, exact match, mining and retrieval."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy import special, stats

from harness.evaluation import statistics
from harness.evaluation.statistics import Difference, Differences

METRICS = ("accuracy", "f1", "exact match", "mining", "retrieval")
DRAWS = {3: 10_000, 5: 2500, 10: 2500}  # by seeds: with three, the error rate is close to its bound
RANKED = 300


class SimulatedScores(NamedTuple):
    """Numerators and denominators (D, K, S, I) of the scores of K methods under S seeds in D draws, with the cluster
    and the view of each item (I,)."""

    above: np.ndarray
    below: np.ndarray
    clusters: np.ndarray
    views: np.ndarray

    def pairs(self, draw: int, order: np.ndarray | None = None) -> Differences:
        """The differences of all methods in one draw, with the items in some order."""
        items = np.arange(len(self.clusters)) if order is None else order
        above, below = self.above[draw][..., items], self.below[draw][..., items]
        clusters, views = self.clusters[items], self.views[items]
        count, names = int(clusters.max()) + 1, range(int(views.max()) + 1)
        moves, scores = np.zeros((*above.shape[:2], count)), np.zeros(above.shape[:2])
        for name in names:
            own = views == name
            parts = above[..., own], below[..., own]
            moves += statistics.contributions(*parts, clusters[own], count, 1 / len(names))
            scores += 100 * parts[0].sum(-1) / parts[1].sum(-1) / len(names)
        return statistics.differences(scores, statistics.item_variances(moves))


def simulate(
    metric: str, rng: np.random.Generator, draws: int, means: np.ndarray, seeds: int, spread: float
) -> SimulatedScores:
    """Scores of methods that get an item right with the probability of a normal deviate: the method's mean, an effect
    of the seed of size `spread`, and effects of the item, common to all methods and of each."""
    clusters, each, views = {"exact match": (60, 3, 1), "retrieval": (70, 3, 3)}.get(metric, (180, 1, 1))
    owner = np.repeat(np.arange(clusters), each)
    view = np.tile(np.arange(views), len(owner) // views)
    shape = (draws, len(means), seeds, len(owner))
    eta = 0.3 + means[:, None, None] + spread * rng.normal(size=(*shape[:3], 1))
    eta = (
        eta
        + (0.7 * rng.normal(size=(draws, 1, 1, clusters)) + 0.5 * rng.normal(size=(*shape[:2], 1, clusters)))[
            ..., owner
        ]
    )
    p = special.ndtr(eta)
    if metric not in ("f1", "mining"):
        return SimulatedScores(1.0 * (rng.random(shape) < p), np.ones(shape), owner, view)
    gold = np.arange(len(owner)) % 4 if metric == "f1" else 1 * (np.arange(len(owner)) % 5 < 2)
    found = rng.binomial(gold, p)
    wrong = rng.binomial(1, 0.5 * (1 - p)) * (1 if metric == "f1" else found == 0)
    return SimulatedScores(2.0 * found, 1.0 * (found + wrong + gold), owner, view)


@cache
def size_of_effects(metric: str) -> tuple[float, float]:
    """The variance that items add to the mean difference of two methods, and how far a score moves with a method's
    mean."""
    rng = np.random.default_rng(0)
    plain = simulate(metric, rng, 300, np.zeros(2), 2, 0.0)
    between = [plain.pairs(draw) for draw in range(300)]
    items = float(np.mean([one.between[0, 1] - one.interaction[0, 1] / 2 for one in between]))
    moved = simulate(metric, rng, 300, np.array([-0.2, 0.2]), 2, 0.0)
    slope = float(np.mean([moved.pairs(draw).estimate[1, 0] for draw in range(300)])) / 0.4
    return items, slope


class SimulatedErrors(NamedTuple):
    """Over simulated comparisons of three methods, two of them equal: the p-values of these; the share of intervals
    that hold the difference of the third, and of all ranks that hold; how often its difference is found and should be.
    """

    p: np.ndarray
    covered: float
    ranked: float
    found: float
    predicted: float


def simulate_errors(metric: str, seeds: int, ratio: float, draws: int, ranked: int) -> SimulatedErrors:
    """Seeds vary `ratio` times as much as items. The third method is better by 2.8 standard errors."""
    items, slope = size_of_effects(metric)
    spread = (ratio * items / 2) ** 0.5 / slope
    better = 2.8 * (items * (1 + ratio / seeds)) ** 0.5 / slope
    rng = np.random.default_rng([seeds, METRICS.index(metric)])
    all_pairs: list[Differences] = []
    for _ in range(draws // 50):
        drawn = simulate(metric, rng, 50, np.array([0.0, 0.0, better]), seeds, spread)
        all_pairs += [drawn.pairs(draw) for draw in range(50)]
    thirds = [pairs.pair(2, 0) for pairs in all_pairs]
    truth = float(np.mean([pairs.estimate[2, :2].mean() for pairs in all_pairs]))
    intervals = [one.interval() or (np.nan, np.nan) for one in thirds]
    ranks = [statistics.rank_intervals(pairs, seed=draw) for draw, pairs in enumerate(all_pairs[:ranked])]
    mean = Difference(
        truth,
        seeds,
        *(
            float(np.mean([getattr(one, part) for one in thirds]))
            for part in ("seed_variance", "between", "interaction")
        ),
        clusters=thirds[0].clusters,
    )
    critical = special.stdtrit(mean.df, 0.975)
    return SimulatedErrors(
        np.array([pairs.p[0, 1] for pairs in all_pairs]),
        float(np.mean([low <= truth <= high for low, high in intervals])),
        float(np.mean([(one.best <= [2, 2, 1]).all() and (one.worst >= [3, 3, 1]).all() for one in ranks] or [1])),
        float(np.mean([(one.p or 0.0) < 0.05 for one in thirds])),
        float(stats.nct.sf(critical, mean.df, truth / mean.error)),
    )


@pytest.mark.long
@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("metric", METRICS)
def test_errors_coverage_and_power_are_as_promised(metric: str, seeds: int, ratio: float) -> None:
    errors = simulate_errors(metric, seeds, ratio, DRAWS[seeds], RANKED)
    wrong = float(np.mean(errors.p < 0.05))
    print(
        f"| {metric} | {seeds} | {ratio:g} | {wrong:.1%} | {errors.covered:.1%} | {errors.ranked:.1%} | "
        f"{errors.found:.1%} | {errors.predicted:.1%} |"
    )
    low, high = (0.035, 0.065) if seeds >= 5 else (0.02, 0.08)
    assert low <= wrong <= high
    assert abs(errors.covered - 0.95) <= 0.03
    assert errors.ranked >= (0.93 if seeds >= 5 else 0.88)
    assert errors.found == pytest.approx(errors.predicted, abs=0.06 if seeds >= 5 else 0.08)
    if seeds == 10:
        assert stats.kstest(errors.p, "uniform").pvalue > 0.001


@pytest.mark.parametrize("metric", METRICS)
def test_errors_are_rare_and_large_effects_are_found_in_a_short_simulation(metric: str) -> None:
    errors = simulate_errors(metric, 5, 1.0, 100, 0)
    assert np.mean(errors.p < 0.05) < 0.14
    assert errors.covered > 0.86
    assert errors.found == pytest.approx(errors.predicted, abs=0.16)


@pytest.mark.parametrize("metric", METRICS)
def test_order_of_items_changes_nothing(metric: str) -> None:
    rng = np.random.default_rng(1)
    drawn = simulate(metric, rng, 1, np.array([0.0, 0.3, 0.3]), 4, 0.1)
    plain, moved = drawn.pairs(0), drawn.pairs(0, rng.permutation(len(drawn.clusters)))
    np.testing.assert_allclose(moved.estimate, plain.estimate, rtol=1e-9)
    np.testing.assert_allclose(moved.variance, plain.variance, rtol=1e-9)
