"""A few training steps of a method on four sentence pairs and a tiny encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, MonoSentence, SamplePair
from harness.training.loop import Step, TrainSettings, train
from tests.support.tiny_encoder import tiny_encoder

SENTENCES = [("a cat sat.", "ein kater."), ("no dog ran", "kein hund"), ("we eat fish", "wir essen"), ("go!", "geh")]


@dataclass
class SmallCorpora:
    """Four sentence pairs, and their pivot sides as monolingual text."""

    tokenizer: Tokenizer
    sample: Sequence[SamplePair]
    pivot: str = "en"
    languages: tuple[str, ...] = ("de",)
    max_length: int = 32

    def records(self, kind: Corpus) -> Sequence[Any]:
        assert kind is Corpus.MONO
        return [MonoSentence(str(n), "en", source) for n, (source, _) in enumerate(SENTENCES)]


def train_briefly(cls: Any) -> list[dict[str, float]]:
    """The losses of three steps. Fails where the encoder did not change."""
    encoder = tiny_encoder()
    pairs = [SamplePair(n, "de", source, target, None, None) for n, (source, target) in enumerate(SENTENCES)]
    corpora = SmallCorpora(encoder.tokenizer, pairs)
    method = cls(cls.Config())
    method.build(encoder, corpora)
    before = encoder.blocks[0].attention.self.query.weight.detach().clone()
    settings = TrainSettings(steps=3, learning_rate=1e-3, batch=4)
    trace = train(Step(encoder, method), method.examples(corpora), method.collate, settings)
    assert not torch.equal(before, encoder.blocks[0].attention.self.query.weight)
    return trace.losses
