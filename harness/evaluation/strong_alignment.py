"""Strong alignment: a translation must rank above all other sentences of both languages.

Plain retrieval searches only the other language, so an encoder that separates languages can score well. Roy et al.,
"LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool" (EMNLP 2020), call an encoder strongly aligned if
translations are nearer than any unrelated sentence, in either language. A strong pair is also correct by the plain
rule, so a strong score is never above the plain one; they are equal where every sentence has the vector of its
translation. In a tie the other language ranks first.
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
    margin_pairs,
    margins,
    mean_cosines,
    nearest,
    search_both_ways,
)


def rivals(vectors: Vectors, k: int = 1) -> Neighbours:
    """For each row of (n, H) the k nearest other rows by cosine, (n, min(k, n - 1)), in NumPy."""
    found = nearest(vectors, vectors, k=k + 1)
    scores, indices = _array(found.scores), _array(found.indices)
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1:] = True  # the row itself ranks below k + 1 equal rows
    shape = (len(indices), max(indices.shape[1] - 1, 0))
    return Neighbours(scores[~own].reshape(shape), indices[~own].reshape(shape))


def mine_strong(x: Vectors, y: Vectors, *, k: int = 4, margin: Margin = "ratio") -> tuple[Mined, NDArray[np.bool_]]:
    """The pairs that `mine` finds, in NumPy, and which of them (p,) are strong.

    A pair is strong if no sentence of x's own language has a higher margin with x, and none of y's with y. As in
    mining, margins are computed for the k nearest sentences, here of both languages, from the mean cosines to the k
    nearest of the other language.
    """
    forward, backward = search_both_ways(x, y, k)
    mined = margin_pairs(forward, backward, margin=margin)
    best_x, best_y = _best_rival(x, forward, k, margin), _best_rival(y, backward, k, margin)
    return mined, (mined.scores >= best_x[mined.sources]) & (mined.scores >= best_y[mined.targets])


def _best_rival(vectors: Vectors, across: Neighbours, k: int, margin: Margin) -> NDArray[np.float32]:
    """Each row's best margin with a row of its own side among its k nearest of both sides (n,); -inf without one."""
    near = rivals(vectors, k)
    ahead = (across.scores[:, None, :] >= near.scores[:, :, None]).sum(axis=2) + np.arange(near.scores.shape[1])
    level = mean_cosines(across)
    scores = margins(near.scores.astype(np.float64), (level[:, None] + level[near.indices]) / 2, margin)
    scores = np.where(ahead < k, scores, -np.inf)
    return np.asarray(scores.max(axis=1, initial=-np.inf), dtype=np.float32)


def _array(values: Any) -> NDArray[Any]:
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)
