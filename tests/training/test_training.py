"""The loop: accumulation equals the joined batch, a killed run ends like an undisturbed one, schedules and orders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.errors import UserError
from harness.training.checkpoint import unique_tensors
from harness.training.loop import Step, TrainSettings, learning_rate, train
from harness.training.order import Order


class Part(NamedTuple):
    sum: Tensor
    count: float
    weight: float = 1.0


class TwoTerms(nn.Module):
    """Two terms whose counts differ between micro-batches, through shared parameters and dropout."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.head = nn.Linear(4, 1)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("queue", torch.zeros(3))

    def loss(self, encoder: nn.Module, batch: dict[str, Any], step: int) -> dict[str, Part]:
        out = self.head(self.dropout(encoder(batch["x"]))).squeeze(1)
        chosen = batch["x"][:, 0] > 0
        return {
            "square": Part((out - batch["y"]).square().sum(), len(out)),
            "some": Part(out[chosen].abs().sum(), float(chosen.sum()), 0.3),
        }

    def after_step(self, encoder: nn.Module) -> None:
        self.queue += 1


class Rows:
    def __init__(self, n: int = 50) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(n, 4)).astype(np.float32), rng.normal(size=n).astype(np.float32)
        self.lengths = rng.integers(1, 9, n)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> int:
        return i


ROWS = Rows()


def collate(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
    noise = rng.normal(size=(len(numbers), 4)).astype(np.float32) * 0.01
    return {"x": torch.from_numpy(ROWS.x[numbers] + noise), "y": torch.from_numpy(ROWS.y[numbers])}


def quiet(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
    return {"x": torch.from_numpy(ROWS.x[numbers]), "y": torch.from_numpy(ROWS.y[numbers])}


def module(dropout: float = 0.0) -> Step:
    torch.manual_seed(3)
    return Step(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), TwoTerms(dropout))


def settings(**change: Any) -> TrainSettings:
    return TrainSettings(**{"steps": 12, "learning_rate": 0.05, "batch": 8, "seed": 5, **change})


def test_accumulation_equals_the_joined_batch() -> None:
    joined, split = module(), module()
    train(joined, ROWS, quiet, settings(batch=8))
    train(split, ROWS, quiet, settings(batch=2, accumulation=4))
    for (name, a), b in zip(joined.state_dict().items(), split.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


class Killed(Exception):
    pass


@pytest.mark.parametrize("by_tokens", [False, True])
def test_an_interrupted_run_ends_to_the_bit_like_an_undisturbed_one(tmp_path: Path, by_tokens: bool) -> None:
    chosen = settings(by_tokens=by_tokens, batch=20 if by_tokens else 4, accumulation=2, checkpoint_seconds=0.0)
    whole, broken = module(0.2), module(0.2)
    trace = train(whole, ROWS, collate, chosen)

    calls = 0

    def dying(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 15:
            raise Killed
        return collate(numbers, rng)

    with pytest.raises(Killed):
        train(broken, ROWS, dying, chosen, checkpoint=tmp_path / "state")
    again = module(0.2)
    assert train(again, ROWS, collate, chosen, checkpoint=tmp_path / "state") == trace
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert again.objective.queue.tolist() == [12.0] * 3


def test_a_kill_between_the_two_renames_of_a_checkpoint_is_survived(tmp_path: Path) -> None:
    chosen = settings(checkpoint_seconds=0.0)
    whole, again = module(), module()
    train(whole, ROWS, collate, chosen, checkpoint=tmp_path / "state")
    (tmp_path / "state").rename(tmp_path / ".state.old")
    trace = train(again, ROWS, collate, chosen, checkpoint=tmp_path / "state")
    assert trace.steps == 12
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_every_example_comes_once_per_epoch_and_seeds_differ() -> None:
    order = Order(50, seed=1)
    epochs = [[order.at(c) for c in range(50 * e, 50 * e + 50)] for e in range(3)]
    assert all(sorted(e) == list(range(50)) for e in epochs)
    assert epochs[0] != epochs[1]
    assert [Order(50, seed=2).at(c) for c in range(50)] != epochs[0]


def test_batches_by_tokens_stay_within_the_budget() -> None:
    order, cursor = Order(50, seed=1), 0
    for _ in range(30):
        numbers, cursor = order.take_tokens(cursor, 20, ROWS.lengths)
        assert numbers
        assert ROWS.lengths[numbers].sum() <= 20


def test_schedules() -> None:
    linear = settings(steps=10, warmup_steps=2, learning_rate=1.0)
    assert [learning_rate(linear, s) for s in (0, 1, 2, 6, 9)] == [0.0, 0.5, 1.0, 0.5, 0.125]
    assert learning_rate(settings(schedule="constant", learning_rate=1.0), 11) == 1.0


def test_evaluation_comes_at_its_cadence_and_at_the_end() -> None:
    steps: list[int] = []
    train(module(), ROWS, collate, settings(), evaluate=steps.append, evaluate_every=5)
    assert steps == [5, 10, 12]


def test_a_diverged_loss_is_told() -> None:
    def poisoned(numbers: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
        return {**collate(numbers, rng), "y": torch.full((len(numbers),), float("nan"))}

    with pytest.raises(UserError, match="no longer finite at step 12"):
        train(module(), ROWS, poisoned, settings())


def test_tied_tensors_are_kept_once() -> None:
    layer = nn.Linear(3, 3)
    both = nn.ModuleDict({"a": layer, "b": layer})
    assert set(unique_tensors(both.state_dict())) == {"a.weight", "a.bias"}
