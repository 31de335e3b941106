"""Momentum contrast (He et al. 2020, arXiv 1911.05722): copies that follow the trained modules, and a queue of keys."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.modeling.encoder import Encoder
from harness.training import distributed


class MomentumCopy(nn.Module):
    """Copies of modules that take no gradient and follow the originals: copy = m * copy + (1 - m) * original.

    Each copy is reached by name, `momentum_copy["encoder"]`. Copies are checkpointed, and not exported.
    """

    def __init__(self, momentum: float, **originals: nn.Module) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        self.momentum = momentum
        self.copies = nn.ModuleDict(
            {
                name: module.clone() if isinstance(module, Encoder) else copy.deepcopy(module)
                for name, module in originals.items()
            }
        )
        self.requires_grad_(False)

    def __getitem__(self, name: str) -> nn.Module:
        return self.copies[name]

    @torch.no_grad()
    def update(self, originals: Mapping[str, nn.Module]) -> None:
        """Moves the parameters of each copy towards its original. Buffers are constants and stay."""
        for name, module in self.copies.items():
            for new, kept in zip(originals[name].parameters(), module.parameters(), strict=True):
                kept.lerp_(new, 1 - self.momentum)


class Queue(nn.Module):
    """The newest `size` vectors that were pushed, (size, width); the oldest are overwritten first.

    `item_ids` (size, members) int64 holds the sentence or entity ids of each vector: a vector that shares an id with an
    anchor is not a negative of it, however old it is. Ids are 0 or more; -1 stands for none.

    `add` collects the vectors of a micro-batch. `push` enters those of the whole step and of all processes, so that
    accumulation and several processes leave the same queue as the joined batch.
    """

    keys: Tensor
    item_ids: Tensor
    pushed: Tensor

    def __init__(self, size: int, width: int, members: int = 1) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a queue holds at least one vector, got {size}")
        self.register_buffer("keys", torch.zeros(size, width))
        self.register_buffer("item_ids", torch.full((size, members), -1, dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        self._added: list[tuple[Tensor, Tensor]] = []  # in this step: empty whenever a checkpoint is written

    def __len__(self) -> int:
        return len(self.keys)

    def empty_mask(self) -> Tensor:
        """(size,) bool: the places without a vector."""
        return torch.arange(len(self), device=self.keys.device) >= self.pushed

    def exclusion_mask(self, item_ids: Tensor) -> Tensor:
        """(n, size) bool: the places that are empty or share an id with an anchor; `item_ids` (n, members)."""
        shared = (item_ids[:, None, :, None] == self.item_ids[None, :, None, :]).flatten(2).any(2)
        return shared | self.empty_mask()

    def add(self, keys: Tensor, item_ids: Tensor) -> None:
        """Collects vectors (n, width) of a micro-batch with their ids (n, members); only in training mode."""
        if self.training:
            self._added.append((keys.detach().float(), item_ids))

    @torch.no_grad()
    def push(self) -> None:
        """Enters the collected vectors of all processes; of more than `size`, the newest."""
        keys, item_ids = (distributed.gather(torch.cat(part)) for part in zip(*self._added, strict=True))
        self._added = []
        count, kept = len(keys), min(len(keys), len(self))
        first = self.pushed + (count - kept)
        places = (first + torch.arange(kept, device=keys.device)) % len(self)
        self.keys[places], self.item_ids[places] = keys[-kept:], item_ids[-kept:]
        self.pushed += count


def queue_nce(
    queries: Tensor, keys: Tensor, item_ids: Tensor, queue: Queue, *, temperature: float, normalize: bool = True
) -> Tensor:
    """InfoNCE of each query (n, d) against its own key (n, d) and the queue's keys of other items, (n,).

    item_ids (n, members): the ids of each pair, see `Queue`. The other keys of the batch are not negatives.
    Similarities are cosines, or dot products without `normalize`, over the temperature. They are computed in float32 or
    wider under any autocast. A query without negatives has loss 0.
    """
    with torch.autocast(queries.device.type, enabled=False):
        wide = torch.promote_types(queries.dtype, torch.float32)
        q, k, held = queries.to(wide), keys.to(wide), queue.keys.to(wide)
        if normalize:
            q, k, held = (functional.normalize(vectors, dim=1) for vectors in (q, k, held))
        negatives = (q @ held.T).masked_fill(queue.exclusion_mask(item_ids), -torch.inf)
        logits = torch.cat([(q * k).sum(1, keepdim=True), negatives], dim=1) / temperature
        return logits.logsumexp(1) - logits[:, 0]
