"""Gradients of contrastive losses on frozen vectors: against their closed form, and what low precision loses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.evaluation.gradients import GradientFigures, measure_gradients
from harness.registry import CONTRASTS

TAU = 0.07


def measured(spread: float, sizes: tuple[int, ...], temperature: float = TAU) -> dict[tuple[str, str], GradientFigures]:
    """The figures of the last size on pairs that differ by `spread`."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(16, 32, generator=draw)
    y = x + spread * torch.randn(16, 32, generator=draw)
    figures = measure_gradients(CONTRASTS.get("nce"), "frozen", x, y, sizes, [temperature])
    return {(one.loss, one.precision): one for one in figures if one.batch_size == sizes[-1]}


@pytest.mark.parametrize("loss", ["InfoNCE", "CZ-NCE"])
def test_norm_is_that_of_the_closed_form(loss: str) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(16, 32, generator=draw).numpy().astype(float)
    y = x + torch.randn(16, 32, generator=draw).numpy()
    both = np.concatenate([x, y])
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    logits = both @ both.T / TAU
    norms = []
    for i in range(16):
        parts = []
        for anchor, positive in ((i, i + 16), (i + 16, i)):
            kept = [k for k in range(32) if k != anchor and (k != positive or loss == "InfoNCE")]
            weights = np.exp(logits[anchor, kept] - logits[anchor, kept].max())
            slope = (weights / weights.sum()) @ both[kept] - both[positive]
            parts.append((slope - both[anchor] * (slope @ both[anchor])) / TAU)
        norms.append(np.linalg.norm(np.concatenate(parts)))
    found = measured(1.0, (16,))[loss, "fp32"]
    assert found.norm == pytest.approx(sorted(norms)[7], rel=1e-6)  # torch's median is the lower one
    assert found.lost == found.wrong == 0


def test_half_precision_loses_infonce_s_gradients_of_separated_pairs_and_not_cz_nce_s() -> None:
    found = measured(0.05, (4,), temperature=0.03)
    assert found["InfoNCE", "fp16"].lost == 100
    assert found["InfoNCE", "bf16"].lost == 0, "bf16 has the range of fp32"
    assert found["InfoNCE", "bf16"].wrong > 10
    assert found["CZ-NCE", "fp16"].wrong == found["CZ-NCE", "bf16"].lost == 0
    assert found["CZ-NCE", "fp32"].norm > 1e6 * found["InfoNCE", "fp32"].norm


def test_pairs_that_do_not_fill_a_batch_are_left_out() -> None:
    assert measured(1.0, (4, 6))["InfoNCE", "fp32"].pairs == 12
    with pytest.raises(ValueError, match="a batch of 17 pairs from 16"):
        measured(1.0, (17,))
