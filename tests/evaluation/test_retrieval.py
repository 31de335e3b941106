"""Nearest neighbours and margin mining, against brute force and the golden values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evaluation import retrieval
from harness.evaluation.retrieval import (
    Mined,
    best_threshold,
    distinct_lines,
    margin_pairs,
    mine,
    nearest,
)
from tasks.metrics import bucc_scores
from tests.support.golden_cases import arrays, cases

SMALL_TILE = 4 * 32 * 32  # one block of rows by one block of columns


def vectors(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def brute(queries: np.ndarray, index: np.ndarray, metric: str) -> np.ndarray:
    q, x = queries.astype(np.float64), index.astype(np.float64)
    if metric == "l2":
        return -np.linalg.norm(q[:, None] - x[None], axis=2)
    return unit(q) @ unit(x).T if metric == "cosine" else q @ x.T


# nearest


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(("n", "m", "d", "k"), [(1, 1, 3, 1), (7, 33, 5, 4), (70, 131, 16, 9), (40, 100, 8, 50)])
@pytest.mark.parametrize("tile_bytes", [SMALL_TILE, None])
def test_nearest_equals_brute_force(metric: str, n: int, m: int, d: int, k: int, tile_bytes: int | None) -> None:
    queries, index = vectors(n, d, 1), vectors(m, d, 2)
    scores, indices = nearest(queries, index, k=k, metric=metric, tile_bytes=tile_bytes)  # type: ignore[arg-type]
    expected = brute(queries, index, metric)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    assert scores.shape == indices.shape == (n, min(k, m))
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, axis=1), atol=1e-5)


@pytest.mark.parametrize("k", [1, 5, 32, 33, 60])
@pytest.mark.parametrize("tile_bytes", [SMALL_TILE, None])
def test_ties_are_ordered_by_index(k: int, tile_bytes: int | None) -> None:
    rng = np.random.default_rng(3)
    index = np.eye(4, dtype=np.float32)[rng.integers(4, size=90)]
    queries = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]]
    indices = nearest(queries, index, k=k, tile_bytes=tile_bytes).indices
    np.testing.assert_array_equal(indices, np.argsort(-(queries @ index.T), axis=1, kind="stable")[:, :k])


def test_k_is_capped_at_the_index_size() -> None:
    scores, indices = nearest(vectors(3, 4, 0), vectors(2, 4, 1), k=10)
    assert scores.shape == (3, 2)
    assert [sorted(row) for row in indices.tolist()] == [[0, 1]] * 3


def test_a_zero_row_has_cosine_zero_with_everything() -> None:
    found = nearest(np.zeros((1, 3)), np.eye(3), k=3)
    assert found.scores.tolist() == [[0, 0, 0]]
    assert found.indices.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(("n", "m", "shape"), [(0, 5, (0, 2)), (5, 0, (5, 0)), (0, 0, (0, 0))])
def test_empty_inputs_give_empty_outputs(n: int, m: int, shape: tuple[int, int]) -> None:
    found = nearest(np.zeros((n, 4)), np.zeros((m, 4)), k=2)
    assert found.scores.shape == found.indices.shape == shape
    assert [len(part) for part in mine(np.zeros((n, 4)), np.zeros((m, 4)))] == [0, 0, 0]


def test_output_kind_follows_the_input() -> None:
    x, y = vectors(6, 4, 0), vectors(5, 4, 1)
    for part, same in zip(nearest(torch.tensor(x), torch.tensor(y), k=2), nearest(x, y, k=2), strict=True):
        assert isinstance(part, torch.Tensor)
        assert isinstance(same, np.ndarray)
        np.testing.assert_array_equal(part.numpy(), same)
    for part, same in zip(mine(torch.tensor(x), torch.tensor(y)), mine(x, y), strict=True):
        np.testing.assert_array_equal(part.numpy(), same)


def test_half_precision_vectors_are_searched_in_fp32() -> None:
    x, y = (torch.tensor(vectors(20, 64, seed)).to(torch.bfloat16) for seed in (0, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = nearest(x.requires_grad_(), y)
    assert found.scores.dtype == torch.float32
    assert not found.scores.requires_grad
    np.testing.assert_array_equal(found.scores, nearest(x.detach().float(), y.float()).scores)


def test_precision_setting_is_restored() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        nearest(np.eye(3), np.eye(3))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_inputs_are_not_modified(tmp_path: Any) -> None:
    x = vectors(10, 4, 0)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(nearest(mapped, mapped).indices[:, 0], np.arange(10))
    y = x.copy()
    mine(y, y)
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.eye(3), np.eye(4), {}, r"one width, got \(3, 3\) and \(4, 4\)"),
        (np.eye(3)[0], np.eye(3), {}, "one width"),
        (np.eye(3), np.eye(3), {"k": 0}, "k must be at least 1, got 0"),
        (np.array([[1.0, 2], [np.nan, 1]]), np.eye(2), {}, "row 1 holds NaN"),
        (np.eye(2), np.array([[1.0, 2], [3, np.inf]]), {}, "row 1 holds NaN, infinity"),
        (np.eye(2) * 1e30, np.eye(2), {}, "too large for fp32"),
        (np.eye(2), torch.eye(2), {}, "both be NumPy arrays"),
    ],
)
def test_invalid_vectors_are_refused(x: Any, y: Any, options: dict[str, Any], message: str) -> None:
    for search in (nearest, mine):
        with pytest.raises(ValueError, match=message):
            search(x, y, **options)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown metric 'euclid': expected one of cosine, dot, l2"):
        nearest(np.eye(2), np.eye(2), metric="euclid")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown margin 'csls'"):
        mine(np.eye(2), np.eye(2), margin="csls")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown retrieval 'best'"):
        mine(np.eye(2), np.eye(2), retrieval="best")  # type: ignore[arg-type]


# mine


def naive_mine(
    x: np.ndarray, y: np.ndarray, k: int, margin: str, retrieval: str, threshold: float
) -> dict[tuple[int, int], float]:
    """All cosines at once, in float64, pair by pair."""
    cosines = brute(x, y, "cosine")
    near_x = np.sort(cosines, axis=1)[:, ::-1][:, :k].mean(1)
    near_y = np.sort(cosines, axis=0)[::-1][:k].mean(0)
    level = (near_x[:, None] + near_y[None]) / 2
    scores = {"ratio": cosines / level, "distance": cosines - level, "absolute": cosines}[margin]
    in_reach_x = cosines >= np.sort(cosines, axis=1)[:, ::-1][:, :k][:, -1:]
    in_reach_y = cosines >= np.sort(cosines, axis=0)[::-1][:k][-1:]
    fwd = {(i, int(np.where(in_reach_x[i], scores[i], -np.inf).argmax())) for i in range(len(x))}
    bwd = {(int(np.where(in_reach_y[:, j], scores[:, j], -np.inf).argmax()), j) for j in range(len(y))}
    proposals = {"max": fwd | bwd, "fwd": fwd, "bwd": bwd, "intersect": fwd & bwd}[retrieval]
    pairs: dict[tuple[int, int], float] = {}
    for i, j in sorted(proposals, key=lambda pair: -scores[pair]):
        if scores[i, j] > threshold and all(i != a and j != b for a, b in pairs):
            pairs[i, j] = scores[i, j]
    return pairs


def as_dict(mined: Mined) -> dict[tuple[int, int], float]:
    return dict(
        zip(zip(mined.sources.tolist(), mined.targets.tolist(), strict=True), mined.scores.tolist(), strict=True)
    )


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 70),
    m=st.integers(1, 70),
    k=st.integers(1, 8),
    margin=st.sampled_from(["ratio", "distance", "absolute"]),
    direction=st.sampled_from(["max", "fwd", "bwd", "intersect"]),
    threshold=st.sampled_from([-10.0, 0.0, 1.0]),
    seed=st.integers(0, 1000),
)
def test_mine_equals_the_naive_implementation(
    n: int, m: int, k: int, margin: Any, direction: Any, threshold: float, seed: int
) -> None:
    # Vectors on one side of the origin: neighbourhood means near zero would make every ratio arbitrary.
    x, y = 1.5 + vectors(n, 12, seed), 1.5 + vectors(m, 12, seed + 1)
    options = {"k": k, "margin": margin, "retrieval": direction, "threshold": threshold}
    mined = mine(x, y, tile_bytes=SMALL_TILE, **options)
    expected = naive_mine(x, y, k, margin, direction, threshold)
    # With k = 1 the best pair of two rows scores exactly 1 in the ratio, up to rounding on either side.
    if k > 1 or margin != "ratio":
        assert as_dict(mined).keys() == expected.keys()
        for pair, score in as_dict(mined).items():
            assert score == pytest.approx(expected[pair], abs=1e-5)
    assert len(set(mined.sources.tolist())) == len(set(mined.targets.tolist())) == len(mined.scores)
    assert (np.diff(mined.scores) <= 0).all()


def test_mining_is_symmetric() -> None:
    x, y = vectors(120, 16, 0), vectors(90, 16, 1)
    there, back = mine(x, y), mine(y, x)
    assert {(i, j) for i, j in as_dict(there)} == {(i, j) for j, i in as_dict(back)}


def test_a_ratio_of_zeros_is_never_mined() -> None:
    assert len(mine(np.zeros((3, 4)), np.zeros((3, 4)), threshold=-np.inf).scores) == 0


def test_the_absolute_margin_needs_no_neighbourhood() -> None:
    mined = mine(np.eye(4)[[2, 0]], np.eye(4), margin="absolute", retrieval="fwd")
    assert as_dict(mined) == {(0, 2): 1.0, (1, 0): 1.0}


MINING = [(case["file"], run) for case in cases("bucc_mine/index.json")["cases"] for run in case["runs"]]
# The original crashes for one direction alone; l2 mixes metrics; with k = 1 or k = all rows scores tie up to rounding.
LEFT_OUT = {
    "retrieval-fwd_margin-ratio": "error",
    "retrieval-bwd_margin-ratio": "error",
    "retrieval-max_margin-ratio_neighborhood-1": "fragile",
    "retrieval-max_margin-ratio_neighborhood-1000": "fragile",
    "retrieval-max_margin-ratio_dist-l2": "fragile",
    "retrieval-max_margin-distance_dist-l2": "fragile",
    "search_*/score_*": "aligned rows, not mining",
}
MINED_RUNS = [(file, run) for file, run in MINING if run["key"] not in LEFT_OUT]


def test_only_runs_marked_error_or_fragile_are_skipped() -> None:
    unmarked = {run["key"] for _, run in MINING if "error" not in run and "fragile" not in run and "args" in run}
    assert unmarked.isdisjoint(LEFT_OUT)
    assert len(MINED_RUNS) > 30


def golden_run(data: dict[str, np.ndarray], args: dict[str, Any]) -> Mined:
    options = {"k": args.get("neighborhood", 4), **{n: a for n, a in args.items() if n in ("margin", "threshold")}}
    if not args.get("use_shift_embeds"):
        return mine(data["x"], data["y"], retrieval=args["retrieval"], **options)
    # Each side is searched from the other one moved by the distance of the two centres, without a new normalisation.
    k = options.pop("k")
    x, y = unit(data["x"]), unit(data["y"])
    gap = x.mean(axis=0) - y.mean(axis=0)
    forward, backward = nearest(x - gap, y, k=k, metric="dot"), nearest(y + gap, x, k=k, metric="dot")
    return margin_pairs(forward, backward, retrieval=args["retrieval"], **options)


@pytest.mark.parametrize(("file", "run"), MINED_RUNS, ids=[f"{f}-{r['key']}" for f, r in MINED_RUNS])
def test_golden_bucc_mine(file: str, run: dict[str, Any]) -> None:
    data = arrays(f"bucc_mine/{file}")
    mined = golden_run(data, run["args"])
    src, trg, score = (data[f"{run['key']}|{part}"] for part in ("src", "trg", "score"))
    expected = dict(zip(zip(src.tolist(), trg.tolist(), strict=True), score.tolist(), strict=True))
    found = as_dict(mined)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[pair] for pair in expected], list(expected.values()), atol=1e-5)

    gold = {(int(i), int(j)) for i, j in data["gold"]}
    threshold = best_threshold(mined.scores, [pair in gold for pair in found], len(gold)).threshold
    kept = {pair for pair, value in found.items() if value >= threshold}
    scores, official = bucc_scores(kept, gold), run["bucc_eval"]
    assert threshold == pytest.approx(official["best-threshold"], abs=1e-5)
    assert len(kept) == run["n_predictions"]
    assert scores == pytest.approx((official["precision"], official["recall"], official["F1"]), abs=1e-9)


@pytest.mark.parametrize("direction", ["max", "intersect"])
def test_golden_repeated_lines_use_the_last_vector(direction: Any) -> None:
    lines, data = cases("bucc_mine/duplicate_text.json"), arrays("bucc_mine/duplicate_text.npz")
    sources, targets = distinct_lines(lines["src_text"]), distinct_lines(lines["trg_text"])
    mined = mine(data["x"][sources.rows], data["y"][targets.rows], retrieval=direction)
    found = {(sources.texts[i], targets.texts[j]): score for (i, j), score in as_dict(mined).items()}
    assert found == pytest.approx({(s, t): float(score) for score, s, t in lines[direction]}, abs=1e-5)


# Tatoeba


TATOEBA = [case["file"] for case in cases("tatoeba_acc/index.json")["cases"]]
EXACT_TIES = {"ties_small.npz"}  # tied answers depend on the library


@pytest.mark.parametrize("file", [file for file in TATOEBA if file not in EXACT_TIES])
def test_golden_tatoeba(file: str) -> None:
    data = arrays(f"tatoeba_acc/{file}")
    case = next(c for c in cases("tatoeba_acc/index.json")["cases"] if c["file"] == file)
    english, foreign = data["english"], data["foreign"]
    cosine, l2 = nearest(english, foreign).indices[:, 0], nearest(english, foreign, metric="l2").indices[:, 0]
    np.testing.assert_array_equal(cosine, data["pred_cosine"])
    np.testing.assert_array_equal(l2, data["pred_l2"])
    np.testing.assert_array_equal(nearest(foreign, english).indices[:, 0], data["pred_reverse_cosine"])
    assert 100 * np.mean(cosine == data["labels"]) == pytest.approx(case["accuracy_cosine"], abs=1e-9)
    assert 100 * np.mean(l2 == data["labels"]) == pytest.approx(case["accuracy_l2"], abs=1e-9)


def test_tile_size_follows_the_byte_budget() -> None:
    assert retrieval._tile_side(np.eye(2), 4 * 100 * 100) == 96
    assert retrieval._tile_side(np.eye(2), 1) == retrieval.BLOCK
