"""Projection heads with batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.BatchNorm1d):
    """Batch norm in float32 or wider, with the running statistics where a batch has a single row."""

    def forward(self, rows: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
            if len(rows) > 1:
                return super().forward(rows)
            return functional.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )


def projection_head(width: int) -> nn.Sequential:
    """Two layers without bias, with batch norm after either, as in the released code of XLM-K."""
    first, second = (nn.Linear(width, width, bias=False) for _ in range(2))
    norms = BatchNorm(width, eps=1e-12), BatchNorm(width, eps=1e-12, affine=False)
    return nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1])
