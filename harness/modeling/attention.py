"""Attention over packed batches: every sequence attends to itself, or to its partner, alone.

Three back ends give the same result. `varlen` runs on CUDA in half precision without dropout; `padded` groups sequences
of similar length and uses scaled-dot-product attention (the default elsewhere); `block` is the reference, one dense
mask over the packed row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

NAME = "alignboard"
BACKENDS = ("auto", "varlen", "padded", "block")
_MIN_FILL = 0.75  # a sequence shorter than this share of the longest of its bucket starts the next bucket
_backend: ContextVar[str] = ContextVar("backend", default="auto")


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Uses one back end inside the block; "auto" selects it by device, type and dropout."""
    assert name in BACKENDS, name
    token = _backend.set(name)
    try:
        yield
    finally:
        _backend.reset(token)


@dataclass(frozen=True, eq=False)
class Bucket:
    """Sequences of similar length: `members` (b,), their positions padded to (b, L), and `valid` (b, L) or None."""

    members: np.ndarray
    index: Tensor
    valid: Tensor | None


@dataclass(frozen=True, eq=False)
class Layout:
    """The lengths of the sequences of a packed row, and their `offsets` (B + 1,) int32 on the device of the batch."""

    lengths: tuple[int, ...]
    offsets: Tensor

    @classmethod
    def of(cls, lengths: tuple[int, ...]) -> Layout:
        return cls(lengths, torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)))

    def to(self, device: torch.device | str) -> Layout:
        return Layout(self.lengths, self.offsets.to(device, non_blocking=True))

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @cached_property
    def owner(self) -> Tensor:
        """(T,) the sequence of each token."""
        counts = torch.as_tensor(self.lengths, device=self.offsets.device)
        return torch.repeat_interleave(counts, output_size=sum(self.lengths))

    @cached_property
    def within(self) -> Tensor:
        """(T,) the 0-based position of each token in its sequence."""
        place = np.concatenate([np.arange(n) for n in self.lengths])
        return torch.from_numpy(place).to(self.offsets.device)

    def gather_index(self, members: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """The token positions of these sequences, padded to (b, L), and which of them are valid (None: all)."""
        lengths = np.asarray(self.lengths)[members]
        starts = np.concatenate([[0], np.cumsum(self.lengths)])[members]
        place = np.arange(lengths.max())
        valid = place < lengths[:, None]
        index = starts[:, None] + np.where(valid, place, 0)
        device = self.offsets.device
        mask = None if valid.all() else torch.from_numpy(valid).to(device)
        return torch.from_numpy(index).to(device), mask

    @cached_property
    def buckets(self) -> tuple[Bucket, ...]:
        order = [n for n in np.argsort(-np.asarray(self.lengths), kind="stable") if self.lengths[n]]
        groups: list[list[int]] = []
        for member in order:
            if not groups or self.lengths[member] < _MIN_FILL * self.lengths[groups[-1][0]]:
                groups.append([])
            groups[-1].append(int(member))
        return tuple(Bucket(np.asarray(g), *self.gather_index(np.asarray(g))) for g in groups)

    @cached_property
    def unbucket(self) -> Tensor:
        """(T,) the row of each token in the concatenation of the valid tokens of all buckets."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        members = np.concatenate([bucket.members for bucket in self.buckets])
        order = np.concatenate([np.arange(starts[m], starts[m + 1]) for m in members])
        return torch.from_numpy(np.argsort(order, kind="stable")).to(self.offsets.device)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_layout: Layout,
    k_layout: Layout,
    causal: bool = False,
    *,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Attention of each query sequence over the key sequence of the same number.

    q is (Tq, heads, D), k and v are (Tk, heads, D); the result is (Tq, heads, D). A query sequence may be empty, a key
    sequence may not. `causal` needs equal layouts.
    """
    assert len(q_layout.lengths) == len(k_layout.lengths), "each query sequence needs its key sequence"
    assert not causal or q_layout.lengths == k_layout.lengths, "causal attention is within one sequence"
    name = _backend.get()
    if name == "auto":
        half = q.dtype in (torch.float16, torch.bfloat16)
        name = "varlen" if q.is_cuda and half and dropout == 0 else "padded"
    function = {"varlen": _varlen, "padded": _padded, "block": _block}[name]
    return function(q, k, v, q_layout, k_layout, causal, dropout, scale)


def _varlen(
    q: Tensor, k: Tensor, v: Tensor, ql: Layout, kl: Layout, causal: bool, dropout: float, scale: float | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    assert dropout == 0, "varlen attention has no dropout"
    window = (-1, 0) if causal else (-1, -1)
    out = varlen_attn(q, k, v, ql.offsets, kl.offsets, ql.longest, kl.longest, window_size=window, scale=scale)
    assert isinstance(out, Tensor)
    return out


def _block(
    q: Tensor, k: Tensor, v: Tensor, ql: Layout, kl: Layout, causal: bool, dropout: float, scale: float | None
) -> Tensor:
    mask = ql.owner[:, None] == kl.owner[None, :]
    if causal:
        mask &= ql.within[:, None] >= kl.within[None, :]
    rows = [t.transpose(0, 1).unsqueeze(0) for t in (q, k, v)]
    out = scaled_dot_product_attention(rows[0], rows[1], rows[2], attn_mask=mask, dropout_p=dropout, scale=scale)
    return out[0].transpose(0, 1)


def _padded(
    q: Tensor, k: Tensor, v: Tensor, ql: Layout, kl: Layout, causal: bool, dropout: float, scale: float | None
) -> Tensor:
    if not len(q):
        return q
    parts = []
    for bucket in ql.buckets:
        index, valid = bucket.index, bucket.valid
        key_index, key_valid = (index, valid) if kl is ql else kl.gather_index(bucket.members)
        mask = None if key_valid is None else key_valid[:, None, None, :]
        if causal:
            future = torch.ones(index.shape[1], index.shape[1], dtype=torch.bool, device=q.device).tril()
            mask = future if mask is None else mask & future
        rows = [t[i].transpose(1, 2) for t, i in ((q, index), (k, key_index), (v, key_index))]
        out = scaled_dot_product_attention(rows[0], rows[1], rows[2], attn_mask=mask, dropout_p=dropout, scale=scale)
        out = out.transpose(1, 2)
        parts.append(out.flatten(0, 1) if valid is None else out[valid])
    return torch.cat(parts)[ql.unbucket]


def _for_transformers(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """The interface of Hugging Face models: (1, heads, T, D) in, (1, T, heads, D) out."""
    assert attention_mask is None, "a packed batch has a layout, not a mask"
    q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))
    return attend(q, k, v, layout, layout, dropout=dropout, scale=scaling).unsqueeze(0), None


AttentionInterface.register(NAME, _for_transformers)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, lambda *_, **__: None)  # a packed batch has no mask
