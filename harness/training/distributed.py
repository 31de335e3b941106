"""Collectives over the processes of one run. On a single process every function is the identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from harness.errors import UserError

BUCKET_BYTES = 32 * 2**20


def rank() -> int:
    """The number of this process, 0 on a single one."""
    return distributed.get_rank() if _running() else 0


def world_size() -> int:
    """How many processes take part, 1 without torch.distributed."""
    return distributed.get_world_size() if _running() else 1


def own_part(numbers: Sequence[int]) -> np.ndarray:
    """The examples of a batch that this process takes. Raises UserError where there are fewer than processes."""
    if len(numbers) < world_size():
        raise UserError(
            "a batch has fewer examples than processes train on it",
            found=f"{len(numbers)} examples, {world_size()} processes",
            remedy="use fewer processes, or a larger batch",
        )
    return np.array_split(np.asarray(numbers), world_size())[rank()]


def seed_rank(seed: int, step: int) -> None:
    """Where there are several processes, sets the generators of dropout: each process has draws of its own, which a
    resumed run repeats. A single process draws on."""
    if world_size() > 1:
        torch.manual_seed(int(np.random.SeedSequence([seed, step, rank()]).generate_state(1, np.uint64)[0] >> 1))


def in_turn(act: Callable[[], None]) -> None:
    """Acts on the first process, then on the others."""
    if rank() == 0:
        act()
    total(0)
    if rank() > 0:
        act()


def start_alike(tensors: Iterable[Tensor], step: int) -> None:
    """Gives all processes the tensors of the first one. Raises UserError where they are not at the same step."""
    if world_size() == 1:
        return
    if total(step) != step * world_size():
        raise UserError(
            "the processes of a stage do not see the same checkpoint",
            found=f"step {step} on rank {rank()}",
            expected="one folder of artifacts that all of them share",
        )
    for tensor in tensors:
        distributed.broadcast(tensor, 0)


def total(number: int) -> int:
    """The sum of a number of the host over the processes. It does not wait for a GPU."""
    if world_size() == 1:
        return number
    summed = torch.tensor(number, dtype=torch.int64)
    distributed.all_reduce(summed)
    return int(summed)


def gather(tensor: Tensor) -> Tensor:
    """The rows of every process, concatenated in rank order; first dimensions may differ.

    Differentiable: the gradient of this process's rows is summed over all processes. So a loss that each process sums
    over its own anchors, or over all of them (with a count that grows alike), has the gradients of the joined batch
    once the gradients of the processes are summed. Every process must call it and run backward through it.
    """
    if world_size() == 1:
        return tensor
    rows: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return rows


def reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of `tensor` over the processes, without gradient."""
    total = tensor.detach().clone()
    if world_size() > 1:
        distributed.all_reduce(total)
    return total


def reduce_gradients(parameters: Iterable[Tensor]) -> None:
    """Sums the gradients over the processes in place, in buckets.

    A parameter without gradient on this process gets that of the others; one without gradient on all processes keeps
    none. Every process must pass the same parameters in the same order.
    """
    if world_size() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        return
    used = torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.int32)
    used = reduce_sum(used.to(trained[0].device))
    gradients = []
    for parameter, count in zip(trained, used.tolist(), strict=True):
        if count:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        joined = torch.cat([gradient.reshape(-1) for gradient in bucket])
        distributed.all_reduce(joined)
        parts = torch.split(joined, [gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        size = torch.tensor([len(tensor)], device=tensor.device)
        sizes = [torch.empty_like(size) for _ in range(world_size())]
        distributed.all_gather(sizes, size)
        ctx.lengths = [int(length) for length in sizes]
        # all_gather needs one shape: shorter tensors are padded, and cut after the exchange.
        padded = tensor.new_zeros((max(ctx.lengths), *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        received = [torch.empty_like(padded) for _ in ctx.lengths]
        distributed.all_gather(received, padded)
        return torch.cat([rows[:length] for rows, length in zip(received, ctx.lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.split(reduce_sum(gradients[0]), ctx.lengths)[rank()]


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbouring tensors of one dtype and device, in lists of at most BUCKET_BYTES (or a single larger tensor)."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        bytes_ = tensor.numel() * tensor.element_size()
        fits = bucket and (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and not (fits and size + bytes_ <= BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += bytes_
    if bucket:
        yield bucket


def _running() -> bool:
    return distributed.is_available() and distributed.is_initialized()
