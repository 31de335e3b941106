"""A small world to measure on held-out pairs whether a method improves what it optimises, and what probes share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from harness.data.babel import Babel
from harness.data.corpora import SourceCorpora
from harness.data.sample import SampleSettings, draw_sample
from harness.modeling.encoder import Encoder
from harness.modeling.packing import pack
from harness.records import Corpus, ParallelPair, SamplePair
from harness.registry import METHODS, OBJECTIVES
from harness.training.loop import Step, TrainSettings, train
from harness.training.pretraining import pretrain
from harness.training.settings import PretrainSettings

LANGUAGES = ("qab", "qac", "qad")  # the pivot's three nearest
PAIRS, HELD_OUT = 1500, 300  # per language
ENTITIES = 3000
MAX_LENGTH = 48
BASE = PretrainSettings(steps=4000, learning_rate=1e-3, max_length=2 * MAX_LENGTH)

Figures = dict[str, float]


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

    def distinct_pairs(self) -> list[SamplePair]:
        """The held-out sentence pairs, each once."""
        return list({pair.sentence: pair for pair in self.held_out}.values())

    def examples(self, pairs: Sequence[SamplePair] | None = None) -> list[Any]:
        """The method's examples of these pairs, by default of the distinct held-out ones."""
        found = self.method.examples(self.on(self.distinct_pairs() if pairs is None else pairs))
        return [found[i] for i in range(len(found))]


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
    settings = TrainSettings(steps, learning_rate, batch, warmup_steps=steps // 16, seed=seed)
    train(Step(encoder, method), method.examples(corpora), method.collate, settings)
    encoder.eval()
    method.eval()
    return TrainedMethod(made.base, encoder, method, corpora, made.held_out)


def compare(
    trained: TrainedMethod, measure: Callable[[Encoder], Figures], control: TrainedMethod | None = None
) -> Figures:
    """The figures of the trained encoder, of its base (`*_base`), and where there is a control, the same training
    without what the probe is about, of its encoder (`*_without`)."""
    encoders = {"": trained.encoder, "_base": trained.base, **({"_without": control.encoder} if control else {})}
    with torch.no_grad():
        return {f"{name}{end}": x for end, encoder in encoders.items() for name, x in measure(encoder).items()}


def retrieval(x: Tensor, y: Tensor) -> float:
    """The share of rows of both sides (n, d) whose nearest row of the other side, by cosine, is their partner."""
    similar, own = normalize(x, dim=1) @ normalize(y, dim=1).T, torch.arange(len(x))
    return float(torch.cat([similar.argmax(1) == own, similar.argmax(0) == own]).float().mean())


def retrieval_of_pivot(encoder: Encoder, pairs: Sequence[SamplePair], *, first: bool = False) -> float:
    """The share of target sentences whose nearest source sentence of their language pair is their own, by the mean of
    the tokens, or with `first` by the first token's state."""
    right = total = 0
    for code in sorted({pair.language for pair in pairs}):
        chosen = {pair.sentence: pair for pair in pairs if pair.language == code}.values()
        x, y = (sentence_vectors(encoder, [getattr(p, side) for p in chosen], first) for side in ("source", "target"))
        right += int(((y @ x.T).argmax(1) == torch.arange(len(x))).sum())
        total += len(x)
    return right / total


@torch.no_grad()
def sentence_vectors(encoder: Encoder, sentences: Sequence[str], first: bool = False) -> Tensor:
    """(n, H) unit vectors of sentences: the means of their tokens, or with `first` their first token's states."""
    ids = encoder.tokenizer.encode(sentences, encoder.max_length).ids
    batches = (pack([ids[i] for i in range(start, min(start + 64, len(ids)))]) for start in range(0, len(ids), 64))
    return normalize(torch.cat([encoder(b).cls() if first else encoder(b).mean() for b in batches]), dim=1)


def next_of_language(codes: Sequence[Hashable]) -> list[int]:
    """The number of another item of the same language for each item: the next one, and the first for the last."""
    members = defaultdict(list)
    for number, code in enumerate(codes):
        members[code].append(number)
    assert all(len(group) > 1 for group in members.values()), "a language with one item has no other"
    following = {a: b for group in members.values() for a, b in zip(group, [*group[1:], group[0]], strict=True)}
    return [following[number] for number in range(len(codes))]
