"""The corruption of masked language modelling, and its loss on the masked positions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from methods.objectives.masking import MaskedTokens, mask_tokens, masked_lm

VOCABULARY, MASK, SPECIALS = 50, 4, (0, 1, 2, 3, 4)


def corrupted(ids: Any, maskable: Any, seed: int = 0, **options: Any) -> MaskedTokens:
    settings = {"mask_id": MASK, "vocab_size": VOCABULARY, "special_ids": SPECIALS, **options}
    return mask_tokens(ids, maskable, rng=np.random.default_rng(seed), **settings)


def test_rates() -> None:
    count = 200_000
    ids = np.random.default_rng(1).integers(5, VOCABULARY, size=count)
    result = corrupted(ids, np.ones(count, dtype=bool))
    chosen = len(result.positions)
    new = result.ids[result.positions]
    masked, kept = (new == MASK).float().mean().item(), (new == result.labels).float().mean().item()
    assert chosen / count == pytest.approx(0.15, abs=0.004)
    assert masked == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1 + 0.1 / 45, abs=0.01)  # a random token may be the old one
    replaced = new[(new != MASK) & (new != result.labels)]
    frequencies = torch.bincount(replaced, minlength=VOCABULARY) / len(replaced)
    assert (frequencies[:5] == 0).all()
    assert frequencies[5:].numpy() == pytest.approx(1 / 45, abs=0.01)


def test_unmasked_tokens_stay_and_labels_are_the_original_tokens() -> None:
    ids = np.random.default_rng(1).integers(5, VOCABULARY, size=500)
    before = ids.copy()
    result = corrupted(ids, np.arange(500) % 3 > 0)
    np.testing.assert_array_equal(ids, before)
    np.testing.assert_array_equal(result.labels, ids[result.positions])
    assert (result.positions % 3 > 0).all()
    assert (result.positions.diff() > 0).all()
    others = np.setdiff1d(np.arange(500), result.positions)
    np.testing.assert_array_equal(result.ids[others], ids[others])


@pytest.mark.parametrize("specials", [SPECIALS, (0, 13, 14, 49, 4), (49, 48)])
def test_special_tokens_are_neither_masked_nor_used_as_replacement(specials: tuple[int, ...]) -> None:
    ids = np.arange(VOCABULARY).repeat(200)
    result = corrupted(ids, np.ones(len(ids), dtype=bool), special_ids=specials)
    forbidden = torch.tensor(sorted({MASK, *specials}))
    assert not torch.isin(result.labels, forbidden).any()
    drawn = result.ids[result.positions]
    assert not torch.isin(drawn[drawn != MASK], forbidden).any()
    assert set(drawn.tolist()) == (set(range(VOCABULARY)) - set(specials)) | {MASK}


def test_the_same_generator_gives_the_same_masks() -> None:
    ids, maskable = np.arange(5, 45), np.ones(40, dtype=bool)
    first, again, other = (corrupted(ids, maskable, seed=seed, rate=0.5) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first.ids, other.ids)


def test_tensors_and_arrays_give_the_same() -> None:
    ids, maskable = np.arange(5, 45), np.arange(40) > 10
    for one, two in zip(corrupted(ids, maskable), corrupted(torch.tensor(ids), torch.tensor(maskable)), strict=True):
        assert isinstance(one, Tensor)
        assert one.dtype == torch.int64
        assert torch.equal(one, two)


def test_at_least_one_position_where_any_is_maskable() -> None:
    for seed in range(30):
        result = corrupted([2, 9, 8, 3], [True, True, True, True], seed=seed, rate=0.001)
        assert len(result.positions) == 1
        assert result.positions[0] in (1, 2)
    for ids, maskable in (([2, 9, 3], [False] * 3), ([2, 3], [True] * 2), ([], [])):
        result = corrupted(ids, maskable)
        assert result.ids.tolist() == ids
        assert len(result.positions) == len(result.labels) == 0


@pytest.mark.parametrize(
    ("ids", "maskable", "rate", "message"),
    [
        ([5, 6], [True], 0.15, r"got \(2,\) and \(1,\)"),
        ([[5, 6]], [[True, True]], 0.15, "two"),
        ([5], [True], 0.0, "rate must lie in"),
        ([5], [True], 1.5, "rate must lie in"),
    ],
)
def test_wrong_input_is_refused(ids: Any, maskable: Any, rate: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corrupted(ids, maskable, rate=rate)


class Head:
    """As much of an encoder as the loss asks for."""

    def __init__(self, model: BertForMaskedLM) -> None:
        self.model = model

    def mlm_logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.cls(hidden)
        return logits


def tiny_bert() -> BertForMaskedLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **sizes)).eval()


def test_loss_and_gradients_equal_those_of_full_logits() -> None:
    model = tiny_bert()
    ids = np.random.default_rng(0).integers(5, VOCABULARY, size=40)
    text = corrupted(ids, np.ones(40, dtype=bool))
    labels = torch.full((1, 40), -100)
    labels[0, text.positions] = text.labels
    full = model(text.ids[None], labels=labels).loss
    expected = torch.autograd.grad(full, list(model.parameters()))

    hidden = model.bert(text.ids[None]).last_hidden_state[0]
    term = masked_lm(Head(model), hidden, text.positions, text.labels)  # type: ignore[arg-type]
    assert term.count == len(text.positions)
    loss = term.sum / term.count
    torch.testing.assert_close(loss, full)
    for gradient, other in zip(torch.autograd.grad(loss, list(model.parameters())), expected, strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-6, rtol=1e-5)


def test_no_position_gives_a_sum_of_zero_that_can_be_differentiated() -> None:
    hidden = torch.randn(3, 16, requires_grad=True)
    empty = torch.zeros(0, dtype=torch.int64)
    term = masked_lm(Head(tiny_bert()), hidden, empty, empty)  # type: ignore[arg-type]
    term.sum.backward()
    assert (term.sum.item(), term.count) == (0.0, 0.0)
    assert hidden.grad is not None
    assert (hidden.grad == 0).all()


def test_the_loss_is_fp32_under_autocast() -> None:
    hidden, labels = torch.randn(3, 16), torch.tensor([7, 8, 9])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        term = masked_lm(Head(tiny_bert()), hidden, torch.arange(3), labels)  # type: ignore[arg-type]
    assert term.sum.dtype == torch.float32
