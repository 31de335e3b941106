"""Word alignment inside a bilingual sequence: the positions of each side, Sinkhorn normalisation, IterMax.

The sentences of a batch are padded to the longest: B pairs, m tokens of the first side, n of the second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.modeling.packing import PackedText

_MIN_SIMILARITY = 1e-6  # replaces similarities of 0 or less, so that every row and column can be normalised


def side_positions(text: PackedText) -> tuple[Tensor, Tensor]:
    """The positions of each side's words in packed bilingual sequences: (B, m) and (B, n), -1 where padded.

    Special tokens are left out: the first token of a sequence, and the last of each side (see `bilingual.join_sides`).
    """
    segments = text.segments.numpy()
    first, second = [], []
    for start, length in zip(text.starts, text.lengths, strict=True):
        middle = start + int((segments[start : start + length] == 0).sum())
        first.append(np.arange(start + 1, middle - 1))
        second.append(np.arange(middle, start + length - 1))
    return _pad(first), _pad(second)


def _pad(rows: Sequence[np.ndarray]) -> Tensor:
    table = np.full((len(rows), max(1, *map(len, rows))), -1, dtype=np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(table)


def gather_positions(values: Tensor, positions: Tensor) -> Tensor:
    """The rows of `values` (T, H) at `positions` (B, m): (B, m, H). Padded cells hold an arbitrary row."""
    return values[positions.clamp(min=0)]


def sinkhorn(similarity: Tensor, valid: Tensor, iterations: int) -> Tensor:
    """Normalises the columns, then the rows of `similarity` (B, m, n) to sum 1, `iterations` times.

    Cells that are not `valid` stay 0.
    """
    plan = torch.where(similarity > 0, similarity, _MIN_SIMILARITY) * valid
    tiny = torch.finfo(plan.dtype).tiny
    for _ in range(iterations):
        plan = plan / plan.sum(1, keepdim=True).clamp(min=tiny)
        plan = plan / plan.sum(2, keepdim=True).clamp(min=tiny)
    return plan


def iter_max(similarity: Tensor, valid: Tensor, rounds: int = 2, discount: float = 0.9) -> Tensor:
    """Bool (B, m, n): the links of IterMax on `similarity` >= 0 (Jalili Sabet et al. 2020, arXiv 2004.08728).

    The first round links cells that are the largest of their row and of their column. Each further round does so again
    where the row or the column has no link yet; similarities are multiplied by `discount` where the other one has a
    link. Further rounds stop once all rows or all columns have a link, and skip pairs with a side of one or two tokens.
    """
    links = _mutual_best(similarity, valid)
    longer = (valid.any(2).sum(1) > 2) & (valid.any(1).sum(1) > 2)
    for _ in range(rounds - 1):
        free = ~links.any(2, keepdim=True) & valid, ~links.any(1, keepdim=True) & valid
        active = longer & free[0].flatten(1).any(1) & free[1].flatten(1).any(1)
        weight = (discount * (free[0].to(similarity.dtype) + free[1].to(similarity.dtype))).clamp(max=1.0)
        links = links | (_mutual_best(similarity * weight, valid) & (free[0] | free[1]) & active[:, None, None])
    return links


def _mutual_best(similarity: Tensor, valid: Tensor) -> Tensor:
    """Bool (B, m, n): the cells that are the largest of their row and of their column."""
    scores = similarity.masked_fill(~valid, -1.0)
    best_column = torch.zeros_like(valid).scatter(2, scores.argmax(2, keepdim=True), value=True)
    best_row = torch.zeros_like(valid).scatter(1, scores.argmax(1, keepdim=True), value=True)
    return best_column & best_row & valid
