"""InfoNCE and CZ-NCE against golden values, other people's formulas, closed forms and rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from methods.objectives.contrastive import cz_nce, in_batch_exclusions, info_nce, nce
from tests.support.golden_cases import cases

Loss = Callable[..., Tensor]
GOLDEN = cases("contrastive/cases.json")["cases"]
BOTH = pytest.mark.parametrize("loss", [info_nce, cz_nce])


def pairs(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=dtype)
    y = x + 0.7 * torch.randn(n, d, generator=generator, dtype=dtype)
    return x.requires_grad_(), y.requires_grad_()


def equiangular(n: int, cosine: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """n unit vectors, any two of them at this cosine."""
    values, directions = torch.linalg.eigh((1 - cosine) * torch.eye(n).double() + cosine)
    return (directions * values.clamp_min(0).sqrt()).to(dtype)


def gradients(loss: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, inputs, retain_graph=True)


@pytest.mark.parametrize("case", GOLDEN, ids=[f"n{c['n']}-d{c['d']}" for c in GOLDEN])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_golden(case: dict[str, Any], dtype: torch.dtype, tolerance: float) -> None:
    x, y = (torch.tensor(case[side], dtype=dtype, requires_grad=True) for side in "xy")
    for name, loss in (("cz", cz_nce), ("info", info_nce)):
        options = {"temperature": case["temperature"]}
        assert loss(x, y, symmetric=False, **options).item() == pytest.approx(case[f"{name}_x"], abs=tolerance)
        assert loss(y, x, symmetric=False, **options).item() == pytest.approx(case[f"{name}_y"], abs=tolerance)
        assert loss(x, y, **options).item() == pytest.approx(case[f"{name}_symmetric"], abs=tolerance)
    (gradient,) = gradients(cz_nce(x, y, temperature=case["temperature"]), x)
    np.testing.assert_allclose(gradient[0].numpy(), case["cz_symmetric_grad_x_first_row"], atol=tolerance)


def decoupled_contrastive_loss(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    """Yeh et al., per view and sample: the pull of the other view, log of the sum over both views of the others."""
    views = [view / np.sqrt((view**2).sum(axis=1, keepdims=True)) for view in (first, second)]
    total = 0.0
    for k in range(2):
        for i in range(len(first)):
            pull = views[0][i] @ views[1][i] / temperature
            others = [views[k][i] @ views[v][j] / temperature for j in range(len(first)) if j != i for v in range(2)]
            total += -pull + math.log(sum(math.exp(other) for other in others))
    return total / (2 * len(first))


@pytest.mark.parametrize(("n", "temperature"), [(2, 0.07), (5, 0.1), (16, 0.5), (32, 0.07)])
def test_cz_nce_is_the_decoupled_contrastive_loss(n: int, temperature: float) -> None:
    x, y = pairs(n, 24, seed=n)
    expected = decoupled_contrastive_loss(x.detach().numpy(), y.detach().numpy(), temperature)
    assert cz_nce(x, y, temperature=temperature).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("gap", "info", "cz"), [(0.0, math.log(127), math.log(126)), (0.6, 2.36e-2, -3.735), (1.0, 7.86e-5, -9.45)]
)
def test_closed_form_for_negatives_of_equal_cosine(gap: float, info: float, cz: float) -> None:
    x = equiangular(64, 1 - gap, torch.float64)
    assert info_nce(x, x, temperature=0.07).item() == pytest.approx(info, rel=2e-3)
    assert cz_nce(x, x, temperature=0.07).item() == pytest.approx(cz, rel=2e-3)
    phi = 126 * math.exp(-gap / 0.07)
    assert info_nce(x, x, temperature=0.07).item() == pytest.approx(math.log1p(phi), abs=1e-9)
    assert cz_nce(x, x, temperature=0.07).item() == pytest.approx(math.log(phi), abs=1e-9)


def test_in_fp16_the_gradient_of_info_nce_is_zero_where_that_of_cz_nce_is_not() -> None:
    # Cosine 1 to the positive and 0 to the negatives: exp(-1 / 0.05) is below the smallest number of fp16.
    anchors = torch.eye(8, requires_grad=True)
    partners = torch.eye(8)
    for loss, zero in ((info_nce, True), (cz_nce, False)):
        value = loss(anchors, partners, temperature=0.05, dtype=torch.float16)
        (gradient,) = gradients(value, anchors)
        assert value.dtype == torch.float16
        assert (value.item() == 0) == zero
        assert bool((gradient == 0).all()) == zero
        assert gradient.isfinite().all()
    for loss in (info_nce, cz_nce):
        (gradient,) = gradients(loss(anchors, partners, temperature=0.05), anchors)
        assert (gradient != 0).any()


def test_in_fp16_a_small_info_nce_rounds_to_zero() -> None:
    x = equiangular(64, 0.0)
    assert info_nce(x, x, temperature=0.07).item() == pytest.approx(7.86e-5, rel=0.02)
    assert info_nce(x, x, temperature=0.07, dtype=torch.float16).item() == 0
    assert cz_nce(x, x, temperature=0.07, dtype=torch.float16).item() == pytest.approx(-9.45, abs=0.02)


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(2, 9), d=st.integers(2, 8), temperature=st.sampled_from([0.05, 0.2, 1.0]), seed=st.integers(0, 999)
)
def test_info_nce_is_the_softplus_of_cz_nce(n: int, d: int, temperature: float, seed: int) -> None:
    """log(1 + phi) and log(phi), per anchor; so the one gradient is the other one times phi / (1 + phi)."""
    x, y = pairs(n, d, seed)
    info, cz = (f(x, y, temperature=temperature, reduction="none") for f in (info_nce, cz_nce))
    assert info.shape == cz.shape == (2 * n,)
    torch.testing.assert_close(info, torch.logaddexp(cz, torch.zeros_like(cz)))
    for of_info, of_cz in zip(gradients(info[0], x, y), gradients(cz[0], x, y), strict=True):
        torch.testing.assert_close(of_info, of_cz * torch.sigmoid(cz[0]))
    assert (cz >= math.log(2 * n - 2) - 2 / temperature - 1e-9).all()


@settings(deadline=None, max_examples=40)
@given(n=st.integers(2, 9), seed=st.integers(0, 999), which=st.sampled_from([info_nce, cz_nce]))
def test_order_sides_and_lengths_of_vectors_do_not_matter(n: int, seed: int, which: Loss) -> None:
    x, y = pairs(n, 6, seed)
    loss = which(x, y, temperature=0.1)
    generator = torch.Generator().manual_seed(seed)
    order, lengths = torch.randperm(n, generator=generator), torch.rand(n, 1, generator=generator).double() + 0.1
    torch.testing.assert_close(which(x[order], y[order], temperature=0.1), loss)
    torch.testing.assert_close(which(y, x, temperature=0.1), loss)
    torch.testing.assert_close(which(x * lengths, y * 7, temperature=0.1), loss)
    one_sided = (which(a, b, temperature=0.1, symmetric=False) for a, b in ((x, y), (y, x)))
    torch.testing.assert_close(sum(one_sided) / 2, loss)


@BOTH
def test_gradcheck(loss: Loss) -> None:
    x, y = pairs(4, 5)
    same = in_batch_exclusions(torch.tensor([0, 1, 0, 2]))
    for options in ({}, {"symmetric": False}, {"exclude": same}):
        assert torch.autograd.gradcheck(lambda a, b, o=options: loss(a, b, temperature=0.3, **o), (x, y))


@pytest.mark.parametrize("keep_positive", [True, False])
def test_candidates_may_be_a_queue_and_hard_negatives(keep_positive: bool) -> None:
    x, y = pairs(5, 8)
    queue = torch.randn(11, 8, dtype=torch.float64)
    losses = nce(x, torch.cat([queue, y]), torch.arange(11, 16), keep_positive=keep_positive, temperature=0.2)
    for i, loss in enumerate(losses):
        own, others = y[i : i + 1], torch.cat([queue, y[:i], y[i + 1 :]])
        positive, negatives = (functional.cosine_similarity(x[i : i + 1], side) / 0.2 for side in (own, others))
        total = negatives.exp().sum() + (positive.exp().sum() if keep_positive else 0)
        torch.testing.assert_close(loss, total.log() - positive.squeeze())


@pytest.mark.parametrize("keep_positive", [True, False])
def test_an_excluded_column_has_no_effect(keep_positive: bool) -> None:
    x, y = pairs(4, 8)
    extra = torch.randn(3, 8, dtype=torch.float64)
    out = torch.zeros(4, 7, dtype=torch.bool)
    out[:, 5] = True
    options: Any = {"keep_positive": keep_positive, "temperature": 0.1}
    there = nce(x, torch.cat([y, extra]), torch.arange(4), exclude=out, **options)
    gone = nce(x, torch.cat([y, extra[[0, 2]]]), torch.arange(4), **options)
    torch.testing.assert_close(there, gone)


def test_pairs_of_the_same_sentence_are_not_negatives() -> None:
    same = in_batch_exclusions(torch.tensor([7, 3, 7]))
    assert same.nonzero().tolist() == [[0, 2], [0, 5], [2, 0], [2, 3], [3, 2], [3, 5], [5, 0], [5, 3]]
    assert not in_batch_exclusions(torch.arange(5)).any()


@BOTH
def test_exclusion_drops_exactly_the_same_sentence_terms(loss: Loss) -> None:
    x, y = pairs(4, 8)
    losses = loss(x, y, temperature=0.2, exclude=in_batch_exclusions(torch.tensor([0, 1, 0, 2])), reduction="none")
    without = [row for row in range(4) if row != 2]
    smaller = loss(x[without], y[without], temperature=0.2, reduction="none")
    torch.testing.assert_close(losses[[0, 4]], smaller[[0, 3]])
    untouched = loss(x, y, temperature=0.2, reduction="none")
    torch.testing.assert_close(losses[[1, 3, 5, 7]], untouched[[1, 3, 5, 7]])


@BOTH
def test_an_anchor_without_negatives_has_no_loss_and_no_gradient(loss: Loss) -> None:
    for n, groups in ((1, [0]), (3, [4, 4, 4])):
        x, y = pairs(n, 6)
        value = loss(x, y, temperature=0.1, exclude=in_batch_exclusions(torch.tensor(groups)))
        assert value.item() == 0
        assert all((gradient == 0).all() for gradient in gradients(value, x, y))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_small_temperatures_do_not_overflow(loss: Loss, dtype: torch.dtype) -> None:
    x = equiangular(8, 0.0)
    for partners in (x, -x):
        anchors = x.clone().requires_grad_()
        value = loss(anchors, partners, temperature=0.01, dtype=dtype)
        assert value.isfinite()
        assert gradients(value, anchors)[0].isfinite().all()


@BOTH
def test_computed_in_fp32_under_any_autocast(loss: Loss) -> None:
    x, y = pairs(8, 32, dtype=torch.float32)
    plain = loss(x, y, temperature=0.07)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(x, y, temperature=0.07)
        from_half = loss(x.bfloat16(), y.bfloat16(), temperature=0.07)
    assert inside.dtype == from_half.dtype == torch.float32
    assert inside.item() == plain.item()
    assert from_half.item() == loss(x.bfloat16().float(), y.bfloat16().float(), temperature=0.07).item()


def test_float64_stays_float64_unless_half_is_requested() -> None:
    x, y = pairs(3, 4)
    assert info_nce(x, y, temperature=0.1).dtype == torch.float64
    assert info_nce(x, y, temperature=0.1, dtype=torch.float16).dtype == torch.float16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: info_nce(x, y[:2], temperature=0.1), r"one shape, got \(3, 4\) and \(2, 4\)"),
        (lambda x, y: cz_nce(x[0], y[0], temperature=0.1), "one shape"),
        (lambda x, y: info_nce(x, y, temperature=0.0), "temperature must be above 0, got 0.0"),
        (lambda x, y: info_nce(x, y, temperature=float("nan")), "temperature must be above 0"),
        (lambda x, y: info_nce(x, y, temperature=0.1, exclude=torch.zeros(3, 3, dtype=torch.bool)), "2n, 2n"),
        (lambda x, y: nce(x, y[:, :2], torch.arange(3), temperature=0.1), "one width"),
        (lambda x, y: nce(x, y, torch.arange(2), temperature=0.1), "one column per anchor"),
        (lambda x, y: nce(x, y, torch.arange(3), exclude=torch.zeros(3, 2).bool(), temperature=0.1), r"\(m, c\)"),
    ],
)
def test_wrong_input_is_refused(call: Callable[[Tensor, Tensor], Tensor], message: str) -> None:
    x, y = pairs(3, 4)
    with pytest.raises(ValueError, match=message):
        call(x, y)
