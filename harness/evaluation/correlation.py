"""Whether two measures go together over methods and languages: coefficients and slopes that respect dependence.

Points of one method, or of one language, are not independent. The interval resamples methods and languages with
replacement, each as a whole (the pigeonhole bootstrap of Owen 2007), and the seeds of each point within it, so that it
is as wide as a new choice of methods, languages and seeds would make it.

The mixed model has random effects of methods and of languages beside the slope, so that it asks whether the measure
explains transfer beyond what the method and the language do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import linalg, optimize, stats

MIN_POINTS = 4  # that a coefficient needs
_DRAWS = 1000
_SMALLEST, _LARGEST = 1e-6, 1e6  # variances of effects, as multiples of the residual variance


class Correlation(NamedTuple):
    """A coefficient over `n` points with its 95% interval; NaN where too few draws have two different values."""

    name: str
    value: float
    low: float
    high: float
    n: int


def correlate(points: pd.DataFrame, draws: int = _DRAWS, seed: int = 0) -> list[Correlation]:
    """Pearson's and Spearman's coefficients of `measure` and `transfer`.

    `points` has a line for each `row` (a method), `view` (a language) and, if it has that column, `seed`; coefficients
    are of the means over seeds. Empty for fewer than `MIN_POINTS` points, or where a side is constant.
    """
    means = points.groupby(["row", "view"], sort=False)[["measure", "transfer"]].mean()
    if len(means) < MIN_POINTS or (means.nunique() < 2).any():
        return []
    rng = np.random.default_rng(seed)
    drawn = [_coefficients(sample) for sample in _resample(points, means, draws, rng)]
    known = np.array([pair for pair in drawn if pair is not None]).reshape(-1, 2)
    found = []
    for at, (name, value) in enumerate(
        zip(("Pearson", "Spearman"), _coefficients(means.to_numpy()) or (), strict=True)
    ):
        few = len(known) < draws // 2
        low, high = (np.nan, np.nan) if few else np.quantile(known[:, at], [0.025, 0.975])
        found.append(Correlation(name, value, float(low), float(high), len(means)))
    return found


def _resample(points: pd.DataFrame, means: pd.DataFrame, draws: int, rng: np.random.Generator) -> list[np.ndarray]:
    """(points, 2) the values of each draw: a point occurs as often as its method times as often as its language."""
    rows, views = (pd.factorize(means.index.get_level_values(name)) for name in ("row", "view"))
    cells = [own[["measure", "transfer"]].to_numpy() for _, own in points.groupby(["row", "view"], sort=False)]
    counts = np.array([len(own) for own in cells])
    padded = np.zeros((len(cells), int(counts.max()), 2))  # (points, seeds, 2)
    for at, own in enumerate(cells):
        padded[at, : len(own)] = own
    drawn = []
    for _ in range(draws):
        weights = [rng.multinomial(len(names), [1 / len(names)] * len(names))[codes] for codes, names in (rows, views)]
        chosen = rng.integers(0, counts[:, None], padded.shape[:2])
        kept = (np.arange(padded.shape[1]) < counts[:, None])[..., None]
        values = np.where(kept, np.take_along_axis(padded, chosen[..., None], axis=1), 0.0).sum(1) / counts[:, None]
        drawn.append(np.repeat(values, weights[0] * weights[1], axis=0))
    return drawn


def _coefficients(values: np.ndarray) -> tuple[float, float] | None:
    """Pearson's and Spearman's coefficients of (points, 2); None where a side is constant."""
    if len(values) < 3 or (np.ptp(values, axis=0) == 0).any():
        return None
    ranks = stats.rankdata(values, axis=0)
    return float(np.corrcoef(values.T)[0, 1]), float(np.corrcoef(ranks.T)[0, 1])


class Slope(NamedTuple):
    """How much transfer changes with one unit of the measure, with its 95% interval, over `n` points; and the standard
    deviations of the effects of methods and of languages, and of what is left."""

    value: float
    error: float
    low: float
    high: float
    n: int
    rows: float
    views: float
    residual: float


def fit_mixed_model(points: pd.DataFrame) -> Slope | None:
    """transfer = intercept + slope * measure + effect of the row + effect of the view + residual, fitted by REML.

    Both effects are random and crossed; a line for each row and view, as in `correlate`, is a mean over seeds. The
    interval is Wald's with Student's t of one degree of freedom less than there are rows or views, whichever are fewer:
    cautious for a measure that varies within both. None with fewer than three of either, or where a side is constant.
    """
    means = points.groupby(["row", "view"], sort=True)[["measure", "transfer"]].mean()
    codes = [pd.factorize(means.index.get_level_values(name))[0] for name in ("row", "view")]
    fewest = min(int(code.max(initial=-1)) + 1 for code in codes)
    if fewest < 3 or (means.nunique() < 2).any():
        return None
    measure, y = means.to_numpy(dtype=float).T
    centre, scale = measure.mean(), measure.std()
    x = np.column_stack([np.ones_like(measure), (measure - centre) / scale])
    same = [(code[:, None] == code).astype(float) for code in codes]

    def fit(logs: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, float]:
        """REML's deviance at log variance ratios, and its slopes with their covariance and the residual variance."""
        covariance = np.eye(len(y)) + sum(ratio * part for ratio, part in zip(np.exp(logs), same, strict=True))
        factor = linalg.cho_factor(covariance, lower=True)
        information = x.T @ linalg.cho_solve(factor, x)
        beta = np.linalg.solve(information, x.T @ linalg.cho_solve(factor, y))
        rest = y - x @ beta
        free = len(y) - x.shape[1]
        variance = float(rest @ linalg.cho_solve(factor, rest)) / free
        deviance = 2 * np.log(np.diag(factor[0])).sum() + np.linalg.slogdet(information)[1] + free * np.log(variance)
        return float(deviance), beta, variance * np.linalg.inv(information), variance

    bounds = [(np.log(_SMALLEST), np.log(_LARGEST))] * 2
    starts = [np.zeros(2), np.array([2.0, -4.0]), np.array([-4.0, 2.0])]
    found = min(
        (optimize.minimize(lambda logs: fit(logs)[0], start, bounds=bounds, method="L-BFGS-B") for start in starts),
        key=lambda result: float(result.fun),
    )
    _, beta, covariance, variance = fit(found.x)
    value, error = float(beta[1] / scale), float(covariance[1, 1] ** 0.5 / scale)
    half = float(stats.t.ppf(0.975, fewest - 1)) * error
    rows, views = (float((ratio * variance) ** 0.5) for ratio in np.exp(found.x))
    return Slope(value, error, value - half, value + half, len(y), rows, views, variance**0.5)


def rank_within_languages(points: pd.DataFrame) -> pd.DataFrame:
    """The points, means over seeds, as ranks among the rows of one language, which removes differences between
    languages. A language of a single row is left out."""
    means = points.groupby(["row", "view"], sort=False)[["measure", "transfer"]].mean().reset_index()
    grouped = means.groupby("view")
    ranked = means.assign(measure=grouped["measure"].rank(), transfer=grouped["transfer"].rank())
    return ranked[grouped["row"].transform("size") > 1]
