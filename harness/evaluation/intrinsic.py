"""Intrinsic measures: how well the sentence vectors of two languages are aligned, and their coordinates on a map.

They need translation pairs but no task, and are no part of a suite's scores.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from harness.evaluation.retrieval import nearest

MEASURES = {  # name: description
    "retrieval": "percent of sentences whose nearest neighbour by cosine is their translation, mean of both directions",
    "neighbour_rank": "median place of the translation among all sentences by cosine, 1 at best; mean of both ways",
    "cosine_gap": "mean cosine of translations minus the mean cosine of other pairs",
    "cka": "linear centred kernel alignment (Kornblith et al. 2019); 1: the sides are equal up to rotation and scale",
    "separation": "share of the variance that lies between the means of the two languages; 0: one cloud",
    "anisotropy": "mean cosine of different sentences of one language (Ethayarajh 2019); 0: all directions alike",
}
PERPLEXITY = 30.0  # of t-SNE; lower for fewer than 91 points


def measures(source: Tensor, target: Tensor) -> dict[str, float]:
    """The intrinsic measures of two sides (n, H), row i of one translating row i of the other; n >= 2. In float64."""
    x, y = (side.double() for side in (source, target))
    ux, uy = (functional.normalize(side, dim=1) for side in (x, y))
    cosines, n = ux @ uy.T, len(x)
    rows = torch.arange(n)
    hits = [(nearest(a, b, k=1).indices[:, 0] == rows).double().mean() for a, b in ((ux, uy), (uy, ux))]
    translations = float(cosines.diagonal().mean())
    others = float((cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1)))
    return {
        "retrieval": 100 * float(hits[0] + hits[1]) / 2,
        "neighbour_rank": (_median_rank(cosines) + _median_rank(cosines.T)) / 2,
        "cosine_gap": translations - others,
        "cka": linear_cka(x, y),
        "separation": separation(x, y),
        "anisotropy": (_mean_cosine(ux) + _mean_cosine(uy)) / 2,
    }


def _median_rank(cosines: Tensor) -> float:
    """The median place of the diagonal of (n, n) in its rows; equal values share the mean of their places."""
    own = cosines.diagonal()[:, None]
    above, equal = (cosines > own).sum(1), (cosines == own).sum(1)
    return float((above + (equal + 1) / 2).quantile(0.5))


def linear_cka(x: Tensor, y: Tensor) -> float:
    """||y'x||^2 / (||x'x|| ||y'y||) of centred (n, H) vectors, Frobenius norms (Kornblith et al. 2019, equation 4).

    0 where a side does not vary.
    """
    x, y = x - x.mean(0), y - y.mean(0)
    norm = float((x.T @ x).norm() * (y.T @ y).norm())
    return float((y.T @ x).norm() ** 2) / norm if norm > 0 else 0.0


def separation(x: Tensor, y: Tensor) -> float:
    """The variance between the means of two clouds of equal size over the variance of both together, 0 to 1."""
    both = torch.cat([x, y])
    total = float((both - both.mean(0)).square().sum())
    between = len(both) * float((x.mean(0) - y.mean(0)).square().sum()) / 4
    return between / total if total > 0 else 0.0


def _mean_cosine(unit: Tensor) -> float:
    """The mean cosine of different rows of (n, H) unit vectors."""
    n = len(unit)
    return float((unit.sum(0).square().sum() - n) / (n * (n - 1)))


def pca(vectors: Tensor) -> NDArray[np.float64]:
    """(n, 2) coordinates on the first two principal axes of (n, H) vectors, each axis turned so that its largest
    coordinate is positive."""
    centred = (vectors.double() - vectors.double().mean(0)).cpu()
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    axes: NDArray[np.float64] = (u[:, :2] * s[:2]).numpy()
    if axes.shape[1] < 2:
        axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))
    largest = axes[np.abs(axes).argmax(0), np.arange(2)]
    return axes * np.where(largest < 0, -1.0, 1.0)


def tsne(vectors: Tensor, seed: int = 0) -> NDArray[np.float64]:
    """(n, 2) coordinates of unit vectors by t-SNE (van der Maaten and Hinton 2008), started from the principal axes."""
    from sklearn.manifold import TSNE  # type: ignore[import-untyped]

    unit = functional.normalize(vectors.double(), dim=1).cpu().numpy()
    if len(unit) < 5:
        return pca(vectors)
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    coordinates = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(unit)
    return np.asarray(coordinates, dtype=np.float64)
