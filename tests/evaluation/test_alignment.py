"""Intrinsic measures of alignment and maps of vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.evaluation.intrinsic import MEASURES, linear_cka, measures, pca, separation, tsne


def cloud(n: int = 60, width: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(width: int = 12) -> torch.Tensor:
    return torch.linalg.qr(cloud(width, width, 5))[0]


def test_equal_sides_are_perfectly_aligned() -> None:
    x = cloud()
    found = measures(x, x.clone())
    assert list(found) == list(MEASURES)
    assert (found["retrieval"], found["separation"]) == (100.0, 0.0)
    assert found["cka"] == pytest.approx(1)
    assert found["cosine_gap"] == pytest.approx(1 - found["anisotropy"])


def test_unrelated_sides_are_not_aligned() -> None:
    found = measures(cloud(200), cloud(200, seed=1))
    assert found["retrieval"] < 5
    assert abs(found["cosine_gap"]) < 0.1
    assert found["cka"] < 0.2


def test_rotation_keeps_cka_and_breaks_retrieval() -> None:
    x = cloud()
    found = measures(x, x @ rotation() * 3)
    assert found["cka"] == pytest.approx(1)
    assert found["retrieval"] < 30


def test_shift_of_one_language_raises_separation() -> None:
    x = cloud(500, 4)
    shift = torch.tensor([2.0, 0, 0, 0], dtype=torch.float64)
    # between the means: 2^2 / 4 = 1; within: 4 dimensions of variance 1
    assert separation(x, x + shift) == pytest.approx(1 / (1 + float(x.var(0, correction=0).sum())))
    assert linear_cka(x, x + shift) == pytest.approx(1)


def test_measures_agree_with_loops_over_pairs() -> None:
    x, y = cloud(9), cloud(9) + 0.3 * cloud(9, seed=2) + 1
    cosine = torch.nn.CosineSimilarity(dim=0)
    table = [[float(cosine(a, b)) for b in y] for a in x]
    same = np.mean([table[i][i] for i in range(9)])
    other = np.mean([table[i][j] for i in range(9) for j in range(9) if i != j])
    inner = [float(cosine(side[i], side[j])) for side in (x, y) for i in range(9) for j in range(9) if i != j]
    hits = [np.argmax(table[i]) == i for i in range(9)] + [np.argmax([row[j] for row in table]) == j for j in range(9)]
    found = measures(x, y)
    assert found["cosine_gap"] == pytest.approx(same - other)
    assert found["anisotropy"] == pytest.approx(np.mean(inner))
    assert found["retrieval"] == pytest.approx(100 * np.mean(hits))
    columns = list(zip(*table, strict=True))
    places = [[sorted(row, reverse=True).index(row[i]) + 1 for i, row in enumerate(way)] for way in (table, columns)]
    assert found["neighbour_rank"] == pytest.approx(np.mean([np.median(way) for way in places]))


def test_cka_agrees_with_centred_kernels() -> None:
    x, y = cloud(20), cloud(20, 7, 3)
    centre = torch.eye(20, dtype=torch.float64) - 1 / 20
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    assert linear_cka(x, y) == pytest.approx(float((k * m).sum() / (k.norm() * m.norm())))


def test_constant_vectors() -> None:
    x = torch.ones(5, 3)
    found = measures(x, x)
    assert (found["cka"], found["separation"], found["cosine_gap"]) == (0.0, 0.0, pytest.approx(0))


def test_pca_equals_covariance_eigenvectors_with_fixed_sign() -> None:
    x = cloud(80, 6) * torch.tensor([5.0, 3, 1, 1, 1, 1], dtype=torch.float64)
    found = pca(x)
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)[:2]
    assert np.allclose(found.var(0), values.numpy())
    assert (found[np.abs(found).argmax(0), [0, 1]] > 0).all()
    assert np.allclose(pca(x @ torch.linalg.qr(cloud(6, 6, 4))[0]), found)
    assert pca(torch.ones(3, 1)).shape == (3, 2)


def test_tsne_separates_groups_and_is_deterministic() -> None:
    x = torch.cat([cloud(20) + 20 * torch.eye(12)[0], cloud(20) + 20 * torch.eye(12)[1]])
    found = tsne(x)
    gap = np.linalg.norm(found[:20].mean(0) - found[20:].mean(0))
    assert gap > found[:20].std()
    assert np.array_equal(found, tsne(x))
    assert tsne(x[:3]).shape == (3, 2)
