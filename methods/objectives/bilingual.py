"""Bilingual sequences: both sides of a pair joined in one sequence, as in translation language modelling.

`[CLS] x [SEP] y [SEP]` with segment 0 on x and its special tokens, 1 on y (Lample and Conneau, NeurIPS 2019, arXiv
1901.07291).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
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


def max_side_length(encoder: Encoder, corpora: Corpora) -> int:
    """The most tokens that each side of a bilingual sequence may have: both must fit the encoder."""
    return min(corpora.max_length, encoder.max_length // 2)


class OrderedSides(NamedTuple):
    """The two sides of each pair in random order, and (n,) which pairs have the target first."""

    sides: list[tuple[Side, Side]]
    swapped: NDArray[np.bool_]


def random_order(pairs: Sequence[PairExample], rng: Generator, target_first: float = 0.5) -> OrderedSides:
    """The sides of each pair, the target first with this probability."""
    swapped = rng.random(len(pairs)) < target_first
    sides = [(p.target, p.source) if s else (p.source, p.target) for p, s in zip(pairs, swapped, strict=True)]
    return OrderedSides(sides, swapped)


class MixedPair(NamedTuple):
    """Two pairs mixed into one: the sides that make the query, those that make the key, and the two sentence ids."""

    queries: tuple[Side, Side]
    keys: tuple[Side, Side]
    sentences: tuple[int, int]


def mix_pairs(examples: Sequence[PairExample], rng: Generator) -> Iterator[MixedPair]:
    """Mixed pairs: the x sides of two pairs of one language and their y sides, each in a random order.

    The pairs of a language are taken two by two; a last one is mixed with the first of its language.
    """
    for _, same in groupby(sorted(examples, key=lambda e: e.language), key=lambda e: e.language):
        group = list(same)
        for i in range(0, len(group), 2):
            a, b = group[i], group[(i + 1) % len(group)]
            swapped = rng.random(3) < 0.5
            x = (b.source, a.source) if swapped[0] else (a.source, b.source)
            y = (b.target, a.target) if swapped[1] else (a.target, b.target)
            yield MixedPair(*((y, x) if swapped[2] else (x, y)), (a.sentence, b.sentence))


def join_sides(
    sides: Sequence[tuple[Side, Side]],
    max_length: int,
    *,
    special_ids: Collection[int],
    own_boundaries: bool = False,
    reset_positions: bool = False,
) -> PackedText:
    """One bilingual sequence per pair of tokenised sides, each cut to `max_length` tokens with its special tokens.

    The second side loses its first token, so that one separator is between the sides, unless each has its
    `own_boundaries` (XLM). With `reset_positions` the positions of the second side start at 0 again (XLM), otherwise
    they continue.
    """
    first = 0 if own_boundaries else 1
    cut = [(truncate(x, max_length), truncate(y, max_length)[first:]) for x, y in sides]
    text = pack(
        [np.concatenate(pair) for pair in cut],
        segments=[np.repeat((0, 1), (len(x), len(y))) for x, y in cut],
        special_ids=frozenset(special_ids),
    )
    if not reset_positions:
        return text
    restarted = np.concatenate([np.arange(len(part)) for pair in cut for part in pair])
    return text.with_positions(torch.from_numpy(restarted))


def truncate(ids: Side, max_length: int) -> Side:
    """The first tokens of a sequence and its last one, the separator: at most `max_length`."""
    return ids if len(ids) <= max_length else np.concatenate([ids[: max_length - 1], ids[-1:]])
