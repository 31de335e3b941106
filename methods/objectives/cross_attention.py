"""Attention from the states of one sequence to those of another."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from harness.modeling.attention import Layout, attend


class CrossAttention(nn.Module):
    """Attention to the states of the other side, with residual and layer norm; starts as a copy of self-attention."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        own = attention.self
        self.heads, self.size, self.rate = own.num_attention_heads, own.attention_head_size, own.dropout.p
        self.query, self.key, self.value = (copy.deepcopy(part) for part in (own.query, own.key, own.value))
        self.output = copy.deepcopy(attention.output)

    def forward(self, hidden: Tensor, other: Tensor, layout: Layout, partners: Layout) -> Tensor:
        q, k, v = (
            project(states).view(-1, self.heads, self.size)
            for project, states in ((self.query, hidden), (self.key, other), (self.value, other))
        )
        mixed = attend(q, k, v, layout, partners, dropout=self.rate if self.training else 0.0)
        out: Tensor = self.output(mixed.flatten(1), hidden)
        return out


def reinitialize(module: nn.Module, deviation: float) -> None:
    """Gives a linear layer or a layer norm its initial weights."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=deviation)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        module.reset_parameters()
