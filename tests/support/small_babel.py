"""A small sample of babel and a tiny encoder whose vocabulary was learnt from it: what a method is tried on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from harness import registry
from harness.data.babel import Babel
from harness.data.corpora import SourceCorpora
from harness.data.sample import SampleSettings, draw_sample
from harness.modeling.encoder import Encoder
from harness.modeling.tokenizer import Tokenizer
from harness.records import Corpus, SamplePair
from harness.registry import METHODS
from harness.training.loop import Run, Step, TrainSettings
from harness.training.pretraining import learn_tokenizer, new_encoder
from harness.training.settings import PretrainSettings

SMALL: dict[str, dict[str, Any]] = {
    "ppa": {"queue": 24, "width": 16},
    "ppa-switch": {"queue": 24, "width": 16},
    "mmte": {"layers": 2},
    "xlm-k": {"queue": 24, "memory_from": 0},
    "xlm-align": {"align_from": 0},
    "infoxlm": {"queue": 8},
}
URI = "babel:size=small,parallel=40,paraphrase=60,nli=20"
MAX_LENGTH = 48


@cache
def source() -> Babel:
    return Babel.open(URI.partition(":")[2])


@cache
def sample() -> tuple[SamplePair, ...]:
    languages = source().manifest([]).languages(Corpus.PARALLEL)
    parallel: Any = source().corpus(Corpus.PARALLEL, languages)
    dictionary: Any = source().corpus(Corpus.DICTIONARY, languages)
    return tuple(draw_sample(parallel, dictionary, SampleSettings(size=64)).pairs)


@cache
def tokenizer() -> Tokenizer:
    texts = [text for pair in sample() for text in (pair.source, pair.target)]
    return Tokenizer(learn_tokenizer(texts, 600, MAX_LENGTH))


def encoder(dropout: float = 0.1) -> Encoder:
    """The same random weights at each call."""
    return new_encoder(PretrainSettings(layers=2, hidden=64, max_length=MAX_LENGTH, dropout=dropout), tokenizer())


def corpora(cls: Any, pairs: Sequence[SamplePair] = ()) -> SourceCorpora:
    languages = source().manifest([]).languages(Corpus.PARALLEL)
    return SourceCorpora(pairs or sample(), tokenizer(), source(), languages, MAX_LENGTH, cls.needs)


def method_class(name: str) -> Any:
    """A registered method."""
    return METHODS.get(name)


@contextmanager
def isolated() -> Iterator[None]:
    """One thread, since bits depend on their number; plug-ins that are loaded inside are forgotten afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METHODS, "_local", dict(METHODS._local))
        patch.setattr(registry, "_plugins", [])
        yield
    torch.set_num_threads(threads)


class Trial:
    """A method on a new encoder, ready to be trained."""

    def __init__(self, name: str, dropout: float = 0.1, pairs: Sequence[SamplePair] = (), **config: Any) -> None:
        cls = method_class(name)
        self.encoder = encoder(dropout)
        self.method = cls(cls.Config(**{**SMALL.get(name, {}), **config}))
        reads = corpora(cls, pairs)
        self.method.build(self.encoder, reads)
        self.examples = self.method.examples(reads)
        self.step = Step(self.encoder, self.method)

    def run(self, **change: Any) -> Run:
        """The loop over this trial's examples, to be stepped by hand."""
        return Run(self.step, self.examples, self.method.collate, settings(**change), None)

    def batch(self, size: int = 12, seed: int = 0) -> Any:
        return self.method.collate([self.examples[i] for i in range(size)], np.random.default_rng(seed))

    def spread(self, size: int = 12) -> list[Any]:
        """Examples far apart: neighbours may be of one entity."""
        return [self.examples[i * (len(self.examples) // size)] for i in range(size)]

    def loss(self, batch: Any) -> Any:
        """The weighted sum of the terms' means."""
        terms = self.method.loss(self.encoder, batch, 0).values()
        return sum(term.weight * term.sum / max(term.count, 1.0) for term in terms)


def perturb(modules: Any) -> None:
    """Changes every weight of modules: copies that have not followed their originals."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in modules.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=draw)


def settings(**change: Any) -> TrainSettings:
    return TrainSettings(
        **{"steps": 5, "learning_rate": 1e-3, "batch": 12, "schedule": "constant", "seed": 3, **change}
    )
