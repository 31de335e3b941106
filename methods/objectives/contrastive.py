"""Contrastive objectives: InfoNCE and CZ-NCE on cosine similarities.

For an anchor a with positive p and negatives K, at temperature t and with s(u, v) = cos(u, v) / t:

    InfoNCE   -log( e^s(a,p) / ( e^s(a,p) + sum_{k in K} e^s(a,k) ) )
    CZ-NCE    -log( e^s(a,p) /              sum_{k in K} e^s(a,k)   )

CZ-NCE (Chen et al., "Multi-Level Contrastive Learning for Cross-Lingual Alignment", ICASSP 2022, arXiv 2202.13083)
leaves the positive out of the denominator, so that its gradient does not vanish with the loss. The loss may be
negative. Per anchor it equals the decoupled contrastive loss of Yeh et al. (ECCV 2022, arXiv 2110.06848).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Reduction = Literal["mean", "none"]


def nce(
    anchors: Tensor,
    candidates: Tensor,
    positive: Tensor,
    *,
    exclude: Tensor | None = None,
    keep_positive: bool = True,
    temperature: float,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The loss of each anchor against one list of candidates, (m,).

    anchors (m, d), candidates (c, d), positive (m,): the column of each anchor's positive. In-batch vectors, a queue
    and hard negatives are all columns of `candidates`. `exclude` bool (m, c) marks columns that are not negatives of an
    anchor, such as the anchor itself; it has no effect at the column of the positive. keep_positive=True is InfoNCE,
    False is CZ-NCE. An anchor without negatives has loss and gradient 0.

    The vectors are normalised here. Similarities and loss are computed in `dtype` under any autocast; float64 vectors
    keep float64 unless `dtype` is a half precision. Raises ValueError for shapes that do not fit.
    """
    _check_shapes(anchors, candidates, positive, exclude, temperature)
    with torch.autocast(anchors.device.type, enabled=False):
        precision = torch.float64 if anchors.dtype == torch.float64 and dtype == torch.float32 else dtype
        columns = _normalize(candidates)
        rows = columns if anchors is candidates else _normalize(anchors)
        logits = (rows / temperature).to(precision) @ columns.to(precision).T
        column = positive[:, None]
        left_out = torch.zeros_like(logits, dtype=torch.bool) if exclude is None else exclude
        left_out = left_out.scatter(1, column, not keep_positive)
        alone = left_out.all(dim=1)
        # A row of -inf would have the gradient NaN: rows without negatives are computed in full, then set to 0.
        denominator = logits.masked_fill(left_out & ~alone[:, None], -torch.inf).logsumexp(dim=1)
        return (denominator - logits.gather(1, column).squeeze(1)).masked_fill(alone, 0.0)


def info_nce(
    x: Tensor,
    y: Tensor,
    *,
    temperature: float,
    symmetric: bool = True,
    exclude: Tensor | None = None,
    reduction: Reduction = "mean",
    dtype: torch.dtype = torch.float32,
    keep_positive: bool = True,
) -> Tensor:
    """InfoNCE over n pairs x, y (n, d): row i of one side is the positive of row i of the other.

    The negatives of an anchor are the other 2n - 2 vectors of the batch, of both sides. With symmetric=False only x are
    anchors. `exclude` bool (2n, 2n) marks pairs of the rows [x; y] that are not negatives, see `in_batch_exclusions`.
    reduction="mean" gives the scalar mean over anchors, "none" the loss of each: (2n,), x before y, or (n,).
    keep_positive=False is CZ-NCE.
    """
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"x and y must be two (n, d) tensors of one shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    n = len(x)
    both = torch.cat([x, y])
    left_out = torch.eye(2 * n, dtype=torch.bool, device=x.device)
    if exclude is not None:
        if exclude.shape != left_out.shape:
            raise ValueError(f"exclude must be (2n, 2n) = {tuple(left_out.shape)}, got {tuple(exclude.shape)}")
        left_out = left_out | exclude
    m = 2 * n if symmetric else n
    losses = nce(
        both if symmetric else x,
        both,
        torch.arange(n, n + m, device=x.device) % (2 * n),
        exclude=left_out[:m],
        keep_positive=keep_positive,
        temperature=temperature,
        dtype=dtype,
    )
    return losses.mean() if reduction == "mean" else losses


def cz_nce(x: Tensor, y: Tensor, *, temperature: float, **options: Any) -> Tensor:
    """CZ-NCE over n pairs: as `info_nce`, with the same options and the positive left out of the denominator."""
    return info_nce(x, y, temperature=temperature, keep_positive=False, **options)


def in_batch_exclusions(groups: Tensor) -> Tensor:
    """Bool (2n, 2n) over the rows [x; y]: pairs of different rows that share a group, for `exclude`.

    groups (n,): for example the sentence id of each pair, since a sentence is repeated once per matched word. The
    positive of an anchor is never marked.
    """
    same = groups[:, None] == groups[None, :]
    same.fill_diagonal_(False)
    return same.repeat(2, 2)


def _normalize(vectors: Tensor) -> Tensor:
    """Rows of length 1, in fp32 or wider: in fp16 the squares of a long vector overflow."""
    return functional.normalize(vectors.to(torch.promote_types(vectors.dtype, torch.float32)), dim=-1)


def _check_shapes(
    anchors: Tensor, candidates: Tensor, positive: Tensor, exclude: Tensor | None, temperature: float
) -> None:
    if anchors.ndim != 2 or candidates.ndim != 2 or anchors.shape[1] != candidates.shape[1]:
        raise ValueError(
            "anchors and candidates must be (m, d) and (c, d) tensors of one width, "
            f"got {tuple(anchors.shape)} and {tuple(candidates.shape)}"
        )
    if positive.shape != anchors.shape[:1]:
        raise ValueError(f"positive must hold one column per anchor, ({len(anchors)},), got {tuple(positive.shape)}")
    if exclude is not None and exclude.shape != (len(anchors), len(candidates)):
        raise ValueError(f"exclude must be (m, c) = {(len(anchors), len(candidates))}, got {tuple(exclude.shape)}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
