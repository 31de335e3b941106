"""Sentences as vectors: the states of one layer of the bare encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.modeling.encoder import Encoder, States
from harness.modeling.packing import PackedText
from harness.records import PoolSentence
from harness.training.finetuning import sweep
from tasks.families.pools import PoolSettings
from tasks.families.trained import limit_length


class Vectors:
    """The embedding of every distinct sentence of a sweep: a sentence of several pools is embedded once.

    Embeddings are kept on the host; those of one pool are moved to the encoder's device to be searched.
    """

    def __init__(self, texts: Sequence[str], vectors: Tensor, device: torch.device) -> None:
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors, self._device = vectors, device

    def of(self, sentences: Sequence[PoolSentence]) -> Tensor:
        """(n, H)."""
        rows = torch.tensor([self._rows[s.text] for s in sentences], dtype=torch.int64)
        return self._vectors[rows].to(self._device)


def embed(encoder: Encoder, texts: Sequence[str], settings: PoolSettings, precision: str) -> Tensor:
    """(n, H) float32 embeddings, running only the layers that are needed."""
    layer = layer_of(encoder, settings)
    encoded = encoder.tokenizer.encode(texts, limit_length(encoder, settings).max_length)
    vectors = torch.zeros(len(texts), encoder.width)

    def forward(text: PackedText) -> Tensor:
        states: States = encoder(text, layers=(layer,))
        return states.mean(layer) if settings.pooling == "mean" else states.cls(layer)

    for swept in sweep(encoder, forward, encoded.ids, precision=precision):
        vectors[swept.rows] = swept.output
    return vectors


def layer_of(encoder: Encoder, settings: PoolSettings) -> int:
    """The layer of the embeddings: the setting, or by default two thirds of the depth (8 of 12)."""
    return max(1, round(encoder.depth * 8 / 12)) if settings.layer is None else encoder.layer(settings.layer)
