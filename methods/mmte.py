"""MMTE: the encoder of a translation model; the decoder is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from harness.errors import UsageError
from harness.method import Batch, Corpora, MethodConfig, Term
from harness.modeling.attention import Layout, attend
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText, pack
from harness.pair_method import PairExample, PairMethod
from methods.objectives.settings import Count, Share

ROWS = 512  # positions whose logits are in memory at a time


class MMTE(PairMethod):
    """Translation from and to the pivot, by a decoder over the last states of the encoder.

    Reference: Siddhant et al., "Evaluating the Cross-Lingual Effectiveness of Massively Multilingual NMT", AAAI 2020,
        arXiv 1909.00437.
    Objective: L = -1/|y| sum_t log P(y_t | y_<t, language of y, x), both directions of every pair; P is a softmax over
        the encoder's own input embeddings.
    Inputs: parallel pairs of the sample. The paper trains encoder and decoder from scratch on 102 languages; here the
        encoder is a pre-trained base, for comparison with the other methods.
    Relations: translation alone, without contrast or masking.
    Released code: none was to be had; the formulas were not compared with any.
    """

    reference: ClassVar[str] = "Siddhant et al. 2020, arXiv 1909.00437"
    objective: ClassVar[str] = "cross-entropy of the translation under a decoder, both directions"
    formula: ClassVar[str] = r"""
    \begin{aligned}
    \mathcal{L} &= -\frac{1}{|y|} \sum_{t=1}^{|y|} \log P(y_t \mid y_{<t}, l_y, x) \\
    P(w \mid \cdot) &= \frac{e^{E_w^\top d_t}}{\sum_{w'} e^{E_{w'}^\top d_t}}
    \end{aligned}
    """
    symbols: ClassVar[str] = (
        "x, y: a sentence and its translation, in both directions; l: the language of y; dₜ: the decoder's state; E: "
        "the encoder's input embeddings."
    )

    class Config(MethodConfig):
        """The shape of the decoder; all values are choices.

        layers: of the decoder; heads: of its attention (none: those of the base); dropout: after each block, and on
        attention."""

        layers: Count = 6
        heads: Count | None = None
        dropout: Share = 0.1

    def build(self, encoder: Encoder, corpora: Corpora) -> None:
        super().build(encoder, corpora)
        heads = self.config.heads or encoder.config.num_attention_heads
        if encoder.width % heads:
            raise UsageError("the decoder's heads do not fit the base", found=f"{heads} heads, width {encoder.width}")
        self.numbers = {code: i for i, code in enumerate(dict.fromkeys((corpora.pivot, *corpora.languages)))}
        self.pivot = corpora.pivot
        deviation = encoder.config.initializer_range
        self.places = nn.Parameter(deviation * torch.randn(corpora.max_length, encoder.width))
        self.languages = nn.Parameter(deviation * torch.randn(len(self.numbers), encoder.width))
        self.layers = nn.ModuleList(
            DecoderLayer(encoder.width, heads, self.config.dropout) for _ in range(self.config.layers)
        )
        self.norm = nn.LayerNorm(encoder.width)

    def collate(self, examples: Sequence[PairExample], rng: Generator) -> Batch:
        text = super().collate(examples, rng)["text"]
        outputs = [*(e.target for e in examples), *(e.source for e in examples)]
        codes = [*(e.language for e in examples), *(self.pivot for _ in examples)]
        prefix = pack([ids[:-1] for ids in outputs])  # without the last token, which is only predicted
        labels = pack([ids[1:] for ids in outputs]).ids
        languages = torch.tensor([self.numbers[code] for code in codes])
        return {"text": text, "prefix": prefix, "labels": labels, "languages": languages}

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"translation": float(len(batch["labels"]))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        states = encoder(batch["text"]).tokens()
        decoded = self.decode(encoder, states, batch["text"].layout, batch["prefix"], batch["languages"])
        losses = cross_entropy(decoded, encoder.input_embeddings, batch["labels"])
        return {"translation": Term(losses, float(len(batch["labels"])))}

    def decode(self, encoder: Encoder, states: Tensor, source: Layout, prefix: PackedText, languages: Tensor) -> Tensor:
        """(P, H) the decoder's state of each token of the prefixes, given the states of the source (T, H)."""
        hidden = functional.embedding(prefix.ids, encoder.input_embeddings)
        hidden = hidden + self.places[prefix.positions] + self.languages[languages][prefix.layout.owner]
        for layer in self.layers:
            hidden = layer(hidden, states, prefix.layout, source)
        out: Tensor = self.norm(hidden)
        return out

    @torch.no_grad()
    def translate(self, encoder: Encoder, text: PackedText, languages: Tensor) -> list[list[int]]:
        """Greedy translations of the sequences into `languages` (B,), as token ids without special tokens.

        Decoding stops at the separator or at the maximal length. Call it in evaluation mode.
        """
        states, end = encoder(text).tokens(), self.tokenizer.sep_id
        output = torch.full((len(text), 1), self.tokenizer.cls_id, device=states.device)
        done = torch.zeros(len(text), dtype=torch.bool, device=states.device)
        while output.shape[1] < len(self.places) and not bool(done.all()):
            prefix = pack(list(output.cpu().numpy())).to(states.device)
            decoded = self.decode(encoder, states, text.layout, prefix, languages).view(*output.shape, -1)
            best = functional.linear(decoded[:, -1], encoder.input_embeddings).argmax(1).masked_fill(done, end)
            done = done | (best == end)
            output = torch.cat([output, best[:, None]], dim=1)
        return [[token for token in row if token not in self.tokenizer.special_ids] for row in output.tolist()]


def cross_entropy(states: Tensor, embeddings: Tensor, labels: Tensor, rows: int = ROWS) -> Tensor:
    """The summed fp32 cross-entropy of labels (P,) under a softmax of states (P, H) over embeddings (V, H).

    Logits are computed for `rows` positions at a time, and again in the backward pass. All P x V of them and their
    gradient would need more memory than the model (1.9 GB each for 4,000 positions of mBERT's vocabulary).
    """

    def part(hidden: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(functional.linear(hidden, embeddings).float(), targets, reduction="sum")

    pieces = zip(torch.split(states, rows), torch.split(labels, rows), strict=True)
    parts = [checkpoint(part, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
    return torch.stack(parts).sum()


class DecoderLayer(nn.Module):
    """A pre-norm decoder layer: causal self-attention, attention over the source, feed-forward."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.own, self.cross = DecoderAttention(width, heads, dropout), DecoderAttention(width, heads, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, states: Tensor, layout: Layout, source: Layout) -> Tensor:
        normed = self.norms[0](hidden)
        hidden = hidden + self.drop(self.own(normed, normed, layout, layout, causal=True))
        hidden = hidden + self.drop(self.cross(self.norms[1](hidden), states, layout, source))
        out: Tensor = hidden + self.drop(self.feed(self.norms[2](hidden)))
        return out


class DecoderAttention(nn.Module):
    """Multi-head attention of packed queries over packed keys."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, hidden: Tensor, states: Tensor, layout: Layout, source: Layout, causal: bool = False) -> Tensor:
        q, k, v = (
            project(x).unflatten(1, (self.heads, -1))
            for project, x in ((self.query, hidden), (self.key, states), (self.value, states))
        )
        mixed = attend(q, k, v, layout, source, causal, dropout=self.rate if self.training else 0.0)
        out: Tensor = self.output(mixed.flatten(1))
        return out
