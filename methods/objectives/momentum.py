"""Momentum contrast: a slow copy of modules, and a queue of its past outputs (He et al. 2020, arXiv 1911.05722)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.modeling.encoder import Encoder
from harness.training import distributed


class Momentum(nn.Module):
    """Copies of modules that take no gradient and follow the originals: theirs = m * theirs + (1 - m) * ours.

    The copies are reached by name, `slow["encoder"]`; they are kept in checkpoints and out of the export.
    """

    def __init__(self, momentum: float, **originals: nn.Module) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        self.momentum = momentum
        self.copies = nn.ModuleDict({name: _copy(module) for name, module in originals.items()})
        self.requires_grad_(False)

    def __getitem__(self, name: str) -> nn.Module:
        return self.copies[name]

    @torch.no_grad()
    def follow(self, originals: Mapping[str, nn.Module]) -> None:
        """Moves each copy towards its original; parameters only, buffers are constants."""
        for name, slow in self.copies.items():
            for ours, theirs in zip(originals[name].parameters(), slow.parameters(), strict=True):
                theirs.lerp_(ours, 1 - self.momentum)


def _copy(module: nn.Module) -> nn.Module:
    return module.clone() if isinstance(module, Encoder) else copy.deepcopy(module)


class Queue(nn.Module):
    """The newest `size` vectors (size, width) that were pushed, oldest overwritten first; all in the checkpoint.

    `about` (size, members) int64 tells what each vector is of, as sentence or entity numbers: what an anchor shares a
    number with is no negative of it, however long ago it was pushed. Numbers are 0 or more; -1 stands for none.

    Vectors are collected with `add` in a step and enter with `push` after it, those of every process together, so that
    accumulation and several processes leave the same queue as one big batch.
    """

    keys: Tensor
    about: Tensor
    pushed: Tensor

    def __init__(self, size: int, width: int, members: int = 1) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a queue holds at least one vector, got {size}")
        self.register_buffer("keys", torch.zeros(size, width))
        self.register_buffer("about", torch.full((size, members), -1, dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        self._fresh: list[tuple[Tensor, Tensor]] = []  # of this step: empty whenever a checkpoint is written

    def __len__(self) -> int:
        return len(self.keys)

    def empty(self) -> Tensor:
        """(size,) bool: the places that hold no vector yet."""
        return torch.arange(len(self), device=self.keys.device) >= self.pushed

    def no_negatives(self, about: Tensor) -> Tensor:
        """(n, size) bool: the places that are empty or share a number with an anchor, for `about` (n, members)."""
        shared = (about[:, None, :, None] == self.about[None, :, None, :]).flatten(2).any(2)
        return shared | self.empty()

    def add(self, keys: Tensor, about: Tensor) -> None:
        """Collects vectors (n, width) of a micro-batch and what they are of, (n, members); only while training."""
        if self.training:
            self._fresh.append((keys.detach().float(), about))

    @torch.no_grad()
    def push(self) -> None:
        """Puts the collected vectors of all processes in; the newest stay where there are more than places."""
        keys, about = (distributed.gather(torch.cat(part)) for part in zip(*self._fresh, strict=True))
        self._fresh = []
        count, kept = len(keys), min(len(keys), len(self))
        first = self.pushed + (count - kept)
        places = (first + torch.arange(kept, device=keys.device)) % len(self)
        self.keys[places], self.about[places] = keys[-kept:], about[-kept:]
        self.pushed += count


def queue_nce(
    queries: Tensor, keys: Tensor, about: Tensor, queue: Queue, *, temperature: float, normalize: bool = True
) -> Tensor:
    """InfoNCE of each query (n, d) against its own key (n, d) and what the queue holds of others, (n,).

    about (n, members): what each pair is of; see `Queue`. The other keys of the batch are no negatives. Similarities
    are cosines with `normalize`, else dot products, over the temperature; computed in float32 at least, whatever the
    autocast. Without negatives the loss is 0.
    """
    with torch.autocast(queries.device.type, enabled=False):
        wide = torch.promote_types(queries.dtype, torch.float32)
        q, k, held = queries.to(wide), keys.to(wide), queue.keys.to(wide)
        if normalize:
            q, k, held = (functional.normalize(vectors, dim=1) for vectors in (q, k, held))
        negatives = (q @ held.T).masked_fill(queue.no_negatives(about), -torch.inf)
        logits = torch.cat([(q * k).sum(1, keepdim=True), negatives], dim=1) / temperature
        return logits.logsumexp(1) - logits[:, 0]
