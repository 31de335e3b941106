"""Masked language modelling: the masking of BERT (Devlin et al. 2019), and the loss on the masked positions only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from harness.method import Batch, Term
from harness.modeling.packing import TokenSubset

if TYPE_CHECKING:
    from harness.modeling.encoder import Encoder
    from harness.modeling.packing import PackedText
    from harness.modeling.tokenizer import Tokenizer


class Fates(NamedTuple):
    """The shares of the selected positions that become the mask, and a random token; the others keep their token."""

    masked: float
    replaced: float


BERT = Fates(0.8, 0.1)
ELECTRA = Fates(0.85, 0.0)  # Clark et al., ICLR 2020, arXiv 2003.10555


class MaskedTokens(NamedTuple):
    """`ids` (T,) after masking, the masked `positions` (M,) in order, and `labels` (M,), their original tokens."""

    ids: Tensor
    positions: Tensor
    labels: Tensor


def mask_tokens(
    ids: NDArray[Any] | Tensor,
    maskable: NDArray[np.bool_] | Tensor,
    *,
    rng: Generator,
    rate: float = 0.15,
    fates: Fates = BERT,
    mask_id: int,
    vocab_size: int,
    special_ids: Collection[int],
) -> MaskedTokens:
    """Selects each maskable position with probability `rate`. By default 80% of them become the mask and 10% a random
    token.

    ids (T,) and maskable bool (T,) are on the CPU and are not changed. At least one position is selected where one is
    maskable. Special tokens are neither selected nor used as random tokens. Raises ValueError for shapes that differ or
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
    random_ids = _random_tokens(rng, len(positions), vocab_size, specials)
    corrupted[positions] = np.where(
        fate < fates.masked, mask_id, np.where(fate < fates.masked + fates.replaced, random_ids, labels)
    )
    return MaskedTokens(torch.from_numpy(corrupted), torch.from_numpy(positions), torch.from_numpy(labels))


def masked_batch(
    text: PackedText, tokenizer: Tokenizer, rng: Generator, rate: float = 0.15, fates: Fates = BERT, *, prefix: str = ""
) -> Batch:
    """The masked `text` with the `positions` and `labels` of its masked tokens; `rows` are the positions for
    `Encoder.at`. Each name has the prefix before it."""
    masked = mask_tokens(
        text.ids,
        ~text.special,
        rng=rng,
        rate=rate,
        fates=fates,
        mask_id=tokenizer.mask_id,
        vocab_size=tokenizer.vocab_size,
        special_ids=tokenizer.special_ids,
    )
    parts = {
        "text": text.with_ids(masked.ids),
        "positions": masked.positions,
        "rows": TokenSubset.of(masked.positions, text.lengths),
        "labels": masked.labels,
    }
    return {f"{prefix}{name}": value for name, value in parts.items()}


def masked_lm(encoder: Encoder, hidden: Tensor, positions: Tensor, labels: Tensor) -> Term:
    """Masked-LM term: cross-entropy in fp32 of the tokens at `positions` of hidden (T, H), summed."""
    return token_cross_entropy(encoder, hidden[positions], labels)


def token_cross_entropy(encoder: Encoder, states: Tensor, labels: Tensor) -> Term:
    """Cross-entropy in fp32 of the tokens `labels` (M,) given their last-layer states (M, H), summed."""
    logits = encoder.mlm_logits(states)
    return Term(functional.cross_entropy(logits.float(), labels, reduction="sum"), float(len(labels)))


def pool_counts(terms: Mapping[str, Term]) -> dict[str, Term]:
    """The terms over one count, the sum of theirs: fairseq divides the summed parts of a loss like this, so that a
    part weighs as much as it has items."""
    total = sum(term.count for term in terms.values())
    return {name: replace(term, count=total) for name, term in terms.items()}


def _random_tokens(rng: Generator, count: int, vocab_size: int, specials: list[int]) -> NDArray[np.int64]:
    """`count` tokens, uniform over the vocabulary without special tokens: draws are shifted past the special ids."""
    inside = [token for token in specials if 0 <= token < vocab_size]
    drawn = rng.integers(vocab_size - len(inside), size=count)
    for token in inside:
        drawn += drawn >= token
    return drawn
