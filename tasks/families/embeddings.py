"""Sentences and words as vectors: the states of one layer of the bare encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.modeling.encoder import Encoder, States
from harness.modeling.packing import PackedText, Spans
from harness.modeling.tokenizer import Words
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


def layer_of(encoder: Encoder, settings: Any) -> int:
    """The layer of the embeddings: the setting, or by default two thirds of the depth (8 of 12)."""
    return max(1, round(encoder.depth * 8 / 12)) if settings.layer is None else encoder.layer(settings.layer)


def embed_words(encoder: Encoder, sentences: Sequence[tuple[str, ...]], settings: Any, precision: str) -> list[Tensor]:
    """(words, H) unit vectors of each sentence's words: means over their subwords, in the settings' layer."""
    layer = layer_of(encoder, settings)
    words = encoder.tokenizer.encode_words(sentences, limit_length(encoder, settings).max_length)
    vectors = [torch.zeros(len(sentence), encoder.width) for sentence in sentences]

    def forward(text: PackedText) -> Tensor:
        states: States = encoder(text, layers=(layer,))
        return states.tokens(layer)

    for swept in sweep(encoder, forward, words.ids, precision=precision):
        for piece, start in zip(swept.rows, swept.text.starts, strict=True):
            own = _word_spans(words, int(piece), int(start)).mean(swept.output)
            first = int(words.first_word[piece])
            vectors[int(words.sentence[piece])][first : first + len(own)] = own
    return [functional.normalize(each, dim=1) for each in vectors]


def _word_spans(words: Words, piece: int, start: int) -> Spans:
    """The tokens of each word of a piece that starts at token `start` of a batch; the last token is special."""
    first = words.first[piece]
    ends = np.r_[first[1:], len(words.ids[piece]) - 1]
    return Spans.of([(start + int(a), start + int(b)) for a, b in zip(first, ends, strict=True)])


def embed_static(encoder: Encoder, sentences: Sequence[tuple[str, ...]]) -> list[Tensor]:
    """(words, H) unit vectors of each sentence's words: means over the input embeddings of their subwords."""
    vocabulary = sorted({word for sentence in sentences for word in sentence})
    ids = encoder.tokenizer.hf(vocabulary, add_special_tokens=False).input_ids if vocabulary else []
    table = encoder.input_embeddings.detach().float().cpu()
    pieces = [own or [encoder.tokenizer.unk_id] for own in ids]
    vectors = {word: table[own].mean(0) for word, own in zip(vocabulary, pieces, strict=True)}
    return [functional.normalize(torch.stack([vectors[word] for word in sentence]), dim=1) for sentence in sentences]
