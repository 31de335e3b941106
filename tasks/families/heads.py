"""The layers above the encoder of the fine-tuned families. The families import this module only to train or predict, so
that their files, gold and metrics can be read without torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from harness.method import Batch, Term
from harness.modeling.encoder import Encoder
from harness.modeling.packing import PackedText


class Head(nn.Module):
    """The layers above the encoder; `initialise` draws their weights as BERT does."""

    def initialise(self, deviation: float) -> None:
        """Normal weights with this standard deviation, biases of 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=deviation)
                nn.init.zeros_(module.bias)

    def counts(self, batch: Batch, step: int) -> dict[str, float] | None:
        """The count of each loss term where it is known from the batch; see `harness.method.Method.counts`."""
        return None

    def after_step(self, encoder: Encoder) -> None:
        """Does nothing: a head has no state beside its weights."""


class PairHead(Head):
    """A pooler on the first token's state, then dropout and a linear layer.

    As in the official code, the pooler of BERT is the encoder's own where the checkpoint has one; RoBERTa's kin, XLM-R
    among them, get a new one with dropout before it.
    """

    def __init__(self, encoder: Encoder, labels: int) -> None:
        super().__init__()
        self.own = encoder.config.model_type == "bert" and encoder.pooler is not None
        self.before = encoder.config.model_type != "bert"
        self.dense = None if self.own else nn.Linear(encoder.width, encoder.width)
        self.dropout = nn.Dropout(encoder.config.hidden_dropout_prob)
        self.output = nn.Linear(encoder.width, labels)

    def forward(self, encoder: Encoder, text: PackedText) -> Tensor:
        """(B, labels) logits."""
        first = encoder.at(text, text.first)
        pooler = encoder.pooler if self.own else self.dense
        assert pooler is not None
        pooled = torch.tanh(pooler(self.dropout(first) if self.before else first))
        logits: Tensor = self.output(self.dropout(pooled))
        return logits

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"cross-entropy": float(len(batch["labels"]))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        labels = batch["labels"]
        logits = self(encoder, batch["text"]).float()
        return {"cross-entropy": Term(cross_entropy(logits, labels, reduction="sum"), len(labels))}


class TagHead(Head):
    """Dropout and a linear layer on every token's state."""

    def __init__(self, encoder: Encoder, tags: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(encoder.config.hidden_dropout_prob)
        self.output = nn.Linear(encoder.width, tags)

    def forward(self, encoder: Encoder, text: PackedText, chosen: Tensor | None = None) -> Tensor:
        """(W, tags) logits of the tokens at the positions `chosen` (W,), or of all tokens."""
        states = encoder(text).tokens()
        logits: Tensor = self.output(self.dropout(states if chosen is None else states[chosen]))
        return logits

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"cross-entropy": float(len(batch["tags"]))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        tags = batch["tags"]
        logits = self(encoder, batch["text"], batch["first"]).float()
        return {"cross-entropy": Term(cross_entropy(logits, tags, reduction="sum"), len(tags))}


class SpanHead(Head):
    """A linear layer on every token's state: the logits of an answer's first and last subword."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.output = nn.Linear(encoder.width, 2)

    def forward(self, encoder: Encoder, text: PackedText) -> Tensor:
        """(T, 2) logits."""
        logits: Tensor = self.output(encoder(text).tokens())
        return logits

    def counts(self, batch: Batch, step: int) -> dict[str, float]:
        return {"cross-entropy": float(len(batch["text"]))}

    def loss(self, encoder: Encoder, batch: Batch, step: int) -> dict[str, Term]:
        text: PackedText = batch["text"]
        logits = torch.split(self(encoder, text).float(), list(text.lengths))
        padded = pad_sequence(list(logits), batch_first=True, padding_value=-torch.inf)  # (B, L, 2)
        losses = [cross_entropy(padded[..., side], batch["answers"][:, side], reduction="sum") for side in (0, 1)]
        return {"cross-entropy": Term((losses[0] + losses[1]) / 2, len(logits))}
