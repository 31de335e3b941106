"""A small world to measure on held-out pairs whether a method improves what it optimises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import torch

from harness.data.babel import Babel
from harness.data.corpora import SourceCorpora
from harness.data.sample import SampleSettings, draw_sample
from harness.method import SamplePair
from harness.modeling.encoder import Encoder
from harness.records import Corpus, ParallelPair
from harness.registry import METHODS, OBJECTIVES
from harness.training.loop import Step, TrainSettings, train
from harness.training.pretraining import pretrain
from harness.training.settings import PretrainSettings

LANGUAGES = ("qab", "qac", "qad")  # the pivot's three nearest
PAIRS, HELD_OUT = 1500, 300  # per language
ENTITIES = 3000
MAX_LENGTH = 48
BASE = PretrainSettings(steps=4000, learning_rate=1e-3, max_length=2 * MAX_LENGTH)


@dataclass(frozen=True)
class TrainedMethod:
    """A trained method. `base` is the encoder before training, `encoder` the one after (not exported), both in
    evaluation mode; `held_out` has sentence pairs outside of the sample, with matched words."""

    base: Encoder
    encoder: Encoder
    method: Any
    corpora: SourceCorpora
    held_out: Sequence[SamplePair]

    def on(self, pairs: Sequence[SamplePair]) -> SourceCorpora:
        """The corpora with another sample, such as the held-out pairs."""
        return replace(self.corpora, sample=pairs)


class ProbeWorld(NamedTuple):
    source: Babel
    base: Encoder
    sample: Sequence[SamplePair]
    held_out: Sequence[SamplePair]


@cache
def world(seed: int) -> ProbeWorld:
    """The source, a base encoder from scratch, the sample and held-out pairs of this seed."""
    source = Babel.open(f"seed={seed},mono=3000,parallel={PAIRS + HELD_OUT},entities={ENTITIES}")
    mono: Any = source.corpus(Corpus.MONO, (source.pivot, *LANGUAGES))
    settings = BASE.model_copy(update={"seed": seed})
    texts = list(dict.fromkeys(record.text for record in mono))
    base, _ = pretrain(texts, settings, OBJECTIVES.get("mlm"), torch.device("cpu"))
    parallel = [p for p in source.corpus(Corpus.PARALLEL, LANGUAGES) if isinstance(p, ParallelPair)]
    dictionary: Any = source.corpus(Corpus.DICTIONARY, LANGUAGES)
    parts = [p for p in parallel if int(p.id[-6:]) < PAIRS], [p for p in parallel if int(p.id[-6:]) >= PAIRS]
    chosen = SampleSettings(size=2 * len(LANGUAGES) * PAIRS, seed=seed), SampleSettings(size=600, seed=seed)
    sample, held_out = (draw_sample(p, dictionary, s).pairs for p, s in zip(parts, chosen, strict=True))
    return ProbeWorld(source, base.eval(), sample, held_out)


def train_method(
    name: str, seed: int, *, steps: int = 300, learning_rate: float = 3e-4, batch: int = 48, **config: Any
) -> TrainedMethod:
    """The method of this name, trained on the sample of the world; `config` sets its configuration."""
    torch.set_num_threads(1)
    made = world(seed)
    cls = METHODS.get(name)
    method = cls(cls.Config(**config))
    corpora = SourceCorpora(made.sample, made.base.tokenizer, made.source, LANGUAGES, MAX_LENGTH, cls.needs)
    encoder = made.base.clone()
    torch.manual_seed(seed)
    method.build(encoder, corpora)
    examples = method.examples(corpora)
    settings = TrainSettings(steps, learning_rate, batch, warmup_steps=steps // 16, seed=seed)
    train(Step(encoder, method), examples, method.collate, settings)
    encoder.eval()
    method.eval()
    return TrainedMethod(made.base, encoder, method, corpora, made.held_out)
