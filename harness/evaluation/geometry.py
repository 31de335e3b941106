"""The geometry of two aligned clouds of sentence vectors: one value for each pair, whose mean is the measure.

A measure such as CKA is no mean over pairs. So that it has an error over items as every score has, it is linearised by
leaving out one pair at a time (the jackknife): pair i has the value m + (n - 1)(mean_j m_j - m_i), where m is the
measure on all n pairs and m_i that without pair i. The mean of these values is m, and their spread gives its standard
error. All are computed in closed form, in O(n H² + n² H). Inputs are (n, H) tensors, row i of one side translating row
i of the other; n >= 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NEIGHBOURS = 10  # of CSLS and hubness
FOLDS = 5  # of the language probe


def measure_pairs(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The measures of two sides by name, each (n,) values of the pairs, whose mean is the measure. In float64."""
    x, y = x.double(), y.double()
    ux, uy = functional.normalize(x, dim=1), functional.normalize(y, dim=1)
    across, within_x, within_y = ux @ uy.T, ux @ ux.T, uy @ uy.T
    scaled = csls(across)
    return {
        "strong_retrieval": _mean(_strong(across, within_x), _strong(across.T, within_y)),
        "weak_retrieval": _mean(_hits(across), _hits(across.T)),
        "csls_retrieval": _mean(_hits(scaled), _hits(scaled.T)),
        "cka": linearise(*_cka(x, y)),
        "rsim": linearise(*_rsim(within_x, within_y)),
        "language_probe": _probe(x, y),
        "alignment": (ux - uy).square().sum(1),
        "uniformity": _mean(*(linearise(*_log_mean(torch.exp(4 * c - 4))) for c in (within_x, within_y))),
        "uniformity_across": linearise(*_log_mean(torch.exp(4 * across - 4))),
        "mean_cosine": _mean(*(linearise(*_off_diagonal_mean(c)) for c in (within_x, within_y))),
        "isotropy": _mean(linearise(*_partition(x)), linearise(*_partition(y))),
        "hubness": _mean(*(linearise(*_skewness(_neighbour_counts(c))) for c in (across, across.T))),
    }


def linearise(whole: Tensor, without: Tensor) -> Tensor:
    """(n,) values whose mean is `whole`, from the measure `without` (n,) each pair in turn."""
    return whole + (len(without) - 1) * (without.mean() - without)


def csls(cosines: Tensor) -> Tensor:
    """(n, m) twice the cosine minus the mean cosines of both to their nearest neighbours on the other side.

    Conneau et al., "Word Translation Without Parallel Data", ICLR 2018.
    """
    rows, columns = (cosines.topk(min(NEIGHBOURS, cosines.shape[side]), dim=side).values for side in (1, 0))
    return 2 * cosines - rows.mean(1, keepdim=True) - columns.mean(0, keepdim=True)


def _mean(first: Tensor, second: Tensor) -> Tensor:
    return (first + second) / 2


def _hits(scores: Tensor) -> Tensor:
    """(n,) 1 where the translation has the highest score of its row; a tie is no hit."""
    own = scores.diagonal()
    others = scores.clone().fill_diagonal_(-torch.inf).amax(1)
    return (own > others).double()


def _strong(across: Tensor, within: Tensor) -> Tensor:
    """(n,) 1 where the translation is nearer than every other sentence of both languages (Roy et al. 2020)."""
    rivals = within.clone().fill_diagonal_(-torch.inf).amax(1)
    return _hits(across) * (across.diagonal() > rivals).double()


def _cka(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Linear CKA (Kornblith et al. 2019). Without pair i the centred product Y'X loses n/(n-1) y_i x_i'."""
    x, y = x - x.mean(0), y - y.mean(0)
    shrink = len(x) / (len(x) - 1)

    def squares(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        product = b.T @ a  # (H, H)
        moved = ((b @ product) * a).sum(1)
        lengths = a.square().sum(1) * b.square().sum(1)
        return product.square().sum(), product.square().sum() - 2 * shrink * moved + shrink**2 * lengths

    between, own_x, own_y = squares(x, y), squares(x, x), squares(y, y)
    whole, without = (
        between[at] / torch.sqrt(own_x[at] * own_y[at]).clamp_min(torch.finfo(torch.float64).tiny) for at in (0, 1)
    )
    return whole, without


def _rsim(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Pearson's correlation of the cosines of all pairs of sentences in one language with those in the other."""
    n = len(a)
    rows = torch.stack([_row_sums(v) for v in (a, b, a * a, b * b, a * b)])  # (5, n)
    whole = rows.sum(1) / 2

    def pearson(sums: Tensor, count: int) -> Tensor:
        first, second, first_squares, second_squares, products = sums / count
        covariance = products - first * second
        variances = (first_squares - first**2) * (second_squares - second**2)
        correlation: Tensor = covariance / torch.sqrt(variances).clamp_min(torch.finfo(torch.float64).tiny)
        return correlation

    return pearson(whole, n * (n - 1) // 2), pearson(whole[:, None] - rows, (n - 1) * (n - 2) // 2)


def _row_sums(square: Tensor) -> Tensor:
    return square.sum(1) - square.diagonal()


def _off_diagonal_mean(square: Tensor) -> tuple[Tensor, Tensor]:
    n = len(square)
    total = _row_sums(square).sum()
    without = total - _row_sums(square) - _row_sums(square.T)
    return total / (n * (n - 1)), without / ((n - 1) * (n - 2))


def _log_mean(square: Tensor) -> tuple[Tensor, Tensor]:
    """Uniformity (Wang and Isola 2020): the logarithm of the mean of exp(-2 d²) over different sentences."""
    whole, without = _off_diagonal_mean(square)
    return whole.log(), without.log()


def _partition(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """min Z(a) / max Z(a) with Z(a) = sum_i exp(a·v_i), a over the eigenvectors of V'V (Mu and Viswanath 2018).

    Both signs of each eigenvector count, since neither is the right one.
    """
    directions: Tensor = torch.linalg.eigh(vectors.T @ vectors).eigenvectors
    scores = vectors @ torch.cat([directions, -directions], dim=1)  # (n, 2 H)
    parts = torch.exp(scores - scores.abs().max())  # one factor in all sums cancels
    sums = parts.sum(0)
    rest = sums - parts
    return sums.min() / sums.max(), rest.amin(1) / rest.amax(1)


def _neighbour_counts(cosines: Tensor) -> Tensor:
    """(n,) how many queries, the rows, have each candidate among their nearest."""
    found = cosines.topk(min(NEIGHBOURS, len(cosines)), dim=1).indices
    return torch.bincount(found.flatten(), minlength=cosines.shape[1]).double()


def _skewness(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Skewness of the neighbour counts (Radovanović et al. 2010); 0 where all are equal."""
    powers = torch.stack([counts, counts**2, counts**3])

    def skewness(sums: Tensor, n: int) -> Tensor:
        first, second, third = sums / n
        variance = second - first**2
        moment = third - 3 * first * second + 2 * first**3
        return torch.where(variance > 1e-12, moment / variance.clamp_min(1e-12) ** 1.5, 0.0)

    whole, n = powers.sum(1), len(counts)
    return skewness(whole, n), skewness(whole[:, None] - powers, n - 1)


def _probe(x: Tensor, y: Tensor) -> Tensor:
    """(n,) the share of a pair's two sentences whose language a linear probe finds, trained on the other folds.

    Least squares with a small ridge on standardised vectors. 0.5 on average where languages cannot be told apart.
    """
    n = len(x)
    fold = torch.arange(n, device=x.device) % min(FOLDS, n)
    correct = torch.zeros(n, dtype=torch.float64, device=x.device)
    for held_out in range(int(fold.max()) + 1):
        train, test = fold != held_out, fold == held_out
        both = torch.cat([x[train], y[train]])
        mean, scale = both.mean(0), both.std(0).clamp_min(1e-12)
        inputs = (both - mean) / scale
        labels = torch.cat([torch.ones(int(train.sum())), -torch.ones(int(train.sum()))]).to(inputs)
        ridge = 0.01 * len(inputs) * torch.eye(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)
        weights = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ labels)
        sides = [((side[test] - mean) / scale) @ weights for side in (x, y)]
        correct[test] = ((sides[0] > 0).double() + (sides[1] < 0).double()) / 2
    return correct
