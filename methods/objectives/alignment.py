"""Soft and hard alignment of the tokens of a bilingual instance: which positions are whose, Sinkhorn, IterMax.

Sentences of a batch are padded to the longest: B pairs, m tokens of the first side, n of the second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.modeling.packing import PackedText

_FLOOR = 1e-6  # what a similarity of 0 or less counts as, so that rows and columns can be normalised


def side_positions(text: PackedText) -> tuple[Tensor, Tensor]:
    """Where the words of either side lie in packed bilingual instances: (B, m) and (B, n), -1 where padded.

    The first token of an instance and the last of each side are its special tokens (see `bilingual.joined`).
    """
    segments = text.segments.numpy()
    first, second = [], []
    for start, length in zip(text.starts, text.lengths, strict=True):
        middle = start + int((segments[start : start + length] == 0).sum())
        first.append(np.arange(start + 1, middle - 1))
        second.append(np.arange(middle, start + length - 1))
    return _padded(first), _padded(second)


def _padded(rows: Sequence[np.ndarray]) -> Tensor:
    table = np.full((len(rows), max(1, *map(len, rows))), -1, dtype=np.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return torch.from_numpy(table)


def at_positions(values: Tensor, positions: Tensor) -> Tensor:
    """The rows of `values` (T, H) at `positions` (B, m): (B, m, H), some row of the batch where padded."""
    return values[positions.clamp(min=0)]


def sinkhorn(similarity: Tensor, valid: Tensor, iterations: int) -> Tensor:
    """Columns, then rows of `similarity` (B, m, n) brought to sum 1 in turn; cells that are not `valid` stay 0."""
    plan = torch.where(similarity > 0, similarity, _FLOOR) * valid
    tiny = torch.finfo(plan.dtype).tiny
    for _ in range(iterations):
        plan = plan / plan.sum(1, keepdim=True).clamp(min=tiny)
        plan = plan / plan.sum(2, keepdim=True).clamp(min=tiny)
    return plan


def iter_max(similarity: Tensor, valid: Tensor, rounds: int = 2, discount: float = 0.9) -> Tensor:
    """Bool (B, m, n): the links that IterMax takes from `similarity` >= 0 (Jalili Sabet et al. 2020, arXiv 2004.08728).

    Round one links cells that are largest in their row and in their column. Each further round does so again where the
    row or the column has no link yet, with similarities multiplied by `discount` where the other one has; it is left
    out once all rows or all columns have a link, and on pairs with a side of one or two tokens.
    """
    links = _mutual(similarity, valid)
    longer = (valid.any(2).sum(1) > 2) & (valid.any(1).sum(1) > 2)
    for _ in range(rounds - 1):
        free = ~links.any(2, keepdim=True) & valid, ~links.any(1, keepdim=True) & valid
        going = longer & free[0].flatten(1).any(1) & free[1].flatten(1).any(1)
        weight = (discount * (free[0].to(similarity.dtype) + free[1].to(similarity.dtype))).clamp(max=1.0)
        links = links | (_mutual(similarity * weight, valid) & (free[0] | free[1]) & going[:, None, None])
    return links


def _mutual(similarity: Tensor, valid: Tensor) -> Tensor:
    scores = similarity.masked_fill(~valid, -1.0)
    best_column = torch.zeros_like(valid).scatter(2, scores.argmax(2, keepdim=True), value=True)
    best_row = torch.zeros_like(valid).scatter(1, scores.argmax(1, keepdim=True), value=True)
    return best_column & best_row & valid
