"""Masked language modelling: the corruption of BERT (Devlin et al., 2019) and its loss on the masked positions only."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from harness.method import Batch, Term

if TYPE_CHECKING:
    from harness.modeling.encoder import Encoder
    from harness.modeling.packing import PackedText
    from harness.modeling.tokenizer import Tokenizer

MASKED, REPLACED = 0.8, 0.1  # of the chosen positions; the others keep their token


class Corrupted(NamedTuple):
    """`ids` (T,) with the chosen positions corrupted, `positions` (M,) rising, `labels` (M,): what stood there."""

    ids: Tensor
    positions: Tensor
    labels: Tensor


def corrupt(
    ids: NDArray[Any] | Tensor,
    maskable: NDArray[np.bool_] | Tensor,
    *,
    rng: Generator,
    rate: float = 0.15,
    mask_id: int,
    vocab_size: int,
    special_ids: Collection[int],
) -> Corrupted:
    """Chooses each maskable position with probability `rate`; of those, 80% become the mask, 10% a random token.

    ids (T,) and maskable bool (T,) lie on the CPU and are left as they are. At least one position is chosen where one
    is maskable. Special tokens are never chosen and never drawn as replacement. Raises ValueError for unlike shapes or
    a rate outside (0, 1].
    """
    corrupted = np.asarray(ids).astype(np.int64)
    allowed = np.asarray(maskable, dtype=bool)
    if corrupted.ndim != 1 or corrupted.shape != allowed.shape:
        raise ValueError(f"ids and maskable must be two (T,) arrays, got {corrupted.shape} and {allowed.shape}")
    if not 0 < rate <= 1:
        raise ValueError(f"rate must lie in (0, 1], got {rate}")
    specials = sorted({mask_id, *special_ids})
    eligible = np.flatnonzero(allowed & ~np.isin(corrupted, specials))
    positions = eligible[rng.random(len(eligible)) < rate]
    if len(eligible) and not len(positions):
        positions = rng.choice(eligible, size=1)
    labels = corrupted[positions]
    fate = rng.random(len(positions))
    random_ids = _ordinary(rng, len(positions), vocab_size, specials)
    corrupted[positions] = np.where(fate < MASKED, mask_id, np.where(fate < MASKED + REPLACED, random_ids, labels))
    return Corrupted(torch.from_numpy(corrupted), torch.from_numpy(positions), torch.from_numpy(labels))


def masked_batch(text: PackedText, tokenizer: Tokenizer, rng: Generator, rate: float = 0.15) -> Batch:
    """A corrupted packed text with the `positions` and `labels` of its masked tokens."""
    masked = corrupt(
        text.ids,
        ~text.special,
        rng=rng,
        rate=rate,
        mask_id=tokenizer.mask_id,
        vocab_size=tokenizer.vocab_size,
        special_ids=tokenizer.special_ids,
    )
    return {"text": text.with_ids(masked.ids), "positions": masked.positions, "labels": masked.labels}


def masked_lm(encoder: Encoder, hidden: Tensor, positions: Tensor, labels: Tensor) -> Term:
    """Summed fp32 cross-entropy of the tokens at `positions` of hidden (T, H); the head sees those positions only."""
    logits = encoder.mlm_logits(hidden[positions])
    return Term(functional.cross_entropy(logits.float(), labels, reduction="sum"), float(len(labels)))


def _ordinary(rng: Generator, count: int, vocab_size: int, specials: list[int]) -> NDArray[np.int64]:
    """Tokens drawn evenly from the vocabulary without its special ones: each draw is moved up past those below it."""
    inside = [token for token in specials if 0 <= token < vocab_size]
    drawn = rng.integers(vocab_size - len(inside), size=count)
    for token in inside:
        drawn += drawn >= token
    return drawn
