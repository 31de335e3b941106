"""Packed batches: sequences in one row without padding, and means over spans of them.

Shapes: T tokens in B sequences, H hidden units, S spans. Lengths stay on the host: no step waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from harness.modeling.attention import Layout


@dataclass(frozen=True, eq=False)
class Spans:
    """Groups of token positions: `index` (N,) positions in the packed batch, `owner` (N,) their group, `sizes` (S,)."""

    index: Tensor
    owner: Tensor
    sizes: Tensor

    @classmethod
    def of(cls, bounds: Sequence[tuple[int, int]]) -> Spans:
        """Spans of half-open [start, end) positions in the packed batch. None may be empty."""
        array = np.asarray(bounds, dtype=np.int64).reshape(-1, 2)
        sizes = array[:, 1] - array[:, 0]
        assert (sizes > 0).all(), "an empty span has no mean"
        owner = np.repeat(np.arange(len(sizes)), sizes)
        index = np.arange(int(sizes.sum())) + np.repeat(array[:, 0] - (np.cumsum(sizes) - sizes), sizes)
        return cls(torch.from_numpy(index), torch.from_numpy(owner), torch.from_numpy(sizes))

    def to(self, device: torch.device | str) -> Spans:
        move = {name: getattr(self, name).to(device, non_blocking=True) for name in ("index", "owner", "sizes")}
        return Spans(**move)

    def mean(self, values: Tensor) -> Tensor:
        """(S, H) the mean of `values` (T, H) over each span, in float32 or wider."""
        return segment_mean(values[self.index], self.owner, self.sizes)


def segment_mean(values: Tensor, owner: Tensor, sizes: Tensor) -> Tensor:
    """(S, H) the mean of the rows of `values` (N, H) with the same `owner` (N,); `sizes` (S,) counts the rows of each.

    Half-precision rows are summed in float32.
    """
    wide = values if values.dtype == torch.float64 else values.float()
    sums = wide.new_zeros(sizes.shape[0], wide.shape[1]).index_add(0, owner, wide)
    return sums / sizes.to(wide.dtype).unsqueeze(1)


@dataclass(frozen=True, eq=False)
class TokenSubset:
    """Some tokens of a packed batch: `index` (N,) their positions, ascending; `layout` how many each sequence has."""

    index: Tensor
    layout: Layout

    @classmethod
    def of(cls, positions: Tensor, lengths: Sequence[int]) -> TokenSubset:
        """The tokens at `positions` (N,), ascending and on the CPU, of a batch of sequences of these lengths."""
        ends = np.searchsorted(positions.numpy(), np.cumsum((0, *lengths)))
        return cls(positions, Layout.of(tuple(np.diff(ends).tolist())))

    def to(self, device: torch.device | str) -> TokenSubset:
        return TokenSubset(self.index.to(device, non_blocking=True), self.layout.to(device))


@dataclass(frozen=True, eq=False)
class PackedText:
    """A batch of text: B sequences as one row of T tokens.

    `ids`, `segments`, `positions` (0-based within each sequence) and `special` are (T,); `lengths` are the B sequence
    lengths, on the host.
    """

    ids: Tensor
    lengths: tuple[int, ...]
    segments: Tensor
    positions: Tensor
    special: Tensor
    layout: Layout

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The position of each sequence's first token in the packed row."""
        return tuple(int(s) for s in np.cumsum((0, *self.lengths[:-1])))

    @property
    def first(self) -> TokenSubset:
        """The first token of each sequence."""
        counts = Layout((1,) * len(self), torch.arange(len(self) + 1, dtype=torch.int32, device=self.ids.device))
        return TokenSubset(self.layout.offsets[:-1].long(), counts)

    @property
    def tokens(self) -> int:
        return int(self.ids.shape[0])

    def to(self, device: torch.device | str) -> PackedText:
        move = {n: getattr(self, n).to(device, non_blocking=True) for n in ("ids", "segments", "positions", "special")}
        return replace(self, **move, layout=self.layout.to(device))

    def with_ids(self, ids: Tensor) -> PackedText:
        """The same layout over other token ids (T,)."""
        assert ids.shape == self.ids.shape, f"{tuple(ids.shape)} ids for {tuple(self.ids.shape)} positions"
        return replace(self, ids=ids)

    def with_positions(self, positions: Tensor) -> PackedText:
        """The same tokens at other 0-based positions (T,), such as restarted ones in the second segment (XLM)."""
        assert positions.shape == self.ids.shape
        return replace(self, positions=positions)


def pack(
    sequences: Sequence[np.ndarray | Sequence[int]],
    *,
    special_ids: frozenset[int] | Sequence[int] = frozenset(),
    segments: Sequence[np.ndarray | Sequence[int]] | None = None,
) -> PackedText:
    """Packs sequences of token ids, none of them empty. `segments` has one segment id per token, by default 0."""
    lengths = tuple(len(s) for s in sequences)
    assert lengths, "a batch needs at least one sequence"
    assert all(lengths), "each sequence needs at least one token"
    ids = np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences])
    positions = np.concatenate([np.arange(n, dtype=np.int64) for n in lengths])
    kinds = (
        np.zeros(len(ids), dtype=np.int64)
        if segments is None
        else np.concatenate([np.asarray(s, dtype=np.int64) for s in segments])
    )
    special = np.isin(ids, np.fromiter(special_ids, dtype=np.int64))
    return PackedText(
        torch.from_numpy(ids),
        lengths,
        torch.from_numpy(kinds),
        torch.from_numpy(positions),
        torch.from_numpy(special),
        Layout.of(lengths),
    )


def token_batches(lengths: Sequence[int] | np.ndarray, budget: int) -> list[np.ndarray]:
    """Batches of items of similar length with at most `budget` tokens each (at least one item), longest first.

    For evaluation only, since the order depends on length.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches: list[np.ndarray] = []
    start = tokens = 0
    for i, item in enumerate(order):
        length = int(lengths[item])
        if i > start and tokens + length > budget:
            batches.append(order[start:i])
            start, tokens = i, 0
        tokens += length
    if len(order) > start:
        batches.append(order[start:])
    return batches
