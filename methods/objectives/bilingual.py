"""Bilingual instances: both sides of a pair in one sequence, as translation language modelling reads them.

`[CLS] x [SEP] y [SEP]` with segment 0 on x and its specials, 1 on y (Lample and Conneau, NeurIPS 2019, arXiv
1901.07291). Which tokens belong to which side is read from the segments.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from harness.method import Corpora
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, pack
from harness.pair_method import PairExample

Side = NDArray[np.integer]


def room(encoder: Encoder, corpora: Corpora) -> int:
    """How many tokens each side of a bilingual instance may have: as many as alone, if both fit the encoder."""
    return min(corpora.max_length, encoder.max_length // 2)


class Ordered(NamedTuple):
    """The two sides of each pair in the order that was drawn, and which pairs have the target first (n,)."""

    sides: list[tuple[Side, Side]]
    swapped: NDArray[np.bool_]


def either_order(pairs: Sequence[PairExample], rng: Generator) -> Ordered:
    """Each pair's sides, the target first in half of the draws."""
    swapped = rng.random(len(pairs)) < 0.5
    sides = [(p.target, p.source) if s else (p.source, p.target) for p, s in zip(pairs, swapped, strict=True)]
    return Ordered(sides, swapped)


def joined(
    sides: Sequence[tuple[Side, Side]],
    room: int,
    *,
    special_ids: Collection[int],
    reset_positions: bool = False,
) -> PackedText:
    """One bilingual instance per pair of tokenised sides, each with its special tokens and cut to `room` tokens.

    The second side loses its first token, so that one separator stands between the two. With `reset_positions` the
    positions start again at 0 on the second side (XLM), otherwise they run on.
    """
    cut = [(clip(x, room), clip(y, room)[1:]) for x, y in sides]
    text = pack(
        [np.concatenate(pair) for pair in cut],
        segments=[np.repeat((0, 1), (len(x), len(y))) for x, y in cut],
        special_ids=frozenset(special_ids),
    )
    if not reset_positions:
        return text
    restarted = np.concatenate([np.arange(len(part)) for pair in cut for part in pair])
    return text.with_positions(torch.from_numpy(restarted))


def clip(ids: Side, room: int) -> Side:
    """The first tokens of a sequence, and its last one (the separator) in any case: at most `room`."""
    return ids if len(ids) <= room else np.concatenate([ids[: room - 1], ids[-1:]])
