"""Pooled states of packed batches against the golden values of the padded original."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.modeling.encoder import States
from harness.modeling.packing import PackedText, pack
from tests.support.golden_cases import cases
from tests.support.tiny_encoder import tiny_encoder

GOLDEN = cases("pooling/cases.json")
BEGIN, END = 0, 2


def packed(ids: list[list[int]], mask: list[list[int]]) -> PackedText:
    """The tokens that a padded batch attends to."""
    sequences = [np.array(row)[np.array(attended) == 1] for row, attended in zip(ids, mask, strict=True)]
    return pack(sequences, special_ids=[BEGIN, END])


def states() -> States:
    """The golden states of the first batch, packed, as layers 1 to 3 of an encoder."""
    batch = GOLDEN["prepare_batch"][0]["batch"]
    attended = torch.tensor(batch["attention_mask"]) == 1
    layers = {number + 1: torch.tensor(layer)[attended] for number, layer in enumerate(GOLDEN["hidden_states"])}
    return States(packed(batch["input_ids"], batch["attention_mask"]), layers, tiny_encoder(layers=len(layers)))


@pytest.mark.parametrize(("case", "specials"), [(0, True), (1, False)])
def test_golden_mean(case: int, specials: bool) -> None:
    found = states()
    for number, expected in enumerate(GOLDEN["pooled"][case]["mean"], start=1):
        mean = found.mean(number, specials=specials).numpy()
        np.testing.assert_allclose(mean, np.array(expected, dtype=np.float32), atol=1e-6)


def test_golden_cls() -> None:
    found = states()
    for number, expected in enumerate(GOLDEN["cls"], start=1):
        np.testing.assert_array_equal(found.cls(number).numpy(), np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("case", GOLDEN["prepare_batch"])
def test_the_mean_is_over_the_golden_mask(case: dict[str, Any]) -> None:
    batch = case["batch"]
    text = packed(batch["input_ids"], batch["attention_mask"])
    pooled = ~text.special if case["args"].get("pool_skip_special_token") else torch.ones_like(text.special)
    expected = torch.tensor(case["pool_mask"])[torch.tensor(batch["attention_mask"]) == 1]
    assert pooled.int().tolist() == expected.tolist()
