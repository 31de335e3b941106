"""Contrastive losses side by side: one product of all vectors against the usual ways of writing the loss.

    python -m benchmarks.objectives [--pairs 64 256 1024] [--width 768] [--runs 15] [--threads 1] [--device cpu|cuda]

Times forward and backward. "four products" computes each side's cosines to its partners and to its own side apart;
"anchor by anchor" builds every anchor's negatives in a loop. The contestants take turns; prints medians, the ratio to
the harness, and how far the loss lies from the harness's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness.provenance import device_name
from methods.objectives.contrastive import cz_nce

TEMPERATURE = 0.07
LOOP_LIMIT = 256  # pairs, above which the loop is left out

Loss = Callable[[Tensor, Tensor], Tensor]


def harness(x: Tensor, y: Tensor) -> Tensor:
    return cz_nce(x, y, temperature=TEMPERATURE)


def four_products(x: Tensor, y: Tensor) -> Tensor:
    x, y = normalize(x, dim=1), normalize(y, dim=1)
    own = torch.eye(len(x), dtype=torch.bool, device=x.device)
    losses = []
    for anchors, partners in ((x, y), (y, x)):
        across, within = anchors @ partners.T / TEMPERATURE, anchors @ anchors.T / TEMPERATURE
        negatives = torch.cat([across.masked_fill(own, -torch.inf), within.masked_fill(own, -torch.inf)], dim=1)
        losses.append(negatives.logsumexp(1) - across.diagonal())
    return torch.cat(losses).mean()


def anchor_by_anchor(x: Tensor, y: Tensor) -> Tensor:
    both = normalize(torch.cat([x, y]), dim=1)
    count = len(x)
    losses = []
    for anchor in range(2 * count):
        partner = (anchor + count) % (2 * count)
        others = torch.ones(2 * count, dtype=torch.bool, device=x.device)
        others[[anchor, partner]] = False
        similarities = both @ both[anchor] / TEMPERATURE
        losses.append(similarities[others].logsumexp(0) - similarities[partner])
    return torch.stack(losses).mean()


CONTESTANTS: dict[str, Loss] = {
    "harness": harness,
    "four products": four_products,
    "anchor by anchor": anchor_by_anchor,
}


def seconds(loss: Loss, x: Tensor, y: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    torch.autograd.grad(loss(x, y), (x, y))
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def contest(pairs: int, width: int, runs: int, device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(pairs, width, generator=generator).to(device).requires_grad_() for _ in range(2))
    entered = {name: loss for name, loss in CONTESTANTS.items() if loss is not anchor_by_anchor or pairs <= LOOP_LIMIT}
    for loss in entered.values():
        seconds(loss, x, y)
    times: dict[str, list[float]] = {name: [] for name in entered}
    for _ in range(runs):
        for name, loss in entered.items():
            times[name].append(seconds(loss, x, y))
    first = statistics.median(times["harness"])
    for name, loss in entered.items():
        median, gap = statistics.median(times[name]), (loss(x, y) - harness(x, y)).abs().item()
        print(f"{pairs:6} pairs  {name:17} {1e3 * median:10.3f} ms {median / first:8.2f} x   differs by {gap:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{device_name('cpu')}, torch {torch.__version__}, {options.threads} thread(s)")
    for pairs in options.pairs:
        contest(pairs, options.width, options.runs, options.device)


if __name__ == "__main__":
    main()
