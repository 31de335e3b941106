"""What reaches an encoder from a contrastive loss: the size and the rounding of gradients on frozen vectors.

The gradient of a pair is that of its own two losses, l(x_i) + l(y_i), with respect to their anchors. It is lost where
every component is zero or below the smallest normal number of the precision in which the logits are computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LOSSES = {"InfoNCE": True, "CZ-NCE": False}  # whether the positive is in the denominator
WRONG = 0.1  # a gradient that differs from that in float64 by more than this share of its length


@dataclass(frozen=True)
class GradientFigures:
    """The gradients of all pairs under one loss, batch size, temperature and precision of the logits.

    `lost` and `wrong` are percentages of the pairs, `wrong` those whose gradient differs from the exact one by more
    than a tenth of its length, lost ones included. `norm` is the median length of the exact gradient.
    """

    state: str
    loss: str
    precision: str
    temperature: float
    batch_size: int
    pairs: int
    lost: float
    wrong: float
    norm: float


def measure_gradients(
    contrast: Callable[..., Tensor],
    state: str,
    x: Tensor,
    y: Tensor,
    sizes: Sequence[int],
    temperatures: Sequence[float],
) -> Iterator[GradientFigures]:
    """The figures of every loss, precision, temperature and batch size on the pairs x, y (N, d) in their order.

    `contrast` is `nce` of `methods.objectives.contrastive`. A batch holds the next n pairs; what does not fill one is
    left out. Raises ValueError for a size above N.
    """
    x, y = (functional.normalize(side.double(), dim=1) for side in (x, y))
    for size in sizes:
        if not 2 <= size <= len(x):
            raise ValueError(f"a batch of {size} pairs from {len(x)}")
        for temperature, (loss, keep_positive) in itertools.product(temperatures, LOSSES.items()):
            find = partial(_gradients, contrast, x, y, size, keep_positive, temperature)
            exact = find(torch.float32, torch.float64)  # (pairs, 2d)
            norms = exact.norm(dim=1)
            for name, precision in PRECISIONS.items():
                found = find(precision, torch.float32)
                # the gradient of a logit reaches the anchor divided by the temperature
                lost = found.abs().amax(1) * temperature < torch.finfo(precision).tiny
                wrong = lost | ((found - exact).norm(dim=1) > WRONG * norms)
                lost_share, wrong_share = (100 * float(which.double().mean()) for which in (lost, wrong))
                figures = (len(found), lost_share, wrong_share, float(norms.median()))
                yield GradientFigures(state, loss, name, temperature, size, *figures)


def _gradients(
    contrast: Callable[..., Tensor],
    x: Tensor,
    y: Tensor,
    size: int,
    keep_positive: bool,
    temperature: float,
    precision: torch.dtype,
    vectors: torch.dtype,
) -> Tensor:
    """(pairs, 2d) float64, the gradient of each pair's two losses with respect to its own two vectors as anchors, with
    logits in `precision` (or in that of float64 vectors)."""
    found = []
    for at in range(0, len(x) - size + 1, size):
        candidates = torch.cat([x[at : at + size], y[at : at + size]]).to(vectors)
        anchors = candidates.clone().requires_grad_()
        losses = contrast(
            anchors,
            candidates,
            torch.arange(size, 3 * size) % (2 * size),
            exclude=torch.eye(2 * size, dtype=torch.bool),
            keep_positive=keep_positive,
            temperature=temperature,
            dtype=precision,
        )
        (own,) = torch.autograd.grad(losses.sum(), anchors)
        found.append(torch.cat([own[:size], own[size:]], dim=1).double())
    return torch.cat(found)
