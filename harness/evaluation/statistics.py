"""Whether methods differ: variance over seeds and over items, tests, intervals and ranks.

A score is a ratio of sums over items, averaged over the views of a task. Seeds and clusters of items are crossed random
effects; languages and tasks are fixed. With S seeds and the linearised contributions u[s, c] of the clusters to the
score of each seed (the delta method), the mean over seeds has the variance

    V_seed / S  +  max(V_item - V_interaction / S, 0)

where V_seed is the variance of the seeds' scores, V_item that of the clusters' mean contributions, and V_interaction
that of what is left. Each is a mean square, so that t = difference / standard error has the degrees of freedom of
Satterthwaite (1946). Covariances of several methods follow from cross products, and a difference of two methods from
their variances and covariance. docs/statistics.md derives the formulas and shows how they are calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import special  # its Student t is that of scipy.stats, which takes seconds to import

MIN_SEEDS = 3  # fewer give a difference, and no test
LEVEL = 0.95
POWER = 0.8
_DRAWS = 20_000  # of the normal vector whose largest component sets the critical value of ranks
_MAX_SEEDS = 1000


class ItemVariances(NamedTuple):
    """What items add to the variance of each pair's difference, in squared points.

    `between` (K, K) is from the clusters' means over seeds, `interaction` (K, K) from the rest, per seed; `clusters`
    counts them. NaN where there are no item statistics.
    """

    between: np.ndarray
    interaction: np.ndarray
    clusters: int


def contributions(
    numerators: np.ndarray, denominators: np.ndarray, clusters: np.ndarray, count: int, weight: float = 1.0
) -> np.ndarray:
    """(K, S, count) how much each cluster moves the score of one view, in points, around its mean over seeds.

    `numerators` and `denominators` (K, S, I) are the score's parts for K methods, S seeds and I items, `clusters` (I,)
    the cluster of each item. Multiply by `weight` where the score is part of an average. The contributions of a score
    without a denominator are 0.
    """
    above, below = numerators.sum(-1), denominators.sum(-1)  # (K, S)
    total = below.sum(-1, keepdims=True)  # (K, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = above.sum(-1, keepdims=True) / total
        scale = 100.0 * weight * below.shape[1] / total
    items = (numerators - ratio[..., None] * denominators) * scale[..., None]  # (K, S, I)
    items = np.nan_to_num(items, nan=0.0, posinf=0.0, neginf=0.0)
    rows = items.reshape(-1, items.shape[-1])
    sums = [np.bincount(clusters, row, minlength=count) for row in rows]
    return np.stack(sums).reshape(*items.shape[:2], count)


def item_variances(moves: np.ndarray) -> ItemVariances:
    """The item parts of all pairs of K methods, from their contributions (K, S, C). A method of zeros stands for no
    method: a difference from it is a score."""
    methods, seeds, clusters = moves.shape
    if clusters < 2:
        nothing = np.full((methods, methods), np.nan)
        return ItemVariances(nothing, nothing, clusters)
    moves = moves - moves.mean(-1, keepdims=True)
    mean = moves.mean(1)
    rest = (moves - mean[:, None]).reshape(methods, -1)
    correction = clusters / (clusters - 1)
    interaction = correction / max(1, seeds - 1) * rest @ rest.T
    return ItemVariances(_of_differences(correction * mean @ mean.T), _of_differences(interaction), clusters)


def average(parts: Sequence[ItemVariances]) -> ItemVariances:
    """The item parts of the mean of several tasks, which share no items."""
    n = len(parts)
    between = np.sum([part.between for part in parts], axis=0) / n**2
    interaction = np.sum([part.interaction for part in parts], axis=0) / n**2
    return ItemVariances(between, interaction, sum(part.clusters for part in parts))


@dataclass(frozen=True)
class Difference:
    """The difference of two methods in points, with the parts of its variance: between the seeds' differences
    (`seed_variance`), and those of `ItemVariances`. A part that is unknown is NaN; then there is no test."""

    estimate: float
    seeds: int
    seed_variance: float = np.nan
    between: float = np.nan
    interaction: float = np.nan
    clusters: int = 0

    @property
    def reason(self) -> str:
        """Why there is no test; empty where there is one."""
        if not np.isfinite(self.between):
            return "no item statistics"
        if self.seeds < MIN_SEEDS:
            return f"fewer than {MIN_SEEDS} seeds"
        return "" if self.variance > 0 else "all scores are equal"

    @property
    def variance(self) -> float:
        """Of the estimate, in squared points; NaN where it is unknown."""
        return self.seed_variance / self.seeds + max(self.between - self.interaction / self.seeds, 0.0)

    @property
    def error(self) -> float:
        """The standard error in points."""
        return float(np.sqrt(self.variance))

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom."""
        return float(degrees_of_freedom(self.seed_variance, self.between, self.interaction, self.seeds, self.clusters))

    @property
    def p(self) -> float | None:
        """Two-sided; None without a test."""
        return None if self.reason else float(2 * special.stdtr(self.df, -abs(self.estimate) / self.error))

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Of the difference over seeds and items; None without a test."""
        if self.reason:
            return None
        half = float(special.stdtrit(self.df, (1 + level) / 2)) * self.error
        return self.estimate - half, self.estimate + half

    @property
    def known_error(self) -> float | None:
        """The standard error in points: over seeds and items where there is a test, else over items alone; None without
        item statistics."""
        if np.isfinite(self.between):
            return float(self.between**0.5) if self.reason else self.error
        return None

    def known_interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Over seeds and items where there is a test, else over items alone, which is no test."""
        return self.interval(level) or self.item_interval(level)

    def item_interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Over items alone, for these very seeds; None without item statistics."""
        if not np.isfinite(self.between):
            return None
        half = float(special.stdtrit(self.clusters - 1, (1 + level) / 2)) * self.between**0.5
        return self.estimate - half, self.estimate + half

    def detectable(self, seeds: int | None = None, level: float = LEVEL, power: float = POWER) -> float | None:
        """The smallest true difference in points that a test with this many seeds finds with probability `power`."""
        if self.reason:
            return None
        n = seeds or self.seeds
        shared = max(self.between - self.interaction / self.seeds, 0.0)  # what no number of seeds removes
        between = shared + self.interaction / n
        df = degrees_of_freedom(self.seed_variance, between, self.interaction, n, self.clusters)
        error = (self.seed_variance / n + shared) ** 0.5
        return float((special.stdtrit(df, (1 + level) / 2) + special.stdtrit(df, power)) * error)

    def seeds_to_see(self, points: float, level: float = LEVEL, power: float = POWER) -> int | None:
        """The fewest seeds that find a true difference of `points` with probability `power`; None if none would."""
        if self.reason or (self.detectable(_MAX_SEEDS, level, power) or np.inf) > points:
            return None
        low, high = MIN_SEEDS, _MAX_SEEDS
        while low < high:
            middle = (low + high) // 2
            if (self.detectable(middle, level, power) or np.inf) <= points:
                high = middle
            else:
                low = middle + 1
        return low


@dataclass(frozen=True)
class Differences:
    """The differences of all pairs of K methods, row minus column: the fields of `Difference` as arrays (K, K)."""

    estimate: np.ndarray
    seed_variance: np.ndarray
    between: np.ndarray
    interaction: np.ndarray
    clusters: int
    seeds: int

    def pair(self, first: int, second: int) -> Difference:
        values = (self.estimate, self.seed_variance, self.between, self.interaction)
        estimate, seed_variance, between, interaction = (float(value[first, second]) for value in values)
        return Difference(estimate, self.seeds, seed_variance, between, interaction, self.clusters)

    def among(self, count: int) -> Differences:
        """Those of the first methods."""
        estimate, seed_variance, between, interaction = (
            part[:count, :count] for part in (self.estimate, self.seed_variance, self.between, self.interaction)
        )
        return Differences(estimate, seed_variance, between, interaction, self.clusters, self.seeds)

    @property
    def variance(self) -> np.ndarray:
        """NaN where there is no test."""
        items = np.maximum(self.between - self.interaction / self.seeds, 0.0)
        variance = self.seed_variance / self.seeds + items
        return np.where((variance > 0) & (self.seeds >= MIN_SEEDS), variance, np.nan)

    @property
    def df(self) -> np.ndarray:
        return degrees_of_freedom(self.seed_variance, self.between, self.interaction, self.seeds, self.clusters)

    @property
    def p(self) -> np.ndarray:
        """Two-sided and uncorrected; NaN where there is no test."""
        return np.asarray(2 * special.stdtr(self.df, -np.abs(self.estimate) / np.sqrt(self.variance)))


def differences(scores: np.ndarray, items: ItemVariances) -> Differences:
    """All pairs of K methods from their `scores` (K, S) under the same S seeds and the item parts."""
    seeds = scores.shape[1]
    mean = scores.mean(1)
    deviations = scores - mean[:, None]
    seed = (
        _of_differences(deviations @ deviations.T / (seeds - 1)) if seeds > 1 else np.full_like(items.between, np.nan)
    )
    return Differences(mean[:, None] - mean, seed, *items, seeds)


def is_significant(p: float | None) -> bool:
    """Whether a corrected p-value calls two methods different; without a test they are not."""
    return p is not None and p < 1 - LEVEL


def holm(p: np.ndarray) -> np.ndarray:
    """P-values corrected for their number (Holm 1979), of any shape; NaN stays and counts for nothing."""
    flat = np.asarray(p, dtype=float).ravel()
    known = np.flatnonzero(~np.isnan(flat))
    order = known[np.argsort(flat[known], kind="stable")]
    corrected = flat.copy()
    corrected[order] = np.minimum(np.maximum.accumulate(flat[order] * np.arange(len(order), 0, -1)), 1.0)
    return corrected.reshape(np.shape(p))


class RankIntervals(NamedTuple):
    """The best and the worst rank (K,) that each method may have, and which pairs (K, K) are separable: True where the
    method of the row is better than that of the column."""

    best: np.ndarray
    worst: np.ndarray
    better: np.ndarray


def rank_intervals(pairs: Differences, level: float = LEVEL, seed: int = 0) -> RankIntervals:
    """Ranks that hold for all methods at once with probability `level` (Mogstad et al. 2024, two-sided, stepwise).

    A method's best rank is one more than the number of methods that are better than it. The critical value is that of
    the largest difference under normal noise with the covariance of the pairs, so that a pair is judged by how unlikely
    the most extreme of all pairs would be. Pairs without a test are not separable.
    """
    count = len(pairs.estimate)
    upper = np.triu_indices(count, 1)
    variance = pairs.variance
    testable = np.isfinite(variance[upper])
    first, second = upper[0][testable], upper[1][testable]
    better = np.zeros((count, count), dtype=bool)
    if not testable.any():
        return RankIntervals(np.ones(count, dtype=int), np.full(count, count), better)
    # t with few degrees of freedom as the normal deviate of the same p, computed in logarithms for the smallest p
    t = np.abs(pairs.estimate[first, second]) / np.sqrt(variance[first, second])
    with np.errstate(divide="ignore"):
        deviates = -special.ndtri_exp(np.log(special.stdtr(pairs.df[first, second], -t)))
    draws = _normal_differences(variance, first, second, np.random.default_rng(seed))
    open_pairs = np.ones(len(first), dtype=bool)
    while open_pairs.any():
        critical = np.quantile(draws[:, open_pairs].max(1), level)
        found = open_pairs & (deviates > critical)
        if not found.any():
            break
        open_pairs &= ~found
    signs = pairs.estimate[first, second] > 0
    for a, b, positive in zip(first[~open_pairs], second[~open_pairs], signs[~open_pairs], strict=True):
        better[(a, b) if positive else (b, a)] = True
    return RankIntervals(1 + better.sum(0), count - better.sum(1), better)


def tie_groups(order: Sequence[int], better: np.ndarray) -> list[int]:
    """A number for each place of `order`, the methods from the best down: it grows where the method is separable from
    the first of the group before it."""
    groups: list[int] = []
    head = -1
    for method in order:
        if head < 0 or better[head, method]:
            head = method
            groups.append(groups[-1] + 1 if groups else 0)
        else:
            groups.append(groups[-1])
    return groups


def _of_differences(covariance: np.ndarray) -> np.ndarray:
    """(K, K) the variance of each pair's difference from the covariance of K methods."""
    own = np.diag(covariance)
    return np.asarray(np.maximum(own[:, None] + own - 2 * covariance, 0.0))


def degrees_of_freedom(seed: Any, between: Any, interaction: Any, seeds: int, clusters: int) -> np.ndarray:
    """Satterthwaite's degrees of freedom of the variance of a difference, from its parts: numbers or arrays."""
    items = np.maximum(between - interaction / seeds, 0.0)
    squares = (between**2 + (interaction / seeds) ** 2 / max(1, seeds - 1)) / max(1, clusters - 1)
    known = (seed / seeds) ** 2 / max(1, seeds - 1) + np.where(items > 0, squares, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((seed / seeds + items) ** 2 / known)


def _normal_differences(
    variance: np.ndarray, first: np.ndarray, second: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(draws, pairs) absolute standard normal deviates, correlated as the differences of the pairs are.

    The variances of all differences give the covariance of the methods, up to a shift that no difference feels.
    """
    count = len(variance)
    centring = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-0.5 * centring @ np.nan_to_num(variance) @ centring)
    noise = rng.standard_normal((_DRAWS, count)) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    spread = noise[:, first] - noise[:, second]
    return np.asarray(np.abs(spread) / np.sqrt((spread**2).mean(0)))
