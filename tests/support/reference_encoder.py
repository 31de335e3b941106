"""The exported encoder run as a plain model in float64, one unpadded sequence at a time: what formulas are tried on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForMaskedLM

from harness.modeling.packing import PackedText


class ReferenceEncoder:
    """A checkpoint of the trial's encoder, loaded by transformers alone."""

    def __init__(self, encoder: Any, folder: Path) -> None:
        encoder.save(folder)
        self.model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
        self.model.eval()

    @torch.no_grad()
    def passes(self, text: PackedText, ids: torch.Tensor | None = None) -> list[Any]:
        """One output per sequence, with `logits`, `hidden_states` and `attentions`."""
        rows = (text.ids if ids is None else ids).split(text.lengths), text.segments.split(text.lengths)
        return [
            self.model(row[None], token_type_ids=kinds[None], output_hidden_states=True, output_attentions=True)
            for row, kinds in zip(*rows, strict=True)
        ]


def masked_mean(passes: list[Any], text: PackedText, positions: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean cross-entropy of the tokens at packed `positions`."""
    ends = [start + length for start, length in zip(text.starts, text.lengths, strict=True)]
    losses = []
    for position, label in zip(positions.tolist(), labels.tolist(), strict=True):
        row = next(i for i, end in enumerate(ends) if position < end)
        logits = passes[row].logits[0, position - text.starts[row]]
        losses.append(float(logits.exp().sum().log() - logits[label]))
    return sum(losses) / len(losses)
