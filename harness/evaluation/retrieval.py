"""Exact nearest neighbours and bitext mining by margin.

`nearest` and `mine` multiply tiles and keep a running top-k, so memory depends on the tile, not on n x m. Scores are
computed in fp32, whatever the precision of the vectors, autocast or TF32. Among equal scores the lowest index ranks
first. Margins follow Artetxe and Schwenk, "Margin-based Parallel Corpus Mining with Multilingual Sentence Embeddings"
(ACL 2019), the threshold BUCC 2018 as in XTREME.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from harness.errors import UserError

Vectors = NDArray[Any] | Tensor
Metric = Literal["cosine", "dot", "l2"]
Margin = Literal["ratio", "distance", "absolute"]
Retrieval = Literal["max", "fwd", "bwd", "intersect"]

TILE_BYTES = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}
BLOCK = 32  # columns per block; a tile is searched by the maxima of its blocks
SORT_FROM = 33  # the smallest k for which one stable sort is faster than k passes


class Neighbours(NamedTuple):
    """For each query the highest `scores` (n, k), in descending order, and their `indices` (n, k)."""

    scores: Any
    indices: Any


class Mined(NamedTuple):
    """One-to-one pairs, best first: `scores` (p,), rows of x `sources` (p,) and rows of y `targets` (p,)."""

    scores: Any
    sources: Any
    targets: Any


class DistinctLines(NamedTuple):
    """The distinct lines of a file in order of first occurrence, and the row of each one's last occurrence."""

    texts: list[str]
    rows: NDArray[np.int64]


class Threshold(NamedTuple):
    """Pairs with at least the score `threshold` are kept; `f1` is the F1 in percent on the tuning data."""

    threshold: float
    f1: float


def nearest(
    queries: Vectors, index: Vectors, *, k: int = 1, metric: Metric = "cosine", tile_bytes: int | None = None
) -> Neighbours:
    """The k rows of index (m, d) nearest to each row of queries (n, d): scores and indices, each (n, min(k, m)).

    Scores are higher for nearer rows under every metric: "cosine" (rows are normalised here; a zero row has cosine 0
    with everything), "dot", or "l2", which is minus the Euclidean distance. NumPy arrays, also memory-mapped ones, are
    read tile by tile and give NumPy arrays; tensors are searched on their device. `tile_bytes` bounds the tile of
    scores held at once. Raises ValueError for unlike widths, values that are not finite, k < 1 or an unknown metric.
    """
    _check_vectors(queries, index, "queries", "index")
    _check_choice("metric", metric, Metric)
    _check_k(k)
    side = _tile_side(queries, tile_bytes)
    with _full_precision(queries):
        found = []
        for rows in _tile_slices(len(queries), side):
            block, best = _load(queries, rows, metric, "queries"), None
            for columns in _tile_slices(len(index), side):
                tile = _similarities(block, _load(index, columns, metric, "index"), metric)
                best = _merge(best, _largest_by_block(tile, k), columns.start, k)
            found.append(best)
    return _as_input_kind(_concatenate(found, queries, min(k, len(index))), queries)


def mine(
    x: Vectors,
    y: Vectors,
    *,
    k: int = 4,
    margin: Margin = "ratio",
    retrieval: Retrieval = "max",
    threshold: float = 0.0,
    tile_bytes: int | None = None,
) -> Mined:
    """Pairs of rows of x (n, d) and y (m, d) that are translations of each other, one-to-one and best first.

    The rows are normalised here, and the k nearest are searched in both directions with one multiplication. See
    `margin_pairs` for the options, and `nearest` for memory, precision and the kind of array.
    """
    _check_choice("margin", margin, Margin)
    _check_choice("retrieval", retrieval, Retrieval)
    forward, backward = search_both_ways(x, y, k, tile_bytes=tile_bytes)
    mined = margin_pairs(forward, backward, margin=margin, retrieval=retrieval, threshold=threshold)
    if isinstance(x, Tensor):
        return Mined(*(torch.from_numpy(part).to(x.device) for part in mined))
    return mined


def margin_pairs(
    forward: Neighbours,
    backward: Neighbours,
    *,
    margin: Margin = "ratio",
    retrieval: Retrieval = "max",
    threshold: float = 0.0,
) -> Mined:
    """Pairs chosen from the neighbours of x in y (`forward`) and of y in x (`backward`): cosines, in NumPy.

    The margin of a pair compares its cosine with the mean of the two sides' mean cosines to their neighbours: the
    quotient ("ratio"), the difference ("distance"), or the cosine alone ("absolute"). Each row proposes its best pair:
    rows of x ("fwd"), of y ("bwd"), both ("max"), or both where they agree ("intersect"). Proposals above `threshold`
    are accepted best first, each row at most once.
    """
    x_means, y_means = mean_cosines(forward), mean_cosines(backward)
    fwd_scores, fwd_best = _best_margins(forward, x_means, y_means, margin)
    bwd_scores, bwd_best = _best_margins(backward, y_means, x_means, margin)
    fwd = (fwd_scores, np.arange(len(fwd_best)), fwd_best)
    bwd = (bwd_scores, bwd_best, np.arange(len(bwd_best)))
    if retrieval == "intersect":
        agreed = bwd_best[fwd_best] == fwd[1] if len(fwd_best) else np.zeros(0, dtype=bool)
        fwd = (fwd_scores[agreed], fwd[1][agreed], fwd_best[agreed])
    proposals = {"max": (fwd, bwd), "fwd": (fwd,), "bwd": (bwd,), "intersect": (fwd,)}[retrieval]
    scores, sources, targets = (np.concatenate(parts) for parts in zip(*proposals, strict=True))
    return _one_to_one(scores, sources, targets, threshold)


def distinct_lines(texts: Sequence[str]) -> DistinctLines:
    """The distinct lines of a file. XTREME embeds each line once and keeps the vector of its last occurrence."""
    last: dict[str, int] = {}
    for row, text in enumerate(texts):
        last[text] = row
    return DistinctLines(list(last), np.fromiter(last.values(), dtype=np.int64, count=len(last)))


def find_repeated(texts: Sequence[str]) -> NDArray[np.bool_]:
    """True for each line that occurs more than once in its file, ignoring blanks at its ends (n,).

    BUCC drops such lines from predictions, so their gold pairs always count as missed.
    """
    stripped = [text.strip() for text in texts]
    counts = Counter(stripped)
    return np.fromiter((counts[text] > 1 for text in stripped), dtype=bool, count=len(stripped))


def best_threshold(scores: ArrayLike, correct: ArrayLike, n_gold: int) -> Threshold:
    """The score threshold with the best F1 over pairs with `scores` (p,), of which `correct` (p,) are in the gold.

    As in XTREME: pairs are taken best first (equal scores in the order given); the threshold lies half way between the
    pair that gives the first best F1 and the next one, and pairs with score >= threshold are kept. If the last pair
    gives the best F1, the threshold is its own score (the original code crashes). Without a correct pair, threshold and
    F1 are 0. All pairs at the threshold are kept, so with ties the F1 of the kept pairs can be lower than the one
    returned. Raises ValueError for unlike lengths, a NaN score, or more correct pairs than gold.
    """
    values, hits = np.asarray(scores, dtype=np.float64), np.asarray(correct, dtype=bool)
    if values.ndim != 1 or values.shape != hits.shape:
        raise ValueError(f"scores and correct must be two (p,) arrays, got {values.shape} and {hits.shape}")
    if np.isnan(values).any():
        raise ValueError("scores hold NaN")
    if hits.sum() > n_gold:
        raise ValueError(f"{hits.sum()} pairs are marked correct, but the gold has {n_gold}")
    if not hits.any():
        return Threshold(0.0, 0.0)
    order = np.argsort(-values, kind="stable")
    values, found = values[order], np.cumsum(hits[order])
    precision, recall = found / np.arange(1, len(found) + 1), found / n_gold
    f1 = 2 * precision * recall / np.where(found > 0, precision + recall, 1.0)
    best = int(np.argmax(f1))
    following = values[min(best + 1, len(values) - 1)]
    return Threshold(float((values[best] + following) / 2), float(100 * f1[best]))


def search_both_ways(x: Vectors, y: Vectors, k: int, *, tile_bytes: int | None = None) -> tuple[Neighbours, Neighbours]:
    """Neighbours of x in y and of y in x, in NumPy. Each tile of cosines is computed once and searched both ways."""
    _check_vectors(x, y, "x", "y")
    _check_k(k)
    side = _tile_side(x, tile_bytes)
    forward: list[Neighbours | None] = []
    backward: list[Neighbours | None] = [None for _ in _tile_slices(len(y), side)]
    with _full_precision(x):
        for rows in _tile_slices(len(x), side):
            block, best = _load(x, rows, "cosine", "x"), None
            for number, columns in enumerate(_tile_slices(len(y), side)):
                tile = _similarities(block, _load(y, columns, "cosine", "y"), "cosine")
                best = _merge(best, _largest_by_block(tile, k), columns.start, k)
                backward[number] = _merge(backward[number], _largest_by_block(tile, k, down=True), rows.start, k)
            forward.append(best)
    sides = (_concatenate(forward, x, min(k, len(y))), _concatenate(backward, y, min(k, len(x))))
    as_numpy = (Neighbours(found.scores.cpu().numpy(), found.indices.cpu().numpy()) for found in sides)
    return next(as_numpy), next(as_numpy)


def _largest_by_block(tile: Tensor, k: int, *, down: bool = False) -> Neighbours:
    """The k largest of each row, or of each column if `down`; among equal ones the lowest index first.

    The k largest lie in the k blocks with the largest maxima, since each of these blocks has an element that ranks
    before all elements of any other block. One pass finds the maxima of all blocks; the search then reads k blocks.
    """
    dim = 0 if down else 1
    length = tile.shape[dim]
    short = -length % BLOCK
    padded = functional.pad(tile, (0, 0, 0, short) if down else (0, short), value=-torch.inf) if short else tile
    blocks = torch.unflatten(padded, dim, (-1, BLOCK))
    maxima = blocks.amax(dim + 1)
    if down:
        blocks, maxima = blocks.permute(2, 0, 1), maxima.T.contiguous()
    chosen = _largest(maxima, min(k, maxima.shape[1])).indices.sort(dim=1).values
    members = blocks.gather(1, chosen[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    scores, places = _largest(members, min(k, length))
    return Neighbours(scores, chosen.gather(1, places // BLOCK) * BLOCK + places % BLOCK)


def _largest(scores: Tensor, k: int) -> Neighbours:
    """The k largest of each row; ties by lowest column, which torch.topk does not guarantee. Overwrites `scores`."""
    if k >= SORT_FROM:
        return Neighbours(*(part[:, :k] for part in scores.sort(dim=1, descending=True, stable=True)))
    found = []
    for _ in range(k):
        found.append(scores.max(dim=1, keepdim=True))
        scores.scatter_(1, found[-1].indices, -torch.inf)
    return Neighbours(torch.cat([best.values for best in found], 1), torch.cat([best.indices for best in found], 1))


def _merge(best: Neighbours | None, new: Neighbours, offset: int, k: int) -> Neighbours:
    """The k best of the earlier tiles and of a new tile whose columns start at `offset`."""
    moved = Neighbours(new.scores, new.indices + offset)
    if best is None:
        return moved
    scores, indices = (torch.cat(parts, dim=1) for parts in zip(best, moved, strict=True))
    kept, places = _largest(scores, min(k, scores.shape[1]))
    return Neighbours(kept, indices.gather(1, places))


def _load(vectors: Vectors, rows: slice, metric: Metric, name: str) -> Tensor:
    """Some rows in fp32, normalised to length 1 for cosine."""
    part = vectors[rows]
    block = part.detach().float() if isinstance(part, Tensor) else torch.from_numpy(np.array(part, dtype=np.float32))
    norms = torch.linalg.vector_norm(block, dim=1, keepdim=True)
    finite = norms.isfinite()
    if not finite.all():
        row = rows.start + int((~finite).squeeze(1).nonzero()[0])
        raise UserError(f"{name} row {row} holds NaN, infinity or values too large for fp32")
    return block / norms.where(norms > 0, 1.0) if metric == "cosine" else block


def _similarities(queries: Tensor, index: Tensor, metric: Metric) -> Tensor:
    if metric == "l2":  # the difference itself: expanding the square would cancel digits
        return -torch.cdist(queries, index, compute_mode="donot_use_mm_for_euclid_dist")
    return queries @ index.T


def mean_cosines(side: Neighbours) -> NDArray[np.float64]:
    """The mean cosine of each row to its neighbours (n,); 0 without neighbours."""
    scores = side.scores
    return np.asarray(scores.mean(axis=1, dtype=np.float64)) if scores.shape[1] else np.zeros(len(scores))


def _best_margins(
    side: Neighbours, own: NDArray[np.float64], other: NDArray[np.float64], margin: Margin
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The best margin of each row, and the index of that neighbour."""
    if not side.scores.shape[1]:
        return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64)
    cosines, level = side.scores.astype(np.float64), (own[:, None] + other[side.indices]) / 2
    scores = margins(cosines, level, margin)
    rows, column = np.arange(len(scores)), scores.argmax(axis=1)
    return scores[rows, column].astype(np.float32), side.indices[rows, column]


def margins(cosines: NDArray[np.float64], level: NDArray[np.float64], margin: Margin) -> NDArray[np.float64]:
    """Margins of `cosines` over `level`, the mean cosine of their neighbourhoods; elementwise."""
    if margin == "ratio":
        # 0 / 0, which zero vectors give, ranks last
        return np.divide(cosines, level, out=np.full_like(cosines, -np.inf), where=level != 0)
    return cosines - level if margin == "distance" else cosines


def _one_to_one(
    scores: NDArray[np.float32], sources: NDArray[np.int64], targets: NDArray[np.int64], threshold: float
) -> Mined:
    """Greedy: best first, ties by lowest source and target, each row once."""
    order = np.lexsort((targets, sources, -scores))
    order = order[scores[order] > threshold]
    used_sources, used_targets, kept = set[int](), set[int](), []
    for place, source, target in zip(order.tolist(), sources[order].tolist(), targets[order].tolist(), strict=True):
        if source not in used_sources and target not in used_targets:
            used_sources.add(source)
            used_targets.add(target)
            kept.append(place)
    chosen = np.array(kept, dtype=np.int64)
    return Mined(scores[chosen], sources[chosen], targets[chosen])


def _tile_slices(length: int, side: int) -> Iterator[slice]:
    return (slice(start, min(start + side, length)) for start in range(0, length, side))


def _tile_side(vectors: Vectors, tile_bytes: int | None) -> int:
    """Rows and columns of a square tile of fp32 scores, in whole blocks."""
    device = vectors.device.type if isinstance(vectors, Tensor) else "cpu"
    budget = TILE_BYTES.get(device, TILE_BYTES["cpu"]) if tile_bytes is None else tile_bytes
    return max(math.isqrt(budget // 4) // BLOCK, 1) * BLOCK


def _concatenate(parts: Sequence[Neighbours | None], like: Vectors, width: int) -> Neighbours:
    """The rows of all parts; an empty (n, width) without parts."""
    device = like.device if isinstance(like, Tensor) else torch.device("cpu")
    shape = (0 if width else len(like), width)
    empty = Neighbours(torch.empty(shape, device=device), torch.empty(shape, dtype=torch.int64, device=device))
    found = [part for part in parts if part is not None] or [empty]
    return Neighbours(torch.cat([part.scores for part in found]), torch.cat([part.indices for part in found]))


def _as_input_kind(found: Neighbours, like: Vectors) -> Neighbours:
    return found if isinstance(like, Tensor) else Neighbours(found.scores.numpy(), found.indices.numpy())


@contextmanager
def _full_precision(vectors: Vectors) -> Iterator[None]:
    """No gradient, no autocast, no TF32."""
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    device = vectors.device.type if isinstance(vectors, Tensor) else "cpu"
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.no_grad(), torch.autocast(device, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def _check_vectors(first: Vectors, second: Vectors, first_name: str, second_name: str) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{first_name} and {second_name} must be (n, d) and (m, d) arrays of one width, "
            f"got {tuple(first.shape)} and {tuple(second.shape)}"
        )
    where = {vectors.device if isinstance(vectors, Tensor) else "numpy" for vectors in (first, second)}
    if len(where) > 1:
        raise ValueError(f"{first_name} and {second_name} must both be NumPy arrays or lie on one device, got {where}")


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(get_args(choices))}")


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
