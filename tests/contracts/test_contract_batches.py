"""A step over several micro-batches, or several processes, is the step over their examples joined, for every method.

Every random choice of a batch is fixed by the text alone here, so that the same examples make the same batch whatever
they are split into. A method names the terms whose negatives are those of the micro-batch (`in_batch`): accumulated,
these are the mean over the micro-batches, each with its own negatives; over processes they are those of the joined
batch, as all other terms are in either case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data.sample import SampleSettings, draw_sample
from harness.records import Corpus, SamplePair
from harness.registry import METHODS
from harness.training.loop import Run
from methods.objectives import masking
from methods.objectives.momentum import Queue
from tests.support.processes import run_ranks
from tests.support.small_babel import Trial, isolated, method_class, settings, source

TRAINED = [name for name in METHODS.names() if METHODS.get(name).trains]
SIZE, PARTS = 12, 2


class Fixed:
    """A generator whose every draw is the same: sides change places, words are exchanged, the first is chosen."""

    def random(self, size: int | None = None) -> Any:
        return 0.4 if size is None else np.full(size, 0.4)

    def integers(self, *_: int, size: int | None = None) -> Any:
        return 0 if size is None else np.zeros(size, dtype=np.int64)


def by_token(ids: Tensor, maskable: Tensor, *, mask_id: int, special_ids: Any, **_: Any) -> masking.MaskedTokens:
    """Masks every third token of the vocabulary wherever it stands."""
    row = np.asarray(ids)
    chosen = np.asarray(maskable) & (row % 3 == 0) & ~np.isin(row, [mask_id, *special_ids])
    positions = torch.from_numpy(np.flatnonzero(chosen))
    masked = torch.from_numpy(np.where(chosen, mask_id, row))
    return masking.MaskedTokens(masked, positions, torch.from_numpy(row)[positions])


class Found(NamedTuple):
    """What a step of the loop made: the mean of each term, and the gradient of every weight that takes one."""

    means: dict[str, float]
    gradients: dict[str, Tensor]


def trial_of(name: str) -> Trial:
    torch.manual_seed(5)
    trial = Trial(name, dropout=0.0, pairs=pairs())
    for module in trial.method.modules():  # a head may have dropout of its own
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "rate"):
            module.rate = 0.0
    for place, weight in trial.method.named_parameters():
        if place.startswith("original."):  # a teacher that the encoder has moved away from
            weight.data += 0.01 * torch.randn_like(weight)
    for module in trial.method.modules():
        if isinstance(module, Queue):  # full, with keys of no entity of the batch
            module.keys.normal_()
            module.pushed.fill_(len(module))
    trial.step.double()
    return trial


@cache
def pairs() -> tuple[SamplePair, ...]:
    """Twelve pairs of different sentences, two of each of three languages in either half: InfoXLM joins the pairs of a
    language two by two."""
    languages = source().manifest([]).languages(Corpus.PARALLEL)[:3]
    parallel: Any = source().corpus(Corpus.PARALLEL, languages)
    dictionary: Any = source().corpus(Corpus.DICTIONARY, languages)
    drawn = draw_sample(parallel, dictionary, SampleSettings(size=90)).pairs
    once = {pair.sentence: pair for pair in drawn if pair.source_span}.values()
    rows = [[pair for pair in once if pair.language == code][:4] for code in languages]
    return tuple(pair for half in (slice(0, 2), slice(2, 4)) for row in rows for pair in row[half])


def taken(trial: Trial, accumulation: int = 1, only: frozenset[str] | None = None) -> Found:
    """The loop's own step over the twelve examples, `only` these terms of the loss."""
    examples = trial.spread(SIZE)
    whole = trial.method.loss

    def loss(encoder: Any, batch: Any, step: int) -> dict[str, Any]:
        terms = whole(encoder, batch, step)
        return {n: t for n, t in terms.items() if only is None or n in only}

    trial.method.loss = loss
    run = Run(
        trial.step,
        examples,
        lambda chosen, _: trial.method.collate(chosen, Fixed()),
        settings(batch=SIZE // accumulation, accumulation=accumulation),
        None,
    )
    run.order.take = lambda cursor, size: (list(range(cursor, cursor + size)), cursor + size)
    trial.step.train()
    trial.step.zero_grad(set_to_none=True)
    means = run._gradients(0)
    trial.method.loss = whole
    gradients = {n: p.grad.clone() for n, p in trial.step.named_parameters() if p.grad is not None}
    return Found({n: float(v) for n, v in means.items()}, gradients)


@contextmanager
def fixed_masks() -> Iterator[None]:
    with isolated(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking, "mask_tokens", by_token)
        yield


@pytest.fixture(autouse=True)
def _fixed() -> Iterator[None]:
    with fixed_masks():
        yield


def same(found: Found, expected: Found) -> None:
    assert found.means == pytest.approx(expected.means, rel=1e-5, abs=1e-7)
    assert found.gradients.keys() == expected.gradients.keys()
    for name, gradient in expected.gradients.items():
        size = float(gradient.abs().max())
        torch.testing.assert_close(found.gradients[name], gradient, rtol=1e-4, atol=1e-5 * max(size, 1e-3), msg=name)


@pytest.mark.parametrize("name", TRAINED)
def test_accumulation_equals_the_joined_batch(name: str) -> None:
    joined = taken(trial_of(name))
    assert all(joined.means.values()), "a term of 0 would prove nothing"
    apart = frozenset(joined.means) - method_class(name).in_batch
    if apart:
        same(taken(trial_of(name), PARTS, apart), taken(trial_of(name), only=apart))


@pytest.mark.parametrize("name", [name for name in TRAINED if METHODS.get(name).in_batch])
def test_a_contrast_within_the_batch_is_the_mean_over_micro_batches(name: str) -> None:
    named = method_class(name).in_batch
    accumulated, joined = taken(trial_of(name), PARTS, named), taken(trial_of(name), only=named)
    trial = trial_of(name)
    examples, half = trial.spread(SIZE), SIZE // PARTS
    trial.step.train()
    apart = [
        trial.method.loss(trial.encoder, trial.method.collate(examples[at : at + half], Fixed()), 0)
        for at in range(0, SIZE, half)
    ]
    for term in named:
        mean = sum(float(terms[term].sum.detach()) for terms in apart) / sum(terms[term].count for terms in apart)
        assert accumulated.means[term] == pytest.approx(mean, rel=1e-6)
        assert abs(accumulated.means[term] - joined.means[term]) > 1e-3, "it is no term of the batch"
    trial.step.zero_grad(set_to_none=True)
    parts = []
    for term in named:
        count = sum(terms[term].count for terms in apart)
        parts.append(sum(terms[term].sum * terms[term].weight for terms in apart) / count)
    sum(parts).backward()
    gradients = {n: p.grad for n, p in trial.step.named_parameters() if p.grad is not None}
    same(accumulated, Found(accumulated.means, gradients))


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    meeting = Path(folder, "meeting").as_uri()
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PARTS)
    with fixed_masks():
        found = {name: taken(trial_of(name)) for name in TRAINED}
    torch.save({name: tuple(made) for name, made in found.items()}, Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("processes")
    run_ranks(worker, str(folder), ranks=PARTS)
    return [torch.load(folder / f"{rank}.pt") for rank in range(PARTS)]


@pytest.mark.parametrize("name", TRAINED)
def test_two_processes_equal_the_joined_batch(processes: list[dict[str, Any]], name: str) -> None:
    joined = taken(trial_of(name))
    for found in processes:
        same(Found(*found[name]), joined)
