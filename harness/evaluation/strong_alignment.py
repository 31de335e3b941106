"""Strong alignment: a translation must outrank every sentence of both languages, the query's own among them.

Plain retrieval puts a query against the other language alone, so that an encoder whose languages lie apart can score
well. Roy et al., "LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool" (EMNLP 2020), call an encoder
strongly aligned if translations lie nearer than anything unrelated, in whatever language. What is strong here is right
by the plain rule too, so no strong figure is above the plain one; where every sentence lies on its translation they
are equal. A tie goes to the other language, as a tie within it goes to its first sentence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.evaluation.retrieval import (
    Margin,
    Mined,
    Neighbours,
    Vectors,
    both_ways,
    margin_pairs,
    margins,
    means,
    nearest,
)


def rivals(vectors: Vectors, k: int = 1) -> Neighbours:
    """For each row of (n, H) the k other rows that are nearest by cosine, (n, min(k, n - 1)), in NumPy."""
    found = nearest(vectors, vectors, k=k + 1)
    scores, indices = _array(found.scores), _array(found.indices)
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1:] = True  # hidden behind k + 1 equal rows
    shape = (len(indices), max(indices.shape[1] - 1, 0))
    return Neighbours(scores[~own].reshape(shape), indices[~own].reshape(shape))


def mine_strong(x: Vectors, y: Vectors, *, k: int = 4, margin: Margin = "ratio") -> tuple[Mined, NDArray[np.bool_]]:
    """The pairs that `mine` finds, in NumPy, and which of them (p,) are strong.

    A pair is strong if no sentence of x's own language has a higher margin with x, and none of y's with y. As in
    mining, margins are looked at for the k nearest of a sentence, here in both languages, and set against the mean
    cosines to the k nearest of the other language.
    """
    forward, backward = both_ways(x, y, k)
    mined = margin_pairs(forward, backward, margin=margin)
    best_x, best_y = _best_rival(x, forward, k, margin), _best_rival(y, backward, k, margin)
    return mined, (mined.scores >= best_x[mined.sources]) & (mined.scores >= best_y[mined.targets])


def _best_rival(vectors: Vectors, across: Neighbours, k: int, margin: Margin) -> NDArray[np.float32]:
    """The best margin of each row with another of its own side, among its k nearest of both; -inf without any (n,)."""
    near = rivals(vectors, k)
    ahead = (across.scores[:, None, :] >= near.scores[:, :, None]).sum(axis=2) + np.arange(near.scores.shape[1])
    level = means(across)
    scores = margins(near.scores.astype(np.float64), (level[:, None] + level[near.indices]) / 2, margin)
    scores = np.where(ahead < k, scores, -np.inf)
    return np.asarray(scores.max(axis=1, initial=-np.inf), dtype=np.float32)


def _array(values: Any) -> NDArray[Any]:
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)
