"""Tests over seeds and items: the formulas against direct ones, and how often they are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.evaluation import statistics
from harness.evaluation.statistics import Difference, Differences

TRUE_DIFFERENCE = 1.0


def draw(rng: np.random.Generator, means: np.ndarray, seeds: int, ratio: float, clusters: int = 120) -> np.ndarray:
    """(K, S, C) contributions of K methods whose seeds vary `ratio` times as much as their items."""
    count = len(means)
    between_seeds = rng.normal(0, ratio**0.5, (count, seeds, 1))
    between_items = rng.normal(0, clusters**0.5, (count, 1, clusters))
    rest = rng.normal(0, (0.5 * clusters) ** 0.5, (count, seeds, clusters))
    return means[:, None, None] + between_seeds + between_items + rest


def all_pairs(values: np.ndarray) -> Differences:
    """The differences of methods whose clusters have these values; scores are means over clusters."""
    moves = (values - values.mean((1, 2), keepdims=True)) / values.shape[-1]
    return statistics.differences(values.mean(-1), statistics.item_variances(moves))


def test_variance_is_that_of_crossed_random_effects() -> None:
    values = draw(np.random.default_rng(0), np.array([0.0, 1.0]), 4, 1.0)
    difference = values[0] - values[1]  # (S, C)
    seeds, clusters = difference.shape
    mean, by_seed, by_cluster = difference.mean(), difference.mean(1, keepdims=True), difference.mean(0, keepdims=True)
    square_seeds = clusters * ((by_seed - mean) ** 2).sum() / (seeds - 1)
    square_items = seeds * ((by_cluster - mean) ** 2).sum() / (clusters - 1)
    square_rest = ((difference - by_seed - by_cluster + mean) ** 2).sum() / ((seeds - 1) * (clusters - 1))
    expected = (square_seeds + square_items - square_rest) / (seeds * clusters)
    parts = [square_seeds**2 / (seeds - 1), square_items**2 / (clusters - 1)]
    parts.append(square_rest**2 / ((seeds - 1) * (clusters - 1)))
    pair = all_pairs(values).pair(0, 1)
    assert pair.variance == pytest.approx(expected, rel=1e-9)
    assert pair.df == pytest.approx((square_seeds + square_items - square_rest) ** 2 / sum(parts), rel=1e-9)
    p = 2 * stats.t.sf(abs(mean) / expected**0.5, pair.df)
    assert pair.p == pytest.approx(p, rel=1e-9)
    assert all_pairs(values).p[0, 1] == pytest.approx(p, rel=1e-9)


def test_worked_example_of_the_docs() -> None:
    right = np.array([[[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]], float)
    moves = statistics.contributions(right, np.ones_like(right), np.arange(4), 4)
    pair = statistics.differences(100 * right.mean(-1), statistics.item_variances(moves)).pair(0, 1)
    figures = (pair.estimate, pair.seed_variance, pair.between, pair.interaction, pair.variance, pair.error, pair.df)
    assert [round(figure, 1) for figure in figures] == [50.0, 625.0, 277.8, 625.0, 277.8, 16.7, 1.4]
    assert round(pair.p or 0, 2) == 0.14
    assert [round(end, 1) for end in pair.interval() or ()] == [-59.5, 159.5]


def test_f1_has_the_spread_of_a_bootstrap_over_clusters() -> None:
    rng = np.random.default_rng(1)
    items, clusters = 3000, 600
    owner = rng.integers(0, clusters, items)
    gold, found = rng.integers(0, 3, (1, 1, items)), rng.integers(0, 3, (1, 1, items))
    right = np.minimum(gold, found) * rng.integers(0, 2, (1, 1, items))
    numerators, denominators = 2.0 * right, (gold + found).astype(float)
    moves = statistics.contributions(numerators, denominators, owner, clusters)
    assert moves.sum() == pytest.approx(0, abs=1e-9)
    padded = np.concatenate([moves, np.zeros_like(moves)])
    linear = statistics.item_variances(padded).between[0, 1] ** 0.5
    sums = np.stack([np.bincount(owner, part[0, 0], clusters) for part in (numerators, denominators)])
    drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), 4000) @ sums.T
    assert linear == pytest.approx((100 * drawn[:, 0] / drawn[:, 1]).std(), rel=0.06)


def test_order_of_methods_seeds_and_clusters_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    values = draw(rng, np.array([0.0, 0.5, 3.0]), 5, 1.0)
    methods, seeds, clusters = (rng.permutation(n) for n in values.shape)
    plain, moved = all_pairs(values), all_pairs(values[methods][:, seeds][:, :, clusters])
    np.testing.assert_allclose(moved.variance, plain.variance[np.ix_(methods, methods)], rtol=1e-9)
    before, after = (statistics.rank_intervals(pairs) for pairs in (plain, moved))
    assert after.best.tolist() == before.best[methods].tolist()
    assert after.worst.tolist() == before.worst[methods].tolist()


@pytest.mark.parametrize(
    ("difference", "reason"),
    [
        (Difference(1.0, 5, 1.0), "no item statistics"),
        (Difference(1.0, 2, 1.0, 1.0, 1.0, 100), "fewer than 3 seeds"),
        (Difference(0.0, 3, 0.0, 0.0, 0.0, 100), "all scores are equal"),
    ],
)
def test_no_test_without_seeds_items_or_spread(difference: Difference, reason: str) -> None:
    assert difference.reason == reason
    assert difference.p is None
    assert difference.interval() is None
    assert difference.detectable() is None


def test_items_alone_have_an_interval_with_a_single_seed() -> None:
    moves = np.random.default_rng(3).normal(0, 0.1, (2, 1, 100))
    pair = statistics.differences(np.array([[50.0], [40.0]]), statistics.item_variances(moves)).pair(0, 1)
    low, high = pair.item_interval() or (np.nan, np.nan)
    assert low < 10 < high
    assert pair.interval() is None


def test_more_seeds_see_smaller_differences_until_the_items_limit_them() -> None:
    pair = Difference(0.3, 3, 1.0, 0.3, 0.3, 500)
    now = pair.detectable() or 0.0
    assert now > (pair.detectable(10) or now) > (pair.detectable(500) or now) > 2.8 * 0.2**0.5 * 0.95
    needed = pair.seeds_to_see(2.0)
    assert needed is not None
    assert (pair.detectable(needed) or 9) <= 2.0 < (pair.detectable(needed - 1) or 0)
    assert pair.seeds_to_see(0.5) is None, "no number of seeds removes the spread of the items"


def test_holm_is_step_down_and_skips_what_has_no_test() -> None:
    corrected = statistics.holm(np.array([[0.01, 0.04], [np.nan, 0.03]]))
    np.testing.assert_allclose(corrected, [[0.03, 0.06], [np.nan, 0.06]])


def test_ranks_of_distant_methods_are_exact_and_of_equal_ones_open() -> None:
    values = draw(np.random.default_rng(4), np.array([0.0, 30.0, 60.0, 60.1]), 5, 0.1)
    ranks = statistics.rank_intervals(all_pairs(values))
    assert ranks.best.tolist() == [4, 3, 1, 1]
    assert ranks.worst.tolist() == [4, 3, 2, 2]
    assert statistics.tie_groups([3, 2, 1, 0], ranks.better) == [0, 0, 1, 2]


def test_a_pair_without_a_test_is_not_separable() -> None:
    pairs = all_pairs(draw(np.random.default_rng(5), np.array([0.0, 50.0]), 2, 0.1))
    ranks = statistics.rank_intervals(pairs)
    assert ranks.best.tolist() == [1, 1]
    assert ranks.worst.tolist() == [2, 2]


def error_rates(seeds: int, ratio: float, draws: int, ranked: int) -> tuple[float, float, float, list[float]]:
    """Shares over simulated comparisons: equal methods called different, intervals that hold a true difference, and of
    the first `ranked` ones, ranks that hold the true ones; and the p-values of equal methods."""
    rng = np.random.default_rng(seeds)
    p_values, covered, right = [], 0, 0
    for draw_number in range(draws):
        pairs = all_pairs(draw(rng, np.array([0.0, 0.0, 0.0, TRUE_DIFFERENCE]), seeds, ratio))
        p_values.append(float(pairs.p[0, 1]))
        low, high = pairs.pair(3, 0).interval() or (np.nan, np.nan)
        covered += low <= TRUE_DIFFERENCE <= high
        if draw_number < ranked:
            ranks = statistics.rank_intervals(pairs, seed=draw_number)
            right += (ranks.best <= [2, 2, 2, 1]).all() and (ranks.worst >= [4, 4, 4, 1]).all()
    return float(np.mean(np.array(p_values) < 0.05)), covered / draws, right / max(1, ranked), p_values


@pytest.mark.long
@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_errors_and_coverage_are_as_promised(seeds: int, ratio: float) -> None:
    wrong, covered, ranked, p_values = error_rates(seeds, ratio, 20_000, 2000)
    print(f"{seeds} seeds, ratio {ratio}: {wrong:.1%} wrong, {covered:.1%} covered, {ranked:.1%} ranks")
    low, high = (0.035, 0.065) if seeds >= 5 else (0.02, 0.08)
    assert low <= wrong <= high
    assert abs(covered - 0.95) <= 0.03
    assert ranked >= (0.93 if seeds >= 5 else 0.88)
    if seeds == 10:
        assert stats.kstest(p_values[:2000], "uniform").pvalue > 0.001


def test_errors_are_rare_in_a_short_simulation() -> None:
    wrong, covered, _, _ = error_rates(5, 1.0, 150, 0)
    assert wrong < 0.12
    assert covered > 0.88


@pytest.mark.long
def test_a_known_effect_is_found_with_the_predicted_power() -> None:
    rng = np.random.default_rng(6)
    predicted = all_pairs(draw(rng, np.zeros(2), 5, 1.0, 4000)).pair(0, 1)
    # the true parts: seeds 1, items 1, rest 0.5, each for both methods
    effect = Difference(0.0, 5, 2 * 1.5, 2 * 1.1, 2 * 0.5, 120).detectable() or 0.0
    assert predicted.reason == ""
    found = [(all_pairs(draw(rng, np.array([effect, 0.0]), 5, 1.0)).p[0, 1] < 0.05) for _ in range(3000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
