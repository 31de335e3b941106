"""Collectives over the processes of one run. On a single process every function is the identity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

BUCKET_BYTES = 32 * 2**20


def rank() -> int:
    """The number of this process, 0 on a single one."""
    return distributed.get_rank() if _running() else 0


def world_size() -> int:
    """How many processes take part, 1 without torch.distributed."""
    return distributed.get_world_size() if _running() else 1


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
