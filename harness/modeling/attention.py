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

    def rows(self, first: int, last: int) -> Layout:
        """The layout of the sequences [first, last) alone, without waiting for the device."""
        return Layout(self.lengths[first:last], self.offsets[first : last + 1] - self.offsets[first])

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @cached_property
    def owner(self) -> Tensor:
        """(T,) the sequence of each token."""
        return torch.bucketize(self._places, self.offsets[1:].contiguous(), right=True)

    @cached_property
    def within(self) -> Tensor:
        """(T,) the 0-based position of each token in its sequence."""
        return self._places - self.offsets[self.owner]

    @cached_property
    def _places(self) -> Tensor:
        return torch.arange(sum(self.lengths), device=self.offsets.device)

    def gather_index(self, members: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """The token positions of these sequences, padded to (b, L), and which of them are valid (None: all)."""
        lengths = np.asarray(self.lengths)[members]
        starts = np.concatenate([[0], np.cumsum(self.lengths)])[members]
        place = np.arange(lengths.max())
        valid = place < lengths[:, None]
        index = starts[:, None] + np.where(valid, place, 0)
        return self._on_device(index), None if valid.all() else self._on_device(valid)

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
        """(T,) the row of each token in the concatenation of all padded buckets."""
        starts, rows, base = np.cumsum((0, *self.lengths)), np.empty(sum(self.lengths), dtype=np.int64), 0
        for bucket in self.buckets:
            width = self.lengths[bucket.members[0]]
            for number, member in enumerate(bucket.members):
                first = base + number * width
                rows[starts[member] : starts[member + 1]] = np.arange(first, first + self.lengths[member])
            base += len(bucket.members) * width
        return self._on_device(rows)

    def _on_device(self, values: np.ndarray) -> Tensor:
        """On the device of the batch, without waiting for it."""
        return torch.from_numpy(values).to(self.offsets.device, non_blocking=True)


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
        index = bucket.index
        key_index, key_valid = (index, bucket.valid) if kl is ql else kl.gather_index(bucket.members)
        mask = None if key_valid is None else key_valid[:, None, None, :]
        if causal:
            future = torch.ones(index.shape[1], index.shape[1], dtype=torch.bool, device=q.device).tril()
            mask = future if mask is None else mask & future
        rows = [t[i].transpose(1, 2) for t, i in ((q, index), (k, key_index), (v, key_index))]
        out = scaled_dot_product_attention(rows[0], rows[1], rows[2], attn_mask=mask, dropout_p=dropout, scale=scale)
        parts.append(out.transpose(1, 2).flatten(0, 1))
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
