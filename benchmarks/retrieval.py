"""Exact retrieval side by side: nearest neighbours and margin mining of the harness, scikit-learn and faiss.

    python -m benchmarks.retrieval [--rows 20000] [--width 768] [--k 4] [--runs 3] [--threads 1] [--device cpu|cuda]

Every measurement has a process of its own, and the contestants take turns, so that a busy machine slows all alike.
Prints the median seconds, the ratio to the harness, and the memory that the call added to its inputs at its peak.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harness.evaluation.retrieval import Neighbours, margin_pairs, mine, nearest
from harness.provenance import device_name, peak_memory

Array = NDArray[np.float32]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class SearchSetting(NamedTuple):
    rows: int
    width: int
    k: int
    threads: int
    device: str


class Measured(NamedTuple):
    seconds: float
    mebibytes: float


def unit(vectors: Array) -> Array:
    lengths: Array = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def sklearn_nearest(x: Array, y: Array, *, k: int) -> Neighbours:
    from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]

    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(y).kneighbors(x)
    return Neighbours(1 - distances, indices)


def faiss_nearest(x: Array, y: Array, *, k: int) -> Neighbours:
    import faiss  # type: ignore[import-not-found]

    index = faiss.IndexFlatIP(x.shape[1])
    index.add(unit(y))
    return Neighbours(*index.search(unit(x), k))


def sklearn_mine(x: Array, y: Array, *, k: int) -> Any:
    return margin_pairs(sklearn_nearest(x, y, k=k), sklearn_nearest(y, x, k=k))


def faiss_mine(x: Array, y: Array, *, k: int) -> Any:
    return margin_pairs(faiss_nearest(x, y, k=k), faiss_nearest(y, x, k=k))


CONTESTS: dict[str, dict[str, Callable[..., Any]]] = {
    "nearest": {"harness": nearest, "scikit-learn": sklearn_nearest, "faiss": faiss_nearest},
    "mine": {"harness": mine, "scikit-learn": sklearn_mine, "faiss": faiss_mine},
}
MODULES = {"harness": "harness", "scikit-learn": "sklearn", "faiss": "faiss"}


def vectors(setting: SearchSetting) -> tuple[Array, Array]:
    """Two sides of which the first rows are noisy copies of each other."""
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, setting.rows, setting.width), dtype=np.float32)
    return x, (x + 2 * noise)[rng.permutation(setting.rows)]


def measure(contest: str, contestant: str, setting: SearchSetting) -> Measured:
    """One timed call in this process, after a small one that loads what it needs."""
    torch.set_num_threads(setting.threads)
    call, sides = CONTESTS[contest][contestant], vectors(setting)
    device = torch.device(setting.device if contestant == "harness" else "cpu")
    x, y = (torch.from_numpy(side).cuda() for side in sides) if device.type == "cuda" else sides
    call(x[:100], y[:100], k=setting.k)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    before, start = peak_memory(device), time.perf_counter()
    call(x, y, k=setting.k)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return Measured(time.perf_counter() - start, (peak_memory(device) - before) / 2**20)


def contest(name: str, setting: SearchSetting, runs: int) -> dict[str, list[Measured]]:
    """`runs` rounds of one measurement per contestant that is installed."""
    entered = [c for c in CONTESTS[name] if importlib.util.find_spec(MODULES[c])]
    results: dict[str, list[Measured]] = {contestant: [] for contestant in entered}
    for _ in range(runs):
        for contestant in entered:
            with get_context("spawn").Pool(1) as process:
                results[contestant].append(process.apply(measure, (name, contestant, setting)))
    return results


def report(name: str, results: dict[str, list[Measured]]) -> None:
    medians = {c: statistics.median(m.seconds for m in measured) for c, measured in results.items()}
    for contestant, measured in results.items():
        memory = max(m.mebibytes for m in measured)
        ratio = medians[contestant] / medians["harness"]
        print(f"{name:8} {contestant:13} {medians[contestant]:9.3f} s {ratio:7.2f} x {memory:9.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each side")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="of the harness; its peers use the CPU"
    )
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(options.threads)))
    setting = SearchSetting(options.rows, options.width, options.k, options.threads, options.device)
    print(f"{device_name('cpu')}, torch {torch.__version__}, {options.runs} runs, {setting}")
    for name in CONTESTS:
        report(name, contest(name, setting, options.runs))


if __name__ == "__main__":
    main()
