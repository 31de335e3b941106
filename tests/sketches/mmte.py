"""MMTE: the encoder of a translation model, whose decoder is thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional

from harness import Batch, Corpora, Encoder, Layout, MethodConfig, PackedText, PairMethod, Term, attend, pack, register


@register("mmte-sketch")
class MMTE(PairMethod):
    """Translation from and to the pivot, with a shallow decoder over the encoder's last states.

    Reference: Siddhant et al., "Evaluating the Cross-Lingual Effectiveness of Massively Multilingual NMT", AAAI 2020,
        arXiv 1909.00437.
    Objective: L = -1/|y| sum_t log P(y_t | y_<t, language of y, x), both directions of every pair.
    Inputs: parallel pairs of the sample.
    Relations: no contrast and no masking: only what translation asks of the states.
    """

    reference = "Siddhant et al. 2020, arXiv 1909.00437"
    objective = "cross-entropy of the translation under a decoder"

    class Config(MethodConfig):
        """layers: of the decoder; heads: of its attention."""

        layers: int = 2
        heads: int = 2

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        self.numbers = {code: i for i, code in enumerate(dict.fromkeys((corpora.pivot, *corpora.languages)))}
        self.pivot = corpora.pivot
        deviation = encoder.config.initializer_range
        self.places = nn.Parameter(deviation * torch.randn(corpora.max_length, encoder.width))
        self.languages = nn.Parameter(deviation * torch.randn(len(self.numbers), encoder.width))
        self.layers = nn.ModuleList(Layer(encoder.width, self.config.heads) for _ in range(self.config.layers))
        self.norm = nn.LayerNorm(encoder.width)

    def collate(self, examples: Sequence[Any], rng: Generator) -> Batch:
        text = super().collate(examples, rng)["text"]
        wanted = [*(e.target for e in examples), *(e.source for e in examples)]
        codes = [*(e.language for e in examples), *(self.pivot for _ in examples)]
        prefix = pack([ids[:-1] for ids in wanted])  # each translation without its last token, which is only predicted
        labels = pack([ids[1:] for ids in wanted]).ids
        languages = torch.tensor([self.numbers[code] for code in codes])
        return {"text": text, "prefix": prefix, "labels": labels, "languages": languages}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        states = encoder(batch["text"]).tokens()
        decoded = self.decode(encoder, states, batch["text"].layout, batch["prefix"], batch["languages"])
        logits = functional.linear(decoded, encoder.input_embeddings).float()
        losses = functional.cross_entropy(logits, batch["labels"], reduction="sum")
        return {"translation": Term(losses, float(len(batch["labels"])))}

    def decode(self, encoder: Encoder, states: Tensor, source: Layout, prefix: PackedText, languages: Tensor) -> Tensor:
        """(P, H): what the decoder makes of each token of the prefixes, given the source's states (T, H)."""
        hidden = functional.embedding(prefix.ids, encoder.input_embeddings)
        hidden = hidden + self.places[prefix.positions] + self.languages[languages][prefix.layout.owner]
        for layer in self.layers:
            hidden = layer(hidden, states, prefix.layout, source)
        out: Tensor = self.norm(hidden)
        return out


class Layer(nn.Module):
    """A decoder layer: causal self-attention, attention over the source, feed-forward; norms come first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own, self.cross = Attention(width, heads), Attention(width, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: Tensor, states: Tensor, layout: Layout, source: Layout) -> Tensor:
        normed = self.norms[0](hidden)
        hidden = hidden + self.own(normed, normed, layout, layout, causal=True)
        hidden = hidden + self.cross(self.norms[1](hidden), states, layout, source)
        out: Tensor = hidden + self.feed(self.norms[2](hidden))
        return out


class Attention(nn.Module):
    """Multi-head attention of packed queries over packed keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, hidden: Tensor, states: Tensor, layout: Layout, source: Layout, causal: bool = False) -> Tensor:
        q, k, v = (
            project(x).unflatten(1, (self.heads, -1))
            for project, x in ((self.query, hidden), (self.key, states), (self.value, states))
        )
        out: Tensor = self.output(attend(q, k, v, layout, source, causal).flatten(1))
        return out
